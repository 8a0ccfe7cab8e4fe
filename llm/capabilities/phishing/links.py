"""What a URL tells: where it really goes, what it pretends, what it carries. Pure, nothing is fetched."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from airgap.hosts import Malformed, Url
from llm.capabilities.phishing.names import host_reasons, registrable
from llm.capabilities.phishing.reasons import Reason, reason
from llm.capabilities.phishing.tables import tables

MAX_URL: Final = 4096
_LURE: Final = re.compile(
    r"(?i)(?:log-?in|sign-?in|verify|verification|password|credential|account|secure|update|webscr|auth|wallet|unlock|confirm|billing|kyc)"
)
_RUNS: Final = re.compile(r"(?i)\.(?:exe|scr|msi|bat|cmd|ps1|vbs|js|jse|wsf|hta|lnk|iso|img|apk|jar)(?:$|[?#])")
_MAILBOX: Final = re.compile(r"[\w.+-]+(?:@|%40)[\w.-]+\.\w{2,}")
_ELSEWHERE: Final = re.compile(r"(?i)(?:^|[?&/=_])(https?:/{1,2}[^\s/&?#][^\s&]*)")
_PROOFPOINT: Final = re.compile(r"(?i)[?&]u=(https?-3A__[^&]+)")  # URL Defense 2: - for %, _ for /
MAX_TARGETS: Final = 4  # of one URL


def refanged(text: str) -> str:
    """The URL or name as it was before somebody made it harmless: hxxp, [.], (dot)."""
    plain = re.sub(r"(?i)\bhxxp", "http", text.strip().strip("<>\"'"))
    return re.sub(r"(?i)\[\.\]|\(\.\)|\[dot\]|\(dot\)|\{\.\}", ".", plain).replace("[:]", ":").replace("[://]", "://")


def url_host(url: str) -> str | None:
    """The host that a browser would go to, or None for what is no web address."""
    read = Url.parse(url)
    if not isinstance(read, Malformed):
        return str(read.host)
    try:
        return (urlsplit(url).hostname or "").lower() or None
    except ValueError:
        return None


def targets(url: str) -> list[str]:
    """The URLs that a URL holds in its path or query and passes on to, as redirects and the link rewriting of mail gateways do."""
    try:
        parts = urlsplit(url[:MAX_URL])
    except ValueError:
        return []
    whole = f"{parts.path}?{parts.query}"
    if rewritten := _PROOFPOINT.search(whole):
        return [unquote(rewritten[1].replace("-", "%").replace("_", "/"))]
    found = [match[1].split("__;", 1)[0] for match in _ELSEWHERE.finditer(unquote(whole))]
    return [re.sub(r"(?i)^(https?:)/{1,2}", r"\1//", one) for one in found[:MAX_TARGETS]]


def url_reasons(url: str, protected: tuple[str, ...] = (), *, passed: bool = False) -> Iterator[Reason]:
    """What the URL alone tells. passed: another URL passes on to it."""
    url = url[:MAX_URL]
    if re.match(r"(?i)(?:data|javascript|vbscript):", url):
        yield reason("link_hidden_target", f"The link is a {url.split(':', 1)[0].lower()}: address.", times=1.6)
        return
    host = url_host(url)
    if host is None:
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return
    name = registrable(host)
    if _is_address(host):
        yield reason("link_to_address", f"The link goes to the bare address {host}.")
    else:
        yield from host_reasons(host, "link", protected)
    if "@" in parts.netloc:
        posing = "." in parts.netloc.rpartition("@")[0]  # as a host
        yield reason("link_user_info", f"What stands before the @ is no host: the link goes to {host}.", times=1.4 if posing else 1.0)
    known = name in tables().owned
    path = unquote(f"{parts.path}?{parts.query}")
    if _LURE.search(path) and not known:
        yield reason("link_credential_path", "The path names log-in or account matters.")
    if _MAILBOX.search(f"{parts.query}#{parts.fragment}") and not known:
        yield reason("link_recipient_in_query", "The link carries a mailbox, to fill in a form with.")
    elsewhere = [] if passed else [(one, to) for one in targets(url) if (to := url_host(one)) and registrable(to) != name]
    for one, to in elsewhere:
        yield reason("link_hidden_target", f"{host} passes on to {to}.")
        yield from url_reasons(one, protected, passed=True)
    if _RUNS.search(path.rstrip("?")):
        yield reason("link_executable", "The link is to a file that runs.")
    if parts.scheme == "http" and not _is_address(host) and not known:
        yield reason("link_plain_http", "The link is not encrypted.")
    if port not in (None, 80, 443):
        yield reason("link_odd_port", f"The link goes to port {port}.")
    if known and parts.scheme == "https" and "@" not in parts.netloc and not elsewhere and not passed:
        yield reason("known_site", f"{name} is a well-known site's own name.")


def _is_address(host: str) -> bool:
    return re.fullmatch(r"\[?[0-9a-fA-F:.]+\]?", host) is not None and (host.count(".") == 3 or ":" in host) and not re.search(r"[g-zG-Z]", host)
