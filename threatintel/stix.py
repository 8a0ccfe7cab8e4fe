"""Reads STIX 2.0 and 2.1 objects into Records, one object at a time. Pure.

Sources: STIX 2.1 (OASIS) sections 4.7 (indicator), 4.18 (vulnerability), 6 (observables), 7.2.1 (data markings) and the TLP 2.0 extension
definition of the OASIS CTI committee; TLP 2.0 (FIRST).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final

from threatintel.canonical import NotCanonical, typed
from threatintel.normalise import timestamp
from threatintel.specs import Record, Tally, Tlp, Unread
from threatintel.stix_pattern import NotAPattern, read_pattern

# The marking definitions that every producer shares: TLP 1.0 (STIX 2.1 section 7.2.1.4) and TLP 2.0 (the extension's own objects). The last is
# OpenCTI's for amber+strict beside the ids of 1.0: many use it, and as a definition it comes, if at all, as a statement of "custom".
TLP_MARKINGS: Final[Mapping[str, Tlp]] = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": Tlp.CLEAR,
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": Tlp.GREEN,
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": Tlp.AMBER,
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": Tlp.RED,
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": Tlp.CLEAR,
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": Tlp.GREEN,
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": Tlp.AMBER,
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": Tlp.AMBER_STRICT,
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": Tlp.RED,
    "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37": Tlp.AMBER_STRICT,
}
_TLP_EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
_WORDS = {"white": Tlp.CLEAR, **{tlp.value: tlp for tlp in Tlp}}
_ORDER = tuple(Tlp)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,80}--[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s\x00-\x1f]{1,2000}")
_HASHES = {
    "md5": "md5",
    "sha1": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "ssdeep": "ssdeep",
    "tlsh": "tlsh",
}
# Observables whose one property is the value.
_VALUES = {
    "ipv4-addr": "value",
    "ipv6-addr": "value",
    "domain-name": "value",
    "url": "value",
    "email-addr": "value",
    "mac-addr": "value",
    "mutex": "name",
    "windows-registry-key": "key",
    "autonomous-system": "number",
}
MAX_LABELS = 40
MAX_REFERENCES = 20
DEFAULT_CONFIDENCE = 50
_PART = "part-of-pattern"
_DECODER = json.JSONDecoder()


def stix_json(obj: Mapping[str, Any]) -> str:
    """The object as JSON text that every database stores: no NUL, no lone surrogate."""
    text = json.dumps(obj, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text:
        text = json.dumps(_without_nul(obj), ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode(errors="replace").decode()


class StixReader:
    """Reads one source's objects; remembers the marking definitions among them. `tlp`: of an object that carries no TLP marking."""

    def __init__(self, tlp: Tlp = Tlp.AMBER) -> None:
        self._tlp = tlp
        self._markings: dict[str, Tlp | None] = dict(TLP_MARKINGS)

    def objects(self, objects: Iterable[Any], tally: Tally) -> Iterator[Unread]:
        """The objects that may state indicators, not read yet; what never does is counted in the tally."""
        for obj in objects:
            if (owner := self._owner(obj, tally)) is not None:
                raw = stix_json(obj)
                yield Unread(owner, raw + self._tlp_of(obj, None), partial(self._records, obj, raw, tally))

    def written(self, obj: Any, text: str, tally: Tally) -> Unread | None:
        """The same of one object that was written as `text`. It is made of the text again should it be read: a page of texts is lighter than one of objects."""
        if (owner := self._owner(obj, tally)) is None:
            return None
        said = text + self._tlp_of(obj, None)
        return Unread(owner, said, partial(self._read_again, said, tally))

    def _owner(self, obj: Any, tally: Tally) -> str | None:
        """The id of an object that may state indicators."""
        if not isinstance(obj, dict):
            tally.skip("something that is no STIX object")
            return None
        kind, owner = obj.get("type"), obj.get("id")
        if kind == "marking-definition":
            self._learn(obj)
        elif not isinstance(kind, str) or kind not in _READ:
            tally.skip(f"{_word(kind)} is no indicator")
        elif not isinstance(owner, str) or not _ID.fullmatch(owner):
            tally.skip(f"{kind} without a STIX id")
        else:
            return owner
        return None

    def _read_again(self, said: str, tally: Tally) -> list[Record]:
        obj, end = _DECODER.raw_decode(said)
        return self._records(obj, said[:end], tally)

    def records(self, obj: Mapping[str, Any], tally: Tally) -> list[Record]:
        """What one object states."""
        return [record for unread in self.objects([obj], tally) for record in unread.read()]

    def _records(self, obj: Mapping[str, Any], raw: str, tally: Tally) -> list[Record]:
        kind = obj["type"]
        if kind == "indicator":
            return self._of_indicator(obj, raw, tally)
        values = list(_observed(obj, tally))
        if not values:
            tally.skip(f"{kind} without a value that is read")
        return [self._record(obj, raw, pair, tally, context=kind != "vulnerability") for pair in dict.fromkeys(values)]

    def _of_indicator(self, obj: Mapping[str, Any], raw: str, tally: Tally) -> list[Record]:
        pattern, language = obj.get("pattern"), obj.get("pattern_type", "stix")
        if language != "stix" or not isinstance(pattern, str):
            tally.skip(f"indicator with a pattern in {_word(language)}" if isinstance(pattern, str) else "indicator without a pattern")
            return []
        try:
            parts = read_pattern(pattern)
        except NotAPattern as error:
            tally.skip(f"indicator: {str(error)[:80]}")
            return []
        for reason in parts.skipped:
            tally.skip(reason)
        label = (_PART,) if parts.kept or len(parts.indicators) > 1 else ()
        records = [self._record(obj, raw, pair, tally, labels=label) for pair in parts.indicators]
        if parts.kept:
            records.append(self._record(obj, raw, ("stix-pattern", pattern.replace("\0", "").strip()), tally))
        return records

    def _record(
        self, obj: Mapping[str, Any], raw: str, pair: tuple[str, str], tally: Tally, *, labels: tuple[str, ...] = (), context: bool = False
    ) -> Record:
        references = _links(obj)
        confidence = obj.get("confidence")
        return Record(
            type=pair[0],
            value=pair[1],
            external_id=obj["id"],
            confidence=confidence if type(confidence) is int and 0 <= confidence <= 100 else DEFAULT_CONFIDENCE,
            tlp=self._tlp_of(obj, tally),
            labels=(*_labels(obj), *labels),
            description=_text(obj.get("description") or obj.get("name"), 2000),
            url=references[0] if references else "",
            references=references,
            first_seen=_moment(obj.get("valid_from") or obj.get("first_observed") or obj.get("created")),
            last_seen=_moment(obj.get("last_observed") or obj.get("modified")),
            valid_until=_moment(obj.get("valid_until")),
            modified=_moment(obj.get("modified") or obj.get("created")),
            revoked=obj.get("revoked") is True,
            context=context,
            raw=raw,
        )

    def learn(self, obj: Mapping[str, Any]) -> None:
        """Remember a marking definition before the objects that it marks are read; anything else is passed over."""
        if obj.get("type") == "marking-definition":
            self._learn(obj)

    def undefined(self, objects: Iterable[Any]) -> set[str]:
        """Ids of the markings of these objects, where they may state indicators, that nobody has defined yet."""
        readable = [obj for obj in objects if isinstance(obj, dict) and isinstance(obj.get("type"), str) and obj["type"] in _READ]
        return {mark for obj in readable for mark in self.marked(obj)[1] if _ID.fullmatch(mark)}

    def marked(self, obj: Mapping[str, Any]) -> tuple[Tlp | None, tuple[str, ...]]:
        """The most restrictive TLP of the object's markings, granular ones too, None without one; and the markings that nobody has defined."""
        refs = obj.get("object_marking_refs")
        if type(refs) is list and len(refs) == 1 and type(refs[0]) is str and "granular_markings" not in obj and (one := self._markings.get(refs[0])):
            return one, ()  # as almost all are
        marks = list(refs) if isinstance(refs, list) else []
        granular = obj.get("granular_markings")
        if isinstance(granular, list):
            marks += [one.get("marking_ref") for one in granular if isinstance(one, dict) and "marking_ref" in one]
        found = [known for mark in marks if isinstance(mark, str) and (known := self._markings.get(mark)) is not None]
        unknown = tuple(mark if isinstance(mark, str) else "something" for mark in marks if not isinstance(mark, str) or mark not in self._markings)
        return max(found, key=_ORDER.index, default=None), unknown

    def _learn(self, obj: Mapping[str, Any]) -> None:
        owner = obj.get("id")
        if not isinstance(owner, str) or owner in TLP_MARKINGS:
            return  # nobody redefines the markings that all share
        said = [tlp for tlp in (self._markings.get(owner), *_tlps_of(obj)) if tlp is not None]
        self._markings[owner] = max(said, key=_ORDER.index, default=None)  # of two definitions the stricter; None: a marking of another kind

    def _tlp_of(self, obj: Mapping[str, Any], tally: Tally | None) -> Tlp:
        """The most restrictive of its markings, granular ones too; the reader's own when it has none."""
        found, unknown = self.marked(obj)
        if tally is not None:
            for _ in unknown:
                tally.skip("a marking whose definition did not come with it")
        return found or self._tlp


def _tlps_of(definition: Mapping[str, Any]) -> Iterator[Tlp]:
    """What a marking definition says of TLP, in any of its places. A TLP marking that cannot be read is taken for the strictest."""
    inner, extensions, name = definition.get("definition"), definition.get("extensions"), definition.get("name")
    if str(definition.get("definition_type")).lower() == "tlp":
        yield tlp_named(inner.get("tlp") if isinstance(inner, dict) else None)
    if isinstance(extensions, dict) and _TLP_EXTENSION in extensions:
        extension = extensions[_TLP_EXTENSION]
        yield tlp_named(extension.get("tlp_2_0") if isinstance(extension, dict) else None)
    if isinstance(name, str) and name.strip().lower().startswith("tlp:"):
        yield tlp_named(name)


def tlp_named(word: object) -> Tlp:
    """What a word of TLP 1.0 or 2.0 stands for; any other is taken for the strictest."""
    return _WORDS.get(word.strip().lower().removeprefix("tlp:").strip(), Tlp.RED) if isinstance(word, str) else Tlp.RED


def _observed(obj: Mapping[str, Any], tally: Tally) -> Iterator[tuple[str, str]]:
    """What an observable, the observables of STIX 2.0 observed data, or a vulnerability names."""
    match obj["type"]:
        case "observed-data":
            objects = obj.get("objects")
            for inner in objects.values() if isinstance(objects, dict) else ():
                if isinstance(inner, dict) and isinstance(inner.get("type"), str) and inner["type"] in _OBSERVABLES:
                    yield from _observed(inner, tally)
        case "vulnerability":
            references = obj.get("external_references")
            named = [one.get("external_id") for one in references if isinstance(one, dict)] if isinstance(references, list) else []
            for text in (*named, obj.get("name")):
                if isinstance(text, str) and (match := _CVE.search(text)):
                    yield "vulnerability", match.group().upper()
                    return
        case "file":
            hashes = obj.get("hashes")
            for name, value in hashes.items() if isinstance(hashes, dict) else ():
                if kind := _HASHES.get(str(name).lower().replace("-", "")):
                    yield from _typed(f"file-hash:{kind}", value, tally)
            yield from _typed("file-name", obj.get("name"), tally)
        case kind:
            yield from _typed(kind, obj.get(_VALUES[kind]), tally)


def _typed(kind: str, value: object, tally: Tally) -> Iterator[tuple[str, str]]:
    if value is None or isinstance(value, bool) or not isinstance(value, str | int):
        return
    try:
        yield typed(kind, str(value))
    except NotCanonical:
        tally.skip(f"a value that is no {kind}")


_OBSERVABLES = frozenset({*_VALUES, "file"})
_READ = frozenset({"indicator", "vulnerability", "observed-data", *_OBSERVABLES})


def _moment(value: object) -> datetime | None:
    return _read_moment(value) if isinstance(value, str) else None


_read_moment = lru_cache(4096)(timestamp)


def _labels(obj: Mapping[str, Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in ("labels", "indicator_types"):
        given = obj.get(name)
        for label in given if isinstance(given, list) else ():
            if isinstance(label, str) and (text := _text(label, 120)):
                found[text] = None
    return tuple(found)[:MAX_LABELS]


def _links(obj: Mapping[str, Any]) -> tuple[str, ...]:
    references = obj.get("external_references")
    if not isinstance(references, list):
        return ()
    urls = (one.get("url") for one in references if isinstance(one, dict))
    return tuple(dict.fromkeys(url for url in urls if isinstance(url, str) and _LINK.fullmatch(url) and url.isprintable()))[:MAX_REFERENCES]


def _text(value: object, length: int) -> str:
    if not isinstance(value, str):
        return ""
    text = value.replace("\0", "").strip()[:length]
    return text if text.isascii() else text.encode(errors="replace").decode()


def _word(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z0-9-]{1,40}", value) else "an object of unknown type"


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value
