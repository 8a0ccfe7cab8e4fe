"""Checks a STIX indicator or bundle that somebody posts, before anything of it is stored. Pure.

    NotAccepted(ValueError)     what is wrong, as a sentence, and `field`, the property it is about ("objects.3.pattern")

Source: STIX 2.1 (OASIS) sections 2.9 (identifiers), 3.2 (common properties), 4.7 (indicator), 8 (bundle); STIX 2.0 for objects without
spec_version. What the specification leaves open and readers use is checked too, so that nothing is stored that cannot be read.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from threatintel.normalise import timestamp
from threatintel.stix import stix_json
from threatintel.stix_pattern import MAX_PATTERN, NotAPattern, read_pattern

MAX_BYTES: Final = 2 * 1024 * 1024  # of a posted body
MAX_OBJECTS: Final = 1000  # of a posted bundle; larger ones are imported as files
MAX_DEPTH: Final = 32
MAX_PATTERNS: Final = 300_000  # characters of all patterns of a posted bundle: reading them takes time
MAX_NAME: Final = 1000  # characters
MAX_TEXT: Final = 50_000
MAX_LIST: Final = 200  # labels, markings, references
_TYPE = re.compile(r"[a-z0-9][a-z0-9-]{1,80}")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_MARKING = re.compile(f"marking-definition--{_UUID}")
_VERSIONS = ("2.0", "2.1")


class NotAccepted(ValueError):
    """The object is not stored. `field` is "" when the whole is meant."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def read_body(body: bytes) -> dict[str, Any]:
    """A posted body as the JSON object that it is, fit for every database. Raises NotAccepted."""
    try:
        obj = json.loads(body.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise NotAccepted("", "The body is no JSON document in UTF-8.") from None
    if not isinstance(obj, dict):
        raise NotAccepted("", "The body is no JSON object.")
    if _deeper_than(obj, MAX_DEPTH):
        raise NotAccepted("", f"The body is nested more than {MAX_DEPTH} deep.")
    read: dict[str, Any] = json.loads(stix_json(obj))
    return read


def check_indicator(obj: object) -> dict[str, Any]:
    """The object, which is a STIX indicator with a STIX pattern. Raises NotAccepted."""
    indicator = _object(obj, "")
    if indicator.get("type") != "indicator":
        raise NotAccepted("type", "It is not 'indicator'.")
    _check_indicator(indicator, "")
    if indicator.get("pattern_type", "stix") != "stix":
        raise NotAccepted("pattern_type", "Only patterns of type 'stix' are stored.")
    return indicator


def check_bundle(obj: object) -> dict[str, Any]:
    """The object, which is a STIX bundle; each of its indicators is checked as one alone. Raises NotAccepted."""
    bundle = _object(obj, "")
    if bundle.get("type") != "bundle":
        raise NotAccepted("type", "It is not 'bundle'.")
    _check_id(bundle, "")
    if bundle.get("spec_version", "2.1") not in _VERSIONS:
        raise NotAccepted("spec_version", "It is neither '2.0' nor '2.1'.")
    _check_markings(bundle, "")
    objects = bundle.get("objects")
    if not isinstance(objects, list) or not objects:
        raise NotAccepted("objects", "It is no list of STIX objects with at least one in it.")
    if len(objects) > MAX_OBJECTS:
        raise NotAccepted("objects", f"There are more than {MAX_OBJECTS} objects; import the bundle as a file.")
    if sum(len(one["pattern"]) for one in objects if isinstance(one, dict) and isinstance(one.get("pattern"), str)) > MAX_PATTERNS:
        raise NotAccepted("objects", f"Their patterns have more than {MAX_PATTERNS} characters; import the bundle as a file.")
    for number, one in enumerate(objects):
        place = f"objects.{number}."
        inner = _object(one, place)
        if not isinstance(inner.get("type"), str) or not _TYPE.fullmatch(inner["type"]) or inner["type"] == "bundle":
            raise NotAccepted(f"{place}type", "It is no type of a STIX object.")
        if inner["type"] == "indicator":
            _check_indicator(inner, place)
        else:
            _check_common(inner, place, versioned=False)
    return bundle


def _check_indicator(indicator: Mapping[str, Any], place: str) -> None:
    _check_common(indicator, place, versioned=True)
    pattern = indicator.get("pattern")
    if not isinstance(pattern, str) or not pattern.strip():
        raise NotAccepted(f"{place}pattern", "It is required, as text.")
    if len(pattern) > MAX_PATTERN:
        raise NotAccepted(f"{place}pattern", f"It has more than {MAX_PATTERN} characters.")
    language = indicator.get("pattern_type", None if "spec_version" in indicator else "stix")
    if not isinstance(language, str) or not _TYPE.fullmatch(language):
        raise NotAccepted(f"{place}pattern_type", "It is required, for example 'stix'.")
    if language == "stix":
        try:
            read_pattern(pattern)
        except NotAPattern as error:
            raise NotAccepted(f"{place}pattern", str(error)) from None
    start = _moment(indicator, "valid_from", place, required=True)
    end = _moment(indicator, "valid_until", place)
    if start and end and end <= start:
        raise NotAccepted(f"{place}valid_until", "It is not later than valid_from.")


def _check_common(obj: Mapping[str, Any], place: str, *, versioned: bool) -> None:
    """The properties that objects share. versioned: created and modified are required, as for every STIX domain object."""
    _check_id(obj, place)
    if obj.get("spec_version", "2.1") not in _VERSIONS:
        raise NotAccepted(f"{place}spec_version", "It is neither '2.0' nor '2.1'.")
    created = _moment(obj, "created", place, required=versioned)
    modified = _moment(obj, "modified", place, required=versioned)
    if created and modified and modified < created:
        raise NotAccepted(f"{place}modified", "It is earlier than created.")
    for name, length in (("name", MAX_NAME), ("description", MAX_TEXT)):
        text = obj.get(name, "")
        if not isinstance(text, str) or len(text) > length:
            raise NotAccepted(f"{place}{name}", f"It is no text of at most {length} characters.")
    confidence = obj.get("confidence", 0)
    if not isinstance(confidence, int) or isinstance(confidence, bool) or not 0 <= confidence <= 100:
        raise NotAccepted(f"{place}confidence", "It is no whole number from 0 to 100.")
    if not isinstance(obj.get("revoked", False), bool):
        raise NotAccepted(f"{place}revoked", "It is neither true nor false.")
    for name in ("labels", "indicator_types"):
        words = _list(obj, name, place)
        if not all(isinstance(word, str) and word.strip() and len(word) <= 250 for word in words):
            raise NotAccepted(f"{place}{name}", "It is no list of words of at most 250 characters.")
    if not all(isinstance(one, dict) for one in _list(obj, "external_references", place)):
        raise NotAccepted(f"{place}external_references", "It is no list of references.")
    _check_markings(obj, place)


def _check_id(obj: Mapping[str, Any], place: str) -> None:
    if not isinstance(owner := obj.get("id"), str) or not re.fullmatch(f"{re.escape(str(obj['type']))}--{_UUID}", owner):
        raise NotAccepted(f"{place}id", f"It is not '{obj['type']}--' and a UUID in lower case.")


def _check_markings(obj: Mapping[str, Any], place: str) -> None:
    refs = _list(obj, "object_marking_refs", place)
    if not all(isinstance(one, str) and _MARKING.fullmatch(one) for one in refs):
        raise NotAccepted(f"{place}object_marking_refs", "It is no list of ids of marking definitions.")
    if not all(isinstance(one, dict) for one in _list(obj, "granular_markings", place)):
        raise NotAccepted(f"{place}granular_markings", "It is no list of granular markings.")


def _moment(obj: Mapping[str, Any], name: str, place: str, *, required: bool = False) -> datetime | None:
    value = obj.get(name)
    if value is None and name not in obj and not required:
        return None
    moment = timestamp(value) if isinstance(value, str) and value.endswith("Z") else None
    if moment is None:
        raise NotAccepted(f"{place}{name}", f"{'It is required, as' if name not in obj else 'It is no'} RFC 3339 time in UTC that ends in Z.")
    return moment


def _list(obj: Mapping[str, Any], name: str, place: str) -> list[Any]:
    value = obj.get(name, [])
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise NotAccepted(f"{place}{name}", f"It is no list of at most {MAX_LIST} entries.")
    return value


def _object(obj: object, place: str) -> dict[str, Any]:
    if not isinstance(obj, dict):
        raise NotAccepted(place.rstrip("."), "It is no JSON object.")
    return obj


def _deeper_than(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if depth == 0:
        return True
    return any(_deeper_than(inner, depth - 1) for inner in (value.values() if isinstance(value, dict) else value))


def _no_constant(_word: str) -> None:
    raise ValueError("NaN and Infinity are no JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("The number is too large.")
    return number
