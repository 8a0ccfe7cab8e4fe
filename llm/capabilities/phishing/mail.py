"""What an e-mail tells (RFC 5322): its sender and how it was authenticated, its links, attachments and words. Pure, nothing is fetched.

What is read is bounded first: the library's parsers of structured headers, parts and HTML take quadratic time, or recurse, on hostile ones.
Only the topmost Authentication-Results header is believed: the receiving server puts its own above whatever a sender wrote (RFC 8601, 5).
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_string
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr
from hashlib import sha256
from html import unescape
from typing import Final

from llm.capabilities.phishing.links import refanged, targets, url_host, url_reasons
from llm.capabilities.phishing.names import host_reasons, registrable
from llm.capabilities.phishing.reasons import NOT_READ, Reason, reason
from llm.capabilities.phishing.tables import tables

MAX_LINKS: Final = 60  # that are judged
MAX_COLLECTED: Final = 5000
MAX_CARRIED: Final = 100  # names and URLs that are only looked up
MAX_PARTS: Final = 60
MAX_TEXT: Final = 256 * 1024  # as long as the whole e-mail may be
MAX_HEADER: Final = 1000  # characters of one header
MAX_BOUNDARIES: Final = 200  # lines that may part one part from the next
MAX_NESTED: Final = 10
_BOUNDARY: Final = re.compile(r"^--", re.MULTILINE)
_NESTED: Final = re.compile(r"(?:^|\r)content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)  # in a text it nests nothing
_TAG: Final = re.compile(r"<([^<>]{1,4000})>")
_SILENT: Final = re.compile(r"(?i)<(script|style)\b[^<>]*>[^<]*(?:</\1\s*>)?")
_ZEROS: Final = re.compile(r"(?i)(&#x?)0+(?=[0-9])")
_LONG_REFERENCE: Final = re.compile(r"(?i)&#(?:x[0-9a-f]{9,}|[0-9]{9,});?")
_ENCODED: Final = frozenset("quoted-printable base64 uuencode x-uuencode uue x-uue".split())  # noqa: SIM905
_ATTRIBUTE: Final = re.compile(r"(?i)\b(href|type)\s{0,4}=\s{0,4}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_URL: Final = re.compile(r"(?i)\b(?:https?|hxxps?)://[^\s<>\"')\]]{3,2000}")
_HOST: Final = re.compile(r"(?i)(?<![\w@.-])(?:[\w-]{1,63}\.){1,6}[a-z]{2,18}(?![\w@-])")
_RESULT: Final = re.compile(r"(?i)\b(spf|dkim|dmarc)\s*=\s*(\w+)")
_RUNS: Final = frozenset("exe scr com pif bat cmd ps1 vbs vbe js jse wsf hta msi jar lnk cpl reg".split())  # noqa: SIM905
_MACROS: Final = frozenset("docm xlsm pptm dotm xlam xll doc xls rtf one".split())  # noqa: SIM905
_IMAGES: Final = frozenset("iso img vhd vhdx udf".split())  # noqa: SIM905
_ARCHIVES: Final = frozenset("zip rar 7z gz tar ace cab".split())  # noqa: SIM905
_NO_CHARSETS: Final = frozenset("idna punycode undefined unicode_escape raw_unicode_escape".split())  # noqa: SIM905 - codecs of Python, which no mail has
_LOCKABLE: Final = _ARCHIVES | _IMAGES | frozenset("pdf doc docx docm xls xlsx xlsm ppt pptx pptm htm html".split())  # noqa: SIM905
_PAGES: Final = frozenset("htm html shtml xhtml svg mht".split())  # noqa: SIM905


@dataclass(slots=True)
class Link:
    url: str
    text: str = ""


@dataclass(slots=True)
class Mail:
    """What was read of an e-mail."""

    sender_name: str = ""
    sender: str = ""
    reply_to: str = ""
    recipients: list[str] = field(default_factory=list)
    subject: str = ""
    results: dict[str, str] = field(default_factory=dict)
    text: str = ""
    links: list[Link] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)  # hosts and URLs that are no links: in the text, and in attached pages
    digests: list[str] = field(default_factory=list)  # SHA-256 of the attachments
    form: bool = False
    listed: bool = False
    cut: bool = False  # there is more of it than was read

    @property
    def sender_host(self) -> str:
        return self.sender.rpartition("@")[2].lower()


def read_mail(content: str) -> Mail:
    """The e-mail, leniently: what cannot be read is left out."""
    bounded = _bounded(content)
    message = message_from_string(bounded)
    mail = Mail(subject=_header(message, "Subject"), listed=bool(_header(message, "List-Unsubscribe")), cut=len(bounded) < len(content))
    mail.sender_name, mail.sender = _address(_header(message, "From"))
    mail.reply_to = _address(_header(message, "Reply-To"))[1]
    mail.recipients = [address for name in ("To", "Delivered-To") if (address := _address(_header(message, name))[1])]
    mail.results = _results(message)
    for number, part in enumerate(message.walk()):
        if number >= MAX_PARTS:
            mail.cut = True
            break
        _read_part(part, mail)
    seen = {link.url for link in mail.links}
    mail.links += [Link(url) for match in _URL.finditer(mail.text) if (url := refanged(match[0].rstrip(".,;:!"))) not in seen]
    _choose_links(mail)
    hosts = (match[0].lower() for match in _HOST.finditer(refanged(mail.text)))
    mail.carried = list(dict.fromkeys([*mail.carried, *hosts]))[:MAX_CARRIED]
    return mail


def _choose_links(mail: Mail) -> None:
    """As many as are judged, those that lead to a host for the first time before the others: one bad link hides behind no number of good ones."""
    first: dict[str, Link] = {}
    for link in mail.links:
        first.setdefault(_goes_to(link.url) or link.url.split(":", 1)[0], link)
    chosen = {id(link) for link in first.values()}
    mail.cut = mail.cut or len(first) > MAX_LINKS or len(mail.links) >= MAX_COLLECTED
    mail.links = [*first.values(), *(link for link in mail.links if id(link) not in chosen)][:MAX_LINKS]


def _goes_to(url: str) -> str | None:
    """The host, behind a mail gateway's or another redirect."""
    passed = targets(url)
    return url_host(passed[0] if passed else url)


def _bounded(content: str) -> str:
    """The content up to where it has more parts, or parts within parts, than any e-mail that people send."""
    if not _NESTED.search(content):
        return content  # one part, whatever its lines begin with
    for pattern, most in ((_BOUNDARY, MAX_BOUNDARIES), (_NESTED, MAX_NESTED)):
        for number, match in enumerate(pattern.finditer(content), start=1):
            if number > most:
                content = content[: match.start()]
                break
    return content


def _read_part(part: "Message[str, str]", mail: Mail) -> None:
    for header in ("Content-Type", "Content-Disposition", "Content-Transfer-Encoding"):
        if len(str(part.get(header, ""))) > MAX_HEADER:
            part.replace_header(header, str(part[header])[:MAX_HEADER])
    if part.is_multipart():
        return
    name, charset = _parameters(part)
    content, charset = _content(part, charset)
    if name or part.get_content_disposition() == "attachment":
        mail.attachments.append((name or part.get_content_type()).strip()[:200])
        mail.digests.append(sha256(content).hexdigest())
        if part.get_content_type() == "text/html" or name.lower().endswith((".htm", ".html", ".shtml", ".xhtml", ".svg")):
            page = content[:MAX_TEXT].decode("utf-8", "replace")
            mail.carried += [match[0].rstrip(".,;:!") for match in _URL.finditer(_unescaped(page))][:MAX_CARRIED]
        return
    kind = part.get_content_type()
    if kind not in ("text/plain", "text/html"):
        return
    text = _text(content, charset)[:MAX_TEXT]
    if kind == "text/plain":
        mail.text += f"{text}\n"
    else:
        _read_page(text, mail)


def _content(part: "Message[str, str]", charset: str) -> tuple[bytes, str]:
    """The part's bytes, and the charset that they are in: characters that were pasted as such are in UTF-8, whatever the header says."""
    encoding = str(part.get("Content-Transfer-Encoding", "")).lower().partition("(")[0].strip()
    if "Content-Transfer-Encoding" in part:
        part.replace_header("Content-Transfer-Encoding", encoding)  # without the comment that may follow (RFC 2045, 5.1)
    payload = part.get_payload()
    if isinstance(payload, str) and not payload.isascii():  # the library would write them out as \\u0430
        part.set_payload(payload.encode(errors="replace").decode("ascii", "surrogateescape"))
        charset = charset if encoding in _ENCODED else "utf-8"
    content = part.get_payload(decode=True)
    return (content if isinstance(content, bytes) else b""), charset


def _text(content: bytes, charset: str) -> str:
    """The content in its charset, or in UTF-8 where that is none. Without half characters, which some charsets can say and no answer can."""
    try:
        known = codecs.lookup(charset).name.replace("-", "_") not in _NO_CHARSETS
        return _whole(content.decode(charset if known else "utf-8", "replace"))
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _unescaped(text: str) -> str:
    """The text of HTML. A number of thousands of digits, with which Python gives up, is that of a character behind zeros, or of none."""
    return unescape(_LONG_REFERENCE.sub("\ufffd", _ZEROS.sub(r"\1", text)))


def _parameters(part: "Message[str, str]") -> tuple[str, str]:
    """The file's name and the charset."""
    try:
        return _decoded(str(part.get_filename() or "")), str(part.get_content_charset("utf-8"))
    except (TypeError, ValueError, LookupError):  # continued parameters (RFC 2231) whose numbers are none
        return "", "utf-8"


def _address(text: str) -> tuple[str, str]:
    """The name and the address of a header."""
    try:
        return parseaddr(text)
    except RecursionError:  # comments within comments
        return "", ""


def _read_page(page: str, mail: Mail) -> None:
    """The text, links and password fields of an HTML part, tag by tag: each tag is looked at once."""
    page = _SILENT.sub(" ", page)
    texts: list[str] = []
    link: Link | None = None
    at = 0
    for tag in _TAG.finditer(page):
        text = _unescaped(page[at : tag.start()])
        texts.append(text)
        if link is not None and len(link.text) < 500:
            link.text += text
        at = tag.end()
        name = tag[1].split(None, 1)[0].lower()
        if name in ("a", "area") and len(mail.links) < MAX_COLLECTED:
            values = {match[1].lower(): match[2] or match[3] or match[4] or "" for match in _ATTRIBUTE.finditer(tag[1])}
            if values.get("href"):
                link = Link(_unescaped(values["href"]).strip())
                mail.links.append(link)
        elif name == "/a":
            link = None
        elif name == "input":
            mail.form = mail.form or re.search(r"(?i)\btype\s{0,4}=\s{0,4}[\"']?password", tag[1]) is not None
        texts.append(" ")
    texts.append(_unescaped(page[at:]))
    mail.text += " ".join("".join(texts).split()) + "\n"


def observables(mail: Mail) -> list[str]:
    """What the e-mail can be looked up by."""
    urls = [url for link in mail.links for url in (link.url, *targets(link.url)) if url.lower().startswith(("http:", "https:"))]
    hosts = [host for url in (*urls, *mail.carried) if (host := url_host(url))]
    addresses = [address for address in (mail.sender, mail.reply_to) if address]
    return [*addresses, *(address.rpartition("@")[2] for address in addresses), *mail.digests, *hosts, *mail.carried, *urls]


def mail_reasons(mail: Mail) -> Iterator[Reason]:
    """Everything the e-mail tells."""
    protected = tuple({registrable(address.rpartition("@")[2]) for address in mail.recipients} - tables().free_mail - {""})
    yield from _sender_reasons(mail, protected)
    yield from _link_reasons(mail, protected)
    yield from _attachment_reasons(mail)
    locked = any(_last(name) in _LOCKABLE for name in mail.attachments) or any(_last(link.url) in _ARCHIVES for link in mail.links)
    said = text_reasons(f"{mail.subject}\n{mail.text}", greeting=mail.text)
    yield from (one for one in said if one.name != "archive_password" or locked)
    if mail.cut:
        yield reason(NOT_READ, "It has more parts, parts within parts or links than are read: what it holds besides was not judged.")
    if mail.form:
        yield reason("credential_form", "The e-mail itself holds a form with a password field.")
    if mail.listed:
        yield reason("mailing_list", "It names a way to unsubscribe.")


def text_reasons(text: str, *, greeting: str = "") -> Iterator[Reason]:
    """What the words ask for."""
    for one in tables().words:
        if found := one.pattern.search(greeting or text if one.name == "generic_greeting" else text):
            yield reason(one.name, f"{one.detail} (“{' '.join(found[0].split())[:80]}”)")


def _sender_reasons(mail: Mail, protected: tuple[str, ...]) -> Iterator[Reason]:
    results = mail.results
    for method in ("dmarc", "spf", "dkim"):
        if results.get(method) in ("fail", "softfail", "permerror"):
            yield reason(f"{method}_fail", f"{method.upper()} says {results[method]}.")
    if results.get("dmarc") == "pass" or (results.get("spf") == "pass" and results.get("dkim") == "pass"):
        yield reason("authenticated", f"{mail.sender_host} has authenticated the e-mail.")
    elif not results:
        yield reason("unauthenticated", "No receiving server has written what it found out about the sender.")
    host = mail.sender_host
    if not host:
        return
    name = registrable(host)
    yield from host_reasons(host, "sender", protected)
    if mail.reply_to and registrable(mail.reply_to.rpartition("@")[2].lower()) != name:
        yield reason("reply_to_differs", f"Answers go to {mail.reply_to}, not to {name}.")
    shown = mail.sender_name.lower()
    if (claimed := re.search(r"[\w.+-]+@([\w.-]+\.\w+)", shown)) and registrable(claimed[1]) != name:
        yield reason("display_name_is_address", f"The name shown is the address {claimed[0]}, the sender is {mail.sender}.")
    words = set(re.findall(r"[a-z0-9]+", shown))
    for brand, names in tables().brands.items():
        if (brand in words or (len(brand) > 6 and brand in shown.replace(" ", ""))) and name not in names and not _same_word(brand, name):
            yield reason("display_name_impersonates", f"The name shown is “{mail.sender_name[:60]}”, the sender {mail.sender} is not {brand}'s.")
            break
    else:
        if name in tables().free_mail and re.search(
            r"\b(?:support|security|help ?desk|admin|payroll|ceo|director|bank|service|it team|human resources|hr)\b", shown
        ):
            yield reason("display_name_impersonates", f"“{mail.sender_name[:60]}” writes from the free mailbox {mail.sender}.", times=0.8)
    if name in protected and results and results.get("dmarc") != "pass" and results.get("spf") != "pass" and results.get("dkim") != "pass":
        yield reason("sender_is_recipient_domain_without_auth", f"It claims to come from {name} itself, which did not authenticate it.")


def _same_word(brand: str, name: str) -> bool:
    return name.split(".")[0] == brand


def _link_reasons(mail: Mail, protected: tuple[str, ...]) -> Iterator[Reason]:
    sender = registrable(mail.sender_host) if mail.sender_host else ""
    hosts = []
    for link in mail.links:
        if link.url.lower().startswith(("mailto:", "tel:", "#", "cid:")):
            continue
        yield from url_reasons(link.url, protected)
        host = url_host(link.url)
        if host is None:
            continue
        hosts.append(registrable(host))
        shown = re.search(r"(?i)(?:https?://)?((?:[\w-]+\.)+[a-z]{2,})", refanged(link.text.strip()))
        if shown and "@" not in link.text and registrable(shown[1]) != registrable(host):
            yield reason("link_text_mismatch", f"The link shows {shown[1]} and goes to {host}.")
    if hosts and sender and all(host == sender for host in hosts) and mail.results.get("dmarc") == "pass":
        yield reason("own_sender_domain_links", f"All links stay with the sender, {sender}.")


def _last(name: str) -> str:
    return name.lower().rstrip(". ").rpartition(".")[2]


def _attachment_reasons(mail: Mail) -> Iterator[Reason]:
    for name in mail.attachments:
        parts = name.lower().rstrip(". ").split(".")
        last = parts[-1] if len(parts) > 1 else ""
        if last in _RUNS:
            yield reason("attachment_executable", f"{name} runs when it is opened.")
            if len(parts) > 2 and parts[-2].strip() in ("pdf", "doc", "docx", "xls", "xlsx", "jpg", "png", "txt"):
                yield reason("attachment_double_extension", f"{name} pretends to be a .{parts[-2].strip()} file.")
        elif last in _PAGES:
            yield reason("attachment_html", f"{name} is a page that opens in the browser.")
        elif last in _IMAGES:
            yield reason("attachment_disk_image", f"{name} is a disk image, whose content loses its mark of origin.")
        elif last in _MACROS:
            yield reason("attachment_macro", f"{name} can hold macros.")
        elif last in _ARCHIVES:
            yield reason("attachment_archive", f"{name} is an archive.")


def _results(message: "Message[str, str]") -> dict[str, str]:
    """The topmost Authentication-Results, leniently: comments out, the first result of each method."""
    header = str((message.get_all("Authentication-Results") or [""])[0])[: 4 * MAX_HEADER]
    text = re.sub(r"\([^()]*\)", " ", header)
    found: dict[str, str] = {}
    for match in _RESULT.finditer(text):
        found.setdefault(match[1].lower(), match[2].lower())
    if "spf" not in found and (received := re.match(r"\s*(\w+)", str(message.get("Received-SPF") or "")[:MAX_HEADER])):
        found["spf"] = received[1].lower()
    return found


def _header(message: "Message[str, str]", name: str) -> str:
    return _decoded(str(message.get(name) or "")[:MAX_HEADER])


def _decoded(text: str) -> str:
    """The text with its encoded words (RFC 2047) read; as it stands where they cannot be."""
    try:
        return " ".join(_whole(str(make_header(decode_header(text)))).split())
    except (LookupError, ValueError, MessageError):  # the last: what is no base64, a charset whose name is no ASCII
        return " ".join(_whole(text).split())
