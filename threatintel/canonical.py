"""One written form for each observable, so that the same value from two feeds is one indicator. Pure.

    NotCanonical(ValueError)    text that is no value of its type; str() is a sentence

docs/indicators.md lists the forms with examples, which the tests read. Sources: RFC 5952 (IPv6), RFC 5891 (IDN), RFC 3986 section 6.2.2
(URL), RFC 5321 section 2.4 (e-mail), STIX 2.1 part 6 (names of types).
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError
from typing import Final
from urllib.parse import quote

import ioc_fanger

from airgap.hosts import Host, Malformed

MAX_TEXT: Final = 8192  # characters
_V4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.|$)){4}(?<!\.)")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)+(?!(?:[0-9]+|0x[0-9a-f]*)$){_LABEL}")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,20})://(?P<authority>[^/?#\\]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?", re.DOTALL)
_PORT = re.compile(r"0{0,20}[0-9]{1,5}")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([^\s:/@]{1,253}):[0-9]{1,5}")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_EMAIL = re.compile(r"(?P<local>[^\s@\"<>()\[\],;:\\]{1,64})@(?P<domain>[^@]+)")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_AS = re.compile(r"(?:ASN?)?\s?([0-9]{1,10})", re.IGNORECASE)
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){5}")
_SSDEEP = re.compile(r"[0-9]{1,10}:[A-Za-z0-9+/]{0,64}:[A-Za-z0-9+/]{0,64}")
_TLSH = re.compile(r"(?:T1)?[0-9A-F]{70}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS = {"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}
_HIVES = {"HKLM": "HKEY_LOCAL_MACHINE", "HKCU": "HKEY_CURRENT_USER", "HKCR": "HKEY_CLASSES_ROOT", "HKU": "HKEY_USERS", "HKCC": "HKEY_CURRENT_CONFIG"}
_HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "imphash": 32}
_BRACKETS = re.compile(r"[\[\](){}]{4,}")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad\u202a-\u202e\u2066-\u2069]")


class NotCanonical(ValueError):
    """The text is no value of its type."""


def canonical(type: str, text: str) -> str:
    """The one form of the value. Raises NotCanonical."""
    read = _READERS.get(type)
    if read is None:
        raise NotCanonical(f"{_shown(type)} is no type of indicator.")
    if len(text) > MAX_TEXT:
        raise NotCanonical(f"The value has more than {MAX_TEXT} characters.")
    text = text.strip()
    if not text:
        raise NotCanonical("The value is empty.")
    return read(text)


def typed(type: str, text: str) -> tuple[str, str]:
    """Type and canonical value, where a source may have named the wrong one: an address among the domains, or of the other family."""
    if type in ("ipv4-addr", "ipv6-addr", "domain-name") and (address := _address(text.strip())) is not None:
        return address
    return type, canonical(type, text)


def recognise(text: str) -> tuple[str, str] | None:
    """Type and canonical value of one observable as a person pastes it, defanged forms too, of a host with a port the host; None when it is none.

    A lone word is no observable: what has no form of its own (a mutex, a file name) is only known by its type.
    """
    if len(text) > MAX_TEXT:
        return None
    text = refanged(text)
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    for type in _RECOGNISED:
        try:
            return typed(type, text)
        except NotCanonical:
            continue
    return None


def refanged(text: str) -> str:
    """What was written so that nobody clicks it, as it was: `hxxp://evil[.]example` is `http://evil.example`."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).strip().strip("<>\"'`,;").rstrip(".")
    if any(mark in text for mark in "[({") or "hxx" in text.lower() or "fxp" in text.lower():
        text = str(ioc_fanger.fang(without_bracket_runs(text))).strip()
    return text


def without_bracket_runs(text: str) -> str:
    """Runs of brackets cut to three: nobody defangs with more, and ioc-fanger takes seconds for a run of some thousands."""
    return _BRACKETS.sub(lambda run: run[0][:3], text)


def _shown(text: str) -> str:
    return ascii(text)[:60]


def _plain(text: str) -> str:
    """Text of a type without a grammar: any characters but control characters and lone surrogates."""
    if not text.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise NotCanonical("The value has control characters.")
    return text


def _v4(text: str) -> str:
    if _V4.fullmatch(text):
        return text
    if "/" in text:
        return _network(text, IPv4Network, 32)
    raise NotCanonical(f"{_shown(text)} is no IPv4 address in dotted decimal.")


def _v6(text: str) -> str:
    if "/" in text:
        return _network(text, IPv6Network, 128)
    if "%" in text:
        raise NotCanonical(f"{_shown(text)} has a zone, which means nothing on another machine.")
    try:
        return str(IPv6Address(text))
    except (AddressValueError, ValueError):
        raise NotCanonical(f"{_shown(text)} is no IPv6 address.") from None


def _network(text: str, kind: "Callable[..., IPv4Network | IPv6Network]", bits: int) -> str:
    address, _, length = text.partition("/")
    if not (length.isascii() and length.isdigit()) or (bits == 32 and not _V4.fullmatch(address)) or "%" in address:
        raise NotCanonical(f"{_shown(text)} is no network with a prefix length.")
    try:
        network = kind(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise NotCanonical(f"{_shown(text)} is no network with a prefix length.") from None
    return str(network.network_address) if network.prefixlen == bits else str(network)


def _address(text: str) -> tuple[str, str] | None:
    """An address or a network of either family; `::ffff:a.b.c.d` is the IPv4 address that it stands for."""
    try:
        if ":" not in text:
            return "ipv4-addr", _v4(text)
        value = _v6(text)
    except NotCanonical:
        return None
    mapped = None if "/" in value else IPv6Address(value).ipv4_mapped
    return ("ipv6-addr", value) if mapped is None else ("ipv4-addr", str(IPv4Address(mapped)))


def _domain(text: str) -> str:
    name = text.lower().removeprefix("*.").removesuffix(".")
    if _DOMAIN.fullmatch(name):
        return name
    host = Host.parse(name)
    if isinstance(host, Malformed):
        raise NotCanonical(host.reason)
    if host.address is not None or not _DOMAIN.fullmatch(host.text):
        raise NotCanonical(f"{_shown(text)} is no domain name of two labels or more.")
    return host.text


def _host(text: str) -> str:
    """Of a URL: a name of one label is one too."""
    if text.startswith("["):
        if not text.endswith("]"):
            raise NotCanonical(f"{_shown(text)} is no IPv6 literal.")
        return f"[{_v6(text[1:-1])}]"
    host = Host.parse(text.lower().removesuffix("."))
    if isinstance(host, Malformed):
        raise NotCanonical(host.reason)
    return host.text


def _url(text: str) -> str:
    match = _URL.fullmatch(_plain(text))
    if match is None or not match["authority"]:
        raise NotCanonical(f"{_shown(text)} is no URL with a scheme and a host.")
    scheme = match["scheme"].lower()
    user, at, hostport = match["authority"].rpartition("@")
    host, port = _split(hostport)
    if port and (not _PORT.fullmatch(port) or not 0 < int(port) < 65536):
        raise NotCanonical(f"{_shown(text)} has a port that is none.")
    shown_port = f":{int(port)}" if port and port != _PORTS.get(scheme) else ""
    path, query = _escaped(_without_dots(match["path"] or "/")), _escaped(match["query"] or "")
    return f"{scheme}://{_escaped(user)}{at}{_host(host)}{shown_port}{path}{query}"


def _split(hostport: str) -> tuple[str, str]:
    if hostport.startswith("["):
        literal, bracket, rest = hostport.partition("]")
        if rest and not rest.startswith(":"):
            raise NotCanonical(f"{_shown(hostport)} is no host with a port.")
        return literal + bracket, rest[1:]
    host, _, port = hostport.partition(":")
    return host, port


def _escaped(text: str) -> str:
    """Percent-encoding of RFC 3986 section 6.2.2: hexadecimal in capitals, unreserved characters as they are, others encoded."""
    if text.isascii() and "%" not in text and " " not in text:
        return text
    text = _ESCAPE.sub(lambda match: char if (char := chr(int(match[1], 16))) in _UNRESERVED else f"%{match[1].upper()}", text)
    return quote(text, safe="!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~")


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if segments[-1] in (".", "..") and kept else "")


def _email(text: str) -> str:
    match = _EMAIL.fullmatch(_plain(text.removeprefix("mailto:")))
    if match is None:
        raise NotCanonical(f"{_shown(text)} is no e-mail address.")
    return f"{match['local'].lower()}@{_domain(match['domain'])}"


def _hash(name: str, length: int) -> Callable[[str], str]:
    digits = re.compile(rf"[0-9a-f]{{{length}}}")

    def read(text: str) -> str:
        lowered = text.lower()
        if not digits.fullmatch(lowered):
            raise NotCanonical(f"{_shown(text)} is no {name.upper()} of {length} hexadecimal digits.")
        return lowered

    return read


def _matching(pattern: re.Pattern[str], what: str, prepare: Callable[[str], str] = str) -> Callable[[str], str]:
    def read(text: str) -> str:
        prepared = prepare(text)
        if not pattern.fullmatch(prepared):
            raise NotCanonical(f"{_shown(text)} is no {what}.")
        return prepared

    return read


def _autonomous_system(text: str) -> str:
    match = _AS.fullmatch(text)
    if match is None or not 0 < int(match[1]) < 2**32:
        raise NotCanonical(f"{_shown(text)} is no number of an autonomous system.")
    return f"AS{int(match[1])}"


def _mac(text: str) -> str:
    lowered = text.lower()
    if not _MAC.fullmatch(lowered):
        raise NotCanonical(f"{_shown(text)} is no MAC address.")
    digits = lowered.replace(":", "").replace("-", "")
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def _registry_key(text: str) -> str:
    hive, slash, rest = _plain(text).partition("\\")
    return f"{_HIVES.get(hive.upper(), hive.upper())}{slash}{rest}".rstrip("\\").lower()


def _pattern(text: str) -> str:
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise NotCanonical("The pattern has half of a character.")
    return text.replace("\0", "")


_READERS: Mapping[str, Callable[[str], str]] = {
    "ipv4-addr": _v4,
    "ipv6-addr": _v6,
    "domain-name": _domain,
    "url": _url,
    "email-addr": _email,
    **{f"file-hash:{name}": _hash(name, length) for name, length in _HASH_LENGTHS.items()},
    "file-hash:ssdeep": _matching(_SSDEEP, "ssdeep hash"),
    "file-hash:tlsh": _matching(_TLSH, "TLSH hash", lambda text: text.upper().removeprefix("T1")),
    "file-name": _plain,
    "vulnerability": _matching(_CVE, "CVE id", str.upper),
    "autonomous-system": _autonomous_system,
    "mac-addr": _mac,
    "mutex": _plain,
    "windows-registry-key": _registry_key,
    "user-agent": _plain,
    "stix-pattern": _pattern,
}
TYPES: Final = tuple(_READERS)
_RECOGNISED = (
    "ipv4-addr",
    "ipv6-addr",
    "file-hash:md5",
    "file-hash:sha1",
    "file-hash:sha256",
    "file-hash:sha512",
    "vulnerability",
    "url",
    "email-addr",
    "domain-name",
)
FORMLESS: Final = tuple(type for type in TYPES if type not in _RECOGNISED)  # what recognise() cannot tell by its text
