"""Reads a host or a URL given as text: one canonical value, or Malformed with the reason. Nothing else reads hosts.

Pure: no Django, no DNS, no clock. The grammar is a whitelist, because the parsers in the field disagree on everything
outside it: libc reads `134744072` and `0x08080808` as 8.8.8.8, urllib3 decodes `%31%30.0.0.1`, httpx splits a name at
U+3002, urlsplit drops a tab.

Sources: RFC 3986 (URL, userinfo, port), RFC 1123 section 2.1 (labels; the underscore is added for service names),
RFC 5891 (IDNA2008), RFC 4291 section 2.5.5.2 (`::ffff:a.b.c.d`), RFC 6874 (zone in a URL), WHATWG URL "ends in a number".
"""

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import Self

import idna

MAX_NAME = 253  # characters, without the trailing dot; RFC 1035 section 2.3.4
MAX_URL = 8192  # characters; longer text is refused unread

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.|$)){4}(?<!\.)")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_V6 = re.compile(r"[0-9a-fA-F:.]{2,45}")
_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,32}")
_LINK_LOCAL6 = IPv6Network("fe80::/10")

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?", re.DOTALL)
_USERINFO = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%-]*")
_PORT = re.compile(r"[0-9]{1,5}")
_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
_AUTHORITY_END = re.compile(r"[/?#\\]")
_USERINFO_END = re.compile(r"@|%40")
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Malformed:
    """Text that is not a host or URL this product accepts; `reason` is one English sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Host:
    """A canonical host.

    text: lower-case ASCII (A-labels for IDN), IPv6 compressed and without brackets, `::ffff:a.b.c.d` as a.b.c.d.
    address: set for an IP literal. zone: the RFC 6874 zone of an fe80::/10 literal, else "".
    rooted: a one-label name written with a trailing dot (`ollama.`): it asks the DNS root, so it is not a service name.
    """

    text: str
    address: IPv4Address | IPv6Address | None = None
    zone: str = ""
    rooted: bool = False

    def __str__(self) -> str:
        return f"{self.text}." if self.rooted else self.text

    @classmethod
    def parse(cls, text: str) -> "Host | Malformed":
        """Read a bare host: a name, an IPv4 dotted quad or an IPv6 literal without brackets (`%zone` on fe80::/10 only)."""
        if ":" in text:
            return cls._parse_v6(text)
        return cls._parse_name(text)

    @classmethod
    def _parse_v6(cls, text: str) -> "Host | Malformed":
        literal, percent, zone = text.partition("%")
        if not _V6.fullmatch(literal):
            return Malformed(f"{_shown(text)} is not a host name and not an IPv6 address.")
        try:
            address = IPv6Address(literal)
        except AddressValueError:
            return Malformed(f"{_shown(text)} is not an IPv6 address.")
        if percent:
            if address not in _LINK_LOCAL6:
                return Malformed(f"{_shown(text)} has a zone, which only fe80::/10 addresses may have.")
            if not _ZONE.fullmatch(zone):
                return Malformed(f"{_shown(text)} has a zone that is empty or has characters outside A-Z a-z 0-9 . _ ~ -.")
        if (mapped := address.ipv4_mapped) is not None:  # the kernel dials the IPv4 address
            return cls(str(mapped), mapped)
        return cls(address.compressed, address, zone)

    @classmethod
    def _parse_name(cls, text: str) -> "Host | Malformed":
        if not text.isascii():
            ascii_text = _idn_to_ascii(text)
            if isinstance(ascii_text, Malformed):
                return ascii_text
            text = ascii_text
        name = text.lower()
        dotted = name.endswith(".")
        if dotted:
            name = name[:-1]
        if not name:
            return Malformed("The host is empty.")
        if len(name) > MAX_NAME:
            return Malformed(f"The host has {len(name)} characters; a DNS name has at most {MAX_NAME}.")
        if not _NAME.fullmatch(name):
            return Malformed(
                f"{_shown(text)} is not a host name: labels are 1 to 63 letters, digits, hyphens or underscores, with no hyphen at either end."
            )
        last = name[name.rfind(".") + 1 :]
        if (last[0].isdigit()) and _NUMERIC_LABEL.fullmatch(last):
            if dotted or not _QUAD.fullmatch(name):
                return Malformed(
                    f"{_shown(text)} ends in a number but is not a plain dotted quad; libc would read it as some IPv4 address. Write it as a.b.c.d."
                )
            return cls(name, IPv4Address(name))
        return cls(name, rooted=dotted and "." not in name and name != "localhost")

    @property
    def is_single_label(self) -> bool:
        return self.address is None and not self.rooted and "." not in self.text


@dataclass(frozen=True, slots=True)
class Url:
    """An http, https, ws or wss URL in parts. `port` is explicit or the scheme's default; `userinfo` says whether there was any."""

    scheme: str
    host: Host
    port: int
    path: str
    userinfo: bool = False
    query: str = ""

    @property
    def origin(self) -> str:
        """scheme://host[:port] without user info, path or query; a default port is left out (RFC 6454)."""
        host = f"[{self.host}]" if isinstance(self.host.address, IPv6Address) else str(self.host)
        return f"{self.scheme}://{host}" if self.port == DEFAULT_PORTS[self.scheme] else f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Self | Malformed":
        """Read a whole URL. Malformed for another scheme, an ambiguous authority, or any control, space or invisible character."""
        parts = read_url(text)
        return parts if isinstance(parts, Malformed) else cls(*parts)


def read_url(text: str) -> tuple[str, Host, int, str, bool, str] | Malformed:
    """The fields of a Url in their order. The policy, which needs two of them, saves the building of the rest."""
    if len(text) > MAX_URL:
        return Malformed(f"The URL has {len(text)} characters; at most {MAX_URL} are read.")
    if not text.isprintable() or " " in text or "\\" in text:
        return Malformed("The URL has a backslash, or a control, space or invisible character, which URL parsers read differently.")
    match = _URL.fullmatch(text)
    if match is None:
        return Malformed("The text is not a URL; write it as http://host or https://host.")
    scheme, authority, path, query = match.groups()
    scheme = scheme.lower()
    if scheme not in DEFAULT_PORTS:
        return Malformed(f"The scheme {scheme[:20]} is not http, https, ws or wss.")
    userinfo, at, hostport = authority.rpartition("@")
    if at and not _USERINFO.fullmatch(userinfo):
        return Malformed("The user info before @ holds another @ or a character that URL parsers read differently.")
    host, port = _split_port(hostport)
    if isinstance(host, Malformed):
        return host
    if port and not _PORT.fullmatch(port):
        return Malformed("The port is not a number from 1 to 65535.")
    number = int(port) if port else DEFAULT_PORTS[scheme]
    if not 0 < number < 65536:
        return Malformed(f"The port {number} is not in 1 to 65535.")
    return scheme, host, number, path or "", bool(at), query or ""


def _split_port(hostport: str) -> tuple[Host | Malformed, str]:
    if hostport.startswith("["):
        literal, closed, rest = hostport[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or ":" not in literal:
            return Malformed("The host in square brackets is not an IPv6 address followed by an optional :port."), ""
        if "%" in literal:
            if "%25" not in literal:
                return Malformed("A zone in a URL is written %25zone (RFC 6874)."), ""
            literal = literal.replace("%25", "%", 1)
        return Host.parse(literal), rest[1:]
    name, _, port = hostport.partition(":")
    if ":" in port:
        return Malformed("The authority has more than one colon; an IPv6 address in a URL stands in square brackets."), ""
    return Host.parse(name), port


def _idn_to_ascii(text: str) -> str | Malformed:
    """A-labels of an internationalised name, only where every reader agrees: NFKC-stable and IDNA2003 == IDNA2008."""
    problem = Malformed(f"{_shown(text)} is not a canonical internationalised name; write it in its xn-- form.")
    if unicodedata.normalize("NFKC", text) != text or "\u3002" in text:  # the ideographic full stop is a dot to some readers
        return problem
    lowered = text.lower()
    if unicodedata.normalize("NFKC", lowered) != lowered:
        return problem
    try:
        modern = idna.encode(lowered).decode("ascii")
        legacy = lowered.encode("idna").decode("ascii")
    except UnicodeError:  # idna.IDNAError is one too
        return problem
    return modern if modern == legacy else problem


def shown_host(text: str) -> str:
    """A host as it may stand in a row or a line: canonical, or what is left of other text without secrets."""
    host = Host.parse(text)
    return str(host) if isinstance(host, Host) else _bare(text)


def _bare(text: str) -> str:
    """Text that came as a host and is none. It is often a whole URL: its user info, path and query are left out."""
    authority, *rest = _AUTHORITY_END.split(_SCHEME.sub("", text), maxsplit=1)
    if rest and _USERINFO_END.search(rest[0]):
        return "(malformed)"  # the user info may have held the slash
    *userinfo, host = _USERINFO_END.split(authority)
    return (f"***@{host}" if userinfo else host)[:MAX_NAME]


def _shown(text: str) -> str:
    """Text as it may stand in a reason: printable ASCII only, nothing secret, at most 80 characters."""
    return f"'{ascii(_bare(text))[1:-1][:80]}'"
