"""Observables out of an alert: any JSON, defanged text too, each observable once and in its canonical form.

Three readers, one after the other, for each text of the alert: the whole text as one observable (a field); what ioc-finder finds in running
text; and the names that ioc-finder does not know as names, those below a special-use domain (RFC 6761, RFC 6762 appendix G, RFC 7686), which
internal hosts have. What has no form of its own (a file name, a user agent) is known by the name of its field.

The domain of a URL or of an e-mail address is no observable by itself. ioc-finder needs some 15 microseconds a character and more for
hostile text, so that all is bounded here; what was left out for it is said, in `cut`.
"""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import ioc_fanger
from ioc_finder import find_iocs
from ioc_finder.ioc_grammars import TLD_SET

from threatintel.canonical import NotCanonical, recognise, typed, without_bracket_runs

MAX_DEPTH: Final = 32
MAX_TEXTS: Final = 5000
MAX_SCANNED: Final = 64 * 1024  # characters of running text in all
MAX_CHUNK: Final = 1500  # characters that ioc-finder gets at once: its time grows with the square for some texts
MAX_SECONDS: Final = 2.0
MAX_OBSERVABLES: Final = 500
MAX_PATHS: Final = 5  # of one observable
_MAX_PATH: Final = 120  # characters

Pair = tuple[str, str]  # type, canonical value

_FOUND: Final[Mapping[str, str]] = {
    "urls_complete": "url",
    "email_addresses": "email-addr",
    "ipv4_cidrs": "ipv4-addr",
    "ipv4s": "ipv4-addr",
    "ipv6s": "ipv6-addr",
    "domains": "domain-name",
    "sha512s": "file-hash:sha512",
    "sha256s": "file-hash:sha256",
    "sha1s": "file-hash:sha1",
    "md5s": "file-hash:md5",
    "imphashes": "file-hash:imphash",
    "cves": "vulnerability",
    "asns": "autonomous-system",
    "mac_addresses": "mac-addr",
    "registry_key_paths": "windows-registry-key",
}
# Names of fields, without case and separators, whose text is of a type that it does not show.
_FIELDS: Final[Mapping[str, str]] = {
    "filename": "file-name",
    "useragent": "user-agent",
    "useragentoriginal": "user-agent",
    "httpuseragent": "user-agent",
    "mutex": "mutex",
    "mutexname": "mutex",
    "imphash": "file-hash:imphash",
    "ssdeep": "file-hash:ssdeep",
    "tlsh": "file-hash:tlsh",
    "registrykey": "windows-registry-key",
    "macaddress": "mac-addr",
    "mac": "mac-addr",
}
_SPECIAL = frozenset(
    ("example", "test", "invalid", "local", "localdomain", "internal", "intranet", "corp", "home", "lan", "private", "onion", "alt", "i2p")
)
# Endings of files that are top-level domains as well: a name of two labels with one of them is a file's, unless it is defanged.
_FILES = frozenset(("md", "sh", "py", "zip", "mov"))
_MARK = re.compile(r"[.:@]|cve|asn|[0-9a-f]{32}|dot|hk[a-z]|[0-9a-f]{2}-[0-9a-f]{2}-", re.IGNORECASE)
_V6_NETWORK = re.compile(r"(?<![\w:.])[0-9a-f:]{2,39}/[0-9]{1,3}(?![\w/])", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]{1,2000}", re.IGNORECASE)
_JOINED = re.compile(r"[,;|](?=[a-z][a-z0-9+.-]{1,20}://)", re.IGNORECASE)  # between two URLs
_NAME = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,10}(?:" + "|".join(sorted(_SPECIAL)) + r")(?![\w-]|\.\w)"
_SPECIAL_EMAIL = re.compile(rf"(?<![\w.+%@-])[\w.+%-]{{1,64}}@{_NAME}", re.IGNORECASE)
_SPECIAL_DOMAIN = re.compile(rf"(?<![\w.@/\\-]){_NAME}", re.IGNORECASE)
_SPACE = re.compile(r"\s")


@dataclass(slots=True)
class Found:
    """Observables in the order of the alert, each with the paths where it stands (`$.event.ip`), and what was left out, in sentences."""

    paths: dict[Pair, list[str]] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)


def observables_of(alert: Any) -> Found:
    """Everything in the alert that is an observable. Never raises for its content."""
    return _Reading().read(alert)


class _Reading:
    def __init__(self) -> None:
        self.found = Found()
        self._until = time.monotonic() + MAX_SECONDS
        self._left = MAX_SCANNED
        self._seen: dict[tuple[str, str], tuple[Pair, ...]] = {}  # (type by its field, text) -> observables
        self._counts: dict[str, int] = {}

    def read(self, alert: Any) -> Found:
        for number, (path, hint, text) in enumerate(self._texts(alert)):
            if number >= MAX_TEXTS:
                self._cut(f"The alert has more than {MAX_TEXTS} texts; the rest was not read.")
                break
            if len(text) > MAX_SCANNED:
                self._cut(f"A text is longer than {MAX_SCANNED} characters; only its beginning was read.")
                text = text[:MAX_SCANNED]
            known = self._seen.get((hint, text))
            if known is None:
                known = self._seen[hint, text] = tuple(dict.fromkeys(self._observables(hint, text)))
            for pair in known:
                self._add(pair, path)
        return self.found

    def _texts(self, alert: Any) -> Iterator[tuple[str, str, str]]:
        """Path, type by the name of the field, and text of each string, in the alert's order; without recursion."""
        stack: list[tuple[Any, str, str, str, int]] = [(alert, "$", "", "", 0)]
        while stack:
            value, path, above, name, depth = stack.pop()
            if isinstance(value, str):
                if value.strip():
                    yield path, _FIELDS.get(name) or _FIELDS.get(above + name, ""), value
            elif isinstance(value, Mapping | list):
                if depth >= MAX_DEPTH:
                    self._cut(f"The alert is nested deeper than {MAX_DEPTH}; what is below was not read.")
                elif isinstance(value, Mapping):
                    stack.extend((value[key], _path(path, f".{key}"), name, _plain_name(str(key)), depth + 1) for key in reversed(value))
                else:  # at most so many can be read, and a list's items have its name
                    stack.extend(
                        (value[at], _path(path, f"[{at}]"), above, name, depth + 1) for at in reversed(range(min(len(value), MAX_TEXTS + 1)))
                    )

    def _observables(self, hint: str, text: str) -> Iterator[Pair]:
        stripped = text.strip()
        if hint:
            try:
                yield typed(hint, stripped)
                return
            except NotCanonical:
                pass
        whole = recognise(stripped) if len(stripped) <= 2048 and not _SPACE.search(stripped) and stripped.count("://") < 2 else None
        if whole is not None and (whole[0] != "domain-name" or _is_name(whole[1], stripped, whole[1])):
            yield whole
            return
        for chunk in _chunks(text):
            if not _MARK.search(chunk):
                continue
            if self._left < len(chunk) or time.monotonic() > self._until:
                self._cut(f"The alert has more text than is searched ({MAX_SCANNED} characters or {MAX_SECONDS:.0f} seconds); the rest was not.")
                return
            self._left -= len(chunk)
            yield from in_text(chunk)

    def _add(self, pair: Pair, path: str) -> None:
        paths = self.found.paths.get(pair)
        if paths is None:
            if len(self.found.paths) >= MAX_OBSERVABLES:
                self._cut(f"There are more than {MAX_OBSERVABLES} observables; the first {MAX_OBSERVABLES} are answered.")
                return
            paths = self.found.paths[pair] = []
        if len(paths) < MAX_PATHS and path not in paths:
            paths.append(path)

    def _cut(self, sentence: str) -> None:
        if sentence not in self.found.cut:
            self.found.cut.append(sentence)


def in_text(text: str) -> Iterator[Pair]:
    """Observables in running text of at most MAX_CHUNK characters, in no order; some may come twice."""
    written = without_bracket_runs(text.replace("\0", " "))
    for network in _V6_NETWORK.findall(written):  # ioc-fanger takes the end of `2001:db8::/32` for a scheme
        yield from _one("ipv6-addr", network)
    rest = _JOINED.sub(" ", str(ioc_fanger.fang(_V6_NETWORK.sub(" ", written))))
    for match in list(_URL.finditer(rest)):
        address = match[0].rstrip(".,;:!?)]}")
        if _is_special(address):
            yield from _one("url", address)
            rest = rest.replace(address, " ")
    for pattern, type in ((_SPECIAL_EMAIL, "email-addr"), (_SPECIAL_DOMAIN, "domain-name")):
        for match in list(pattern.finditer(rest)):
            yield from _one(type, match[0])
        rest = pattern.sub(" ", rest)
    found = _searched(rest)
    for kind, type in _FOUND.items():
        for value in sorted(found.get(kind, ())):  # the library gives a set
            if type != "domain-name" or _is_name(value, written, rest):
                yield from _one(type, value)


def _searched(text: str) -> Mapping[str, Any]:
    """What ioc-finder finds. It stumbles over a few letters that change their length in lower case; the text without them is then searched."""
    for candidate in (text, text.encode("ascii", "replace").decode()):
        with contextlib.suppress(LookupError, ValueError, RecursionError):
            return find_iocs(  # type: ignore[no-any-return]
                candidate,
                parse_domain_from_url=False,
                parse_from_url_path=False,
                parse_domain_from_email_address=False,
                parse_address_from_cidr=False,
                parse_domain_name_from_xmpp_address=False,
                parse_urls_without_scheme=False,
                parse_unicode_iocs=True,
                included_ioc_types=_FOUND,
            )
    return {}


def _one(type: str, text: str) -> Iterator[Pair]:
    try:
        yield typed(type, text)
    except NotCanonical:
        return


def _is_special(url: str) -> bool:
    """A URL whose host ioc-finder does not take for one: below a special-use domain, of one label, or an IPv6 literal."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    last = host.rstrip(".").rpartition(".")[2]
    return bool(host) and not last.isdigit() and last not in TLD_SET


def _is_name(domain: str, written: str, text: str) -> bool:
    """Whether the text means a domain, and no file (`readme.md`, `/bin/run.sh`) or class (`System.Net.WebClient`)."""
    labels = domain.lower().split(".")
    if labels[-1] not in TLD_SET and labels[-1] not in _SPECIAL:
        return False
    if labels[-1] in _FILES and len(labels) == 2 and domain.lower() in written.lower():  # defanged, it would not stand there so
        return False
    return re.search(rf"(?<![\w.@/\\-]){re.escape(domain)}(?![\w-]|\.\w)", text, re.IGNORECASE) is not None


def _chunks(text: str) -> Iterator[str]:
    """The text in pieces of at most MAX_CHUNK characters, parted at white space where there is some."""
    start = 0
    while start < len(text):
        end = start + MAX_CHUNK
        if end < len(text):
            for marks in (" \n\t", ",;|\"'"):
                place = max(text.rfind(mark, start + MAX_CHUNK // 2, end) for mark in marks)
                if place > start:
                    end = place
                    break
        yield text[start:end]
        start = end


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:_MAX_PATH].lower())


def _path(above: str, step: str) -> str:
    path = above + "".join(char if char.isprintable() else "?" for char in step[:_MAX_PATH])
    return path if len(path) <= _MAX_PATH else f"{path[: _MAX_PATH - 1]}…"
