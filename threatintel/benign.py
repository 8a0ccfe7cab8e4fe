"""Which of MISP's warning lists name a value: observables that are known to be benign, or so common that a match says little.

    BenignError(Exception)      the lists cannot be read; str() is the reason that people read

The lists come with the package pymispwarninglists: 2.5 million entries in 60 MB of JSON, three seconds and a gigabyte in each process that
loads them. Here they are built once, for each version of the package, into one file of sorted 64-bit numbers in the data directory: 56 bits
of a keyed hash of the entry and 8 bits for its list. Processes map that file, share its pages and find an entry by bisection; 2.5 million
entries are 20 MB, and a value takes some tens of microseconds. Two entries share a hash once in 10^10 look-ups; the key is random, so that
nobody can make a value that does.

Matching is MISP's own (misp-warninglists, schema.json): `string` whole, `hostname` a name and all below it, `cidr` an address in a network,
`substring` and `regex` anywhere in the value; a list that names `matching_attributes` is for those types alone.
"""

import contextlib
import fcntl
import json
import mmap
import os
import re
import secrets
import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ijson
import structlog
from django.conf import settings

LISTS_BUILT = "enrich.lists_built"
PACKAGE: Final = "pymispwarninglists"
FORMAT: Final = 1  # of the file; a new one is built when it changes
_MAGIC: Final = b"AISOCBEN"
_LIST_BITS: Final = 8
_HASH_BYTES: Final = 7
_GRAM: Final = 4  # characters; a shorter text is part of too much to say anything
_MAX_SEARCHED: Final = 512  # characters of a value that substring and regex lists look at
_MAX_HEAD: Final = 8 * 1024 * 1024
# A repeated group or a back reference can take exponential time, each open repeat another power of the length.
_UNSAFE = re.compile(r"\)[*+{]|\\[1-9]|\(\?[P<=!(]")
_REPEAT = re.compile(r"(?<!\\)[*+]|\{[0-9]*,\}")
_MAX_REPEATS: Final = 2
_FLAGS: Final = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "g": re.NOFLAG, "u": re.NOFLAG}

_ADDRESS = frozenset({"ip-src", "ip-dst"})
_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ssdeep", "tlsh", "imphash")
# Our types in MISP's words (describeTypes); a type that is not here has no list that is for it alone.
ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    "ipv4-addr": _ADDRESS,
    "ipv6-addr": _ADDRESS,
    "domain-name": frozenset({"domain", "hostname"}),
    "url": frozenset({"url", "uri", "link"}),
    "email-addr": frozenset({"email", "email-src", "email-dst", "target-email", "whois-registrant-email", "dns-soa-email"}),
    **{f"file-hash:{name}": frozenset({name}) for name in _HASHES},
    "file-name": frozenset({"filename"}),
    "vulnerability": frozenset({"vulnerability"}),
    "autonomous-system": frozenset({"AS"}),
    "mac-addr": frozenset({"mac-address"}),
    "mutex": frozenset({"mutex"}),
    "windows-registry-key": frozenset({"regkey"}),
    "user-agent": frozenset({"user-agent"}),
}

log = structlog.stdlib.get_logger("threatintel")


class BenignError(Exception):
    """The lists are not there, or the data directory does not take them."""


@dataclass(frozen=True, slots=True)
class WarningList:
    """One list. attributes: MISP's types that it is for; empty: all."""

    number: int
    name: str
    kind: str
    version: int
    attributes: frozenset[str]

    def covers(self, type: str) -> bool:
        return not self.attributes or not self.attributes.isdisjoint(ATTRIBUTES.get(type, frozenset()))


class BenignLists:
    """The lists of one version of the package, read from their file. Safe to share among threads: nothing in it changes."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            start = file.read(16)
            size = int.from_bytes(start[8:], "little")
            if start[:8] != _MAGIC or size > _MAX_HEAD:
                raise BenignError(f"{path.name} is not a file of warning lists.")
            head = json.loads(file.read(size))
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._map) != 16 + size + 8 * head["entries"]:
            raise BenignError(f"{path.name} is not whole.")
        self._entries = memoryview(self._map)[16 + size :].cast("Q")
        self._hasher = _hasher(bytes.fromhex(head["key"]))
        self.version: str = head["version"]
        self.skipped: int = head["skipped"]
        self.entries: int = head["entries"]
        self.lists = tuple(
            WarningList(number, one["name"], one["kind"], one["version"], frozenset(one["for"])) for number, one in enumerate(head["lists"])
        )
        self._prefixes: dict[int, list[int]] = {int(family): bits for family, bits in head["prefixes"].items()}
        self._substrings: dict[str, list[tuple[int, str]]] = {}  # by their first characters
        for number, texts in head["substrings"]:
            for text in texts:
                self._substrings.setdefault(text[:_GRAM], []).append((number, text))
        self._regexes = [(number, re.compile(pattern, flags)) for number, pattern, flags in head["regexes"]]

    def naming(self, type: str, value: str) -> list[str]:
        """Names of the lists that name the value (canonical for its type), in alphabetical order."""
        numbers: set[int] = set()
        for entry in self._readings(type, value):
            self._find(entry, numbers)
        lowered = value[:_MAX_SEARCHED].lower()
        for place in range(len(lowered)):
            for number, text in self._substrings.get(lowered[place : place + _GRAM], ()):
                if lowered.startswith(text, place):
                    numbers.add(number)
        for number, pattern in self._regexes:
            if self.lists[number].covers(type) and pattern.search(lowered):
                numbers.add(number)
        return sorted({self.lists[number].name for number in numbers if self.lists[number].covers(type)})

    def _readings(self, type: str, value: str) -> Iterator[str]:
        """Every entry that would name the value: itself, its name and the names above it, the networks it is in."""
        yield f"s{value.lower()}"
        name = value
        if type == "url":
            with contextlib.suppress(ValueError):
                name = urlsplit(value).hostname or ""
        if type in ("domain-name", "url"):
            labels = name.lower().split(".")
            for start in range(len(labels)):
                yield f"h{'.'.join(labels[start:])}"
        elif type in ("ipv4-addr", "ipv6-addr"):
            yield from self._networks(value)

    def _networks(self, value: str) -> Iterator[str]:
        text, _, length = value.partition("/")
        address = ip_address(text)
        number, all_bits = int(address), address.max_prefixlen
        for bits in self._prefixes.get(address.version, []):
            if not length or bits <= int(length):
                yield _network_entry(address.version, bits, number >> (all_bits - bits))

    def _find(self, entry: str, numbers: set[int]) -> None:
        hasher = self._hasher.copy()
        hasher.update(entry.encode("utf-8", "replace"))
        hashed = int.from_bytes(hasher.digest(), "big")
        place = bisect_left(self._entries, hashed << _LIST_BITS)
        while place < len(self._entries) and self._entries[place] >> _LIST_BITS == hashed:
            numbers.add(self._entries[place] & ((1 << _LIST_BITS) - 1))
            place += 1


def benign_lists() -> BenignLists:
    """The lists of the installed package, built now if this data directory has none of its version. Raises BenignError."""
    path = _path()
    with _opening:
        held = _open.get(path)
        if held is None:
            held = _opened(path)
            _open.clear()
            _open[path] = held
    return held


_opening = threading.Lock()
_open: dict[Path, BenignLists] = {}  # by path: of this process, one


def _opened(path: Path) -> BenignLists:
    try:
        if not path.exists():
            _build_once(path)
        return BenignLists(path)
    except (OSError, ValueError, KeyError, TypeError, re.error, BenignError) as error:
        # Damaged, or of a builder that was stopped: made anew, once.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        try:
            _build_once(path)
            return BenignLists(path)
        except (OSError, ValueError, KeyError, TypeError, re.error) as again:
            raise BenignError(f"The warning lists cannot be read ({type(again).__name__}); see to {path.parent}.") from error


def _path() -> Path:
    return Path(settings.DATA_DIR) / f"benign-{version(PACKAGE)}-{FORMAT}.idx"


def _build_once(path: Path) -> None:
    """One process builds; the others wait for it. The file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name("benign.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        begun = time.monotonic()
        try:
            build(_lists_of_package(), fresh, version(PACKAGE))
            size = fresh.stat().st_size
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        log.info(LISTS_BUILT, release=version(PACKAGE), bytes=size, seconds=round(time.monotonic() - begun, 3))
        for old in path.parent.glob("benign-*.idx*"):
            if old != path:
                old.unlink(missing_ok=True)


def _lists_of_package() -> list[Path]:
    spec = find_spec(PACKAGE)  # not imported: it would load all that it needs to fetch lists
    folders = spec.submodule_search_locations if spec is not None else None
    files = sorted(Path(folders[0]).glob("data/misp-warninglists/lists/*/list.json")) if folders else []
    if not files:
        raise BenignError(f"The package {PACKAGE} holds no lists; install it again.")
    return files


def build(files: Iterable[Path], target: Path, release: str) -> None:
    """Write the file of these lists. An entry that cannot be matched in bounded time, or at all, is left out and counted."""
    key = secrets.token_bytes(16)
    hasher = _hasher(key)
    buckets = [bytearray() for _ in range(256)]  # by the first byte, so that what is sorted at once is small
    head: dict[str, Any] = {"version": release, "key": key.hex(), "skipped": 0, "lists": [], "substrings": [], "regexes": []}
    prefixes: dict[int, set[int]] = {4: set(), 6: set()}
    for number, file in enumerate(files):
        if number >= 1 << _LIST_BITS:
            raise BenignError(f"There are more than {1 << _LIST_BITS} warning lists.")
        about = _about(file)
        head["lists"].append(about)
        match about["kind"]:
            case "substring":
                texts = [text.lower() for text in _entries_of(file)]
                head["substrings"].append((number, [text for text in texts if len(text) >= _GRAM]))
                head["skipped"] += sum(len(text) < _GRAM for text in texts)
            case "regex":
                read = [readable_regex(text) for text in _entries_of(file)]
                head["regexes"] += [(number, *one) for one in read if one is not None]
                head["skipped"] += read.count(None)
            case kind:
                tag = bytes((number,))
                for entry in _numbered(kind, _entries_of(file), prefixes):
                    if entry:
                        fresh = hasher.copy()
                        fresh.update(entry.encode("utf-8", "replace"))
                        hashed = fresh.digest()
                        buckets[hashed[0]] += hashed + tag
                    else:
                        head["skipped"] += 1
    head |= {"entries": sum(map(len, buckets)) // 8, "prefixes": {str(family): sorted(bits) for family, bits in prefixes.items()}}
    _write(target, head, buckets)


def _numbered(kind: str, texts: Iterable[str], prefixes: dict[int, set[int]]) -> Iterator[str]:
    """Each entry as it is hashed; "" for one that means nothing."""
    match kind:
        case "string":
            return (f"s{text.lower()}" for text in texts)
        case "hostname":
            return (f"h{text.lower().strip('.')}" for text in texts)
        case "cidr":
            return (_network_of(text, prefixes) for text in texts)
        case _:
            return ("" for _ in texts)


def _write(target: Path, head: Mapping[str, Any], buckets: Iterable[bytearray]) -> None:
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as file:
        file.write(_MAGIC + len(text).to_bytes(8, "little") + text)
        for bucket in buckets:
            numbers = array("Q", bytes(bucket))
            if sys.byteorder == "little":
                numbers.byteswap()
            array("Q", sorted(numbers)).tofile(file)
        file.flush()
        os.fsync(file.fileno())


def _about(file: Path) -> dict[str, Any]:
    about: dict[str, Any] = {"name": "", "type": "", "version": 0, "matching_attributes": []}
    with file.open("rb") as stream:
        for path, event, value in ijson.parse(stream, use_float=True):
            if path in ("name", "type", "version") and event in ("string", "number"):
                about[path] = value
            elif path == "matching_attributes.item" and event == "string":
                about["matching_attributes"].append(value)
    return {
        "name": str(about["name"])[:200] or file.parent.name,
        "kind": str(about["type"]),
        "version": int(about["version"]),
        "for": about["matching_attributes"],
    }


def _entries_of(file: Path) -> Iterator[str]:
    with file.open("rb") as stream:
        for entry in ijson.items(stream, "list.item"):
            text = str(entry).strip()
            if text:
                yield text


def readable_regex(text: str) -> tuple[str, int] | None:
    """Pattern and flags of `/pattern/flags`, or None where its time could grow faster than the square of the value's length."""
    pattern, flags = text, re.NOFLAG
    if text.startswith("/") and text.count("/") > 1:
        pattern, _, words = text[1:].rpartition("/")
        if not set(words) <= set(_FLAGS):
            return None
        for word in words:
            flags |= _FLAGS[word]
    if len(pattern) > 500 or _UNSAFE.search(pattern) or len(_REPEAT.findall(pattern)) > _MAX_REPEATS:
        return None
    try:
        re.compile(pattern, flags)
    except re.error:
        return None
    return pattern, int(flags)


def _network_of(text: str, prefixes: dict[int, set[int]]) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return ""
    prefixes[network.version].add(network.prefixlen)
    return _network_entry(network.version, network.prefixlen, int(network.network_address) >> (network.max_prefixlen - network.prefixlen))


def _network_entry(family: int, bits: int, number: int) -> str:
    return f"c{family}/{bits}/{number:x}"


def _hasher(key: bytes) -> "blake2b":
    """To be copied for each entry, which takes half the time of a fresh one."""
    return blake2b(digest_size=_HASH_BYTES, salt=key)
