"""Makes the MISP event for a STIX indicator or bundle. Pure.

Event and attributes have UUIDs made of the STIX id alone, so that the same object gives the same event from every deployment, each time.
Sources: the MISP core format (draft-dulaunoy-misp-core-format), MISP's TLP taxonomy, TLP 2.0 (FIRST).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from threatintel.normalise import timestamp
from threatintel.specs import Tlp
from threatintel.stix import StixReader
from threatintel.stix_pattern import NotAPattern, read_pattern

NAMESPACE: Final = UUID("7d4e0c61-3b0f-5f4e-9a51-2c6f5a1f2b90")  # never changes: it is in every UUID that was ever pushed
TYPES: Final[Mapping[str, tuple[str, str]]] = {  # ours -> MISP's type and category
    "ipv4-addr": ("ip-dst", "Network activity"),
    "ipv6-addr": ("ip-dst", "Network activity"),
    "domain-name": ("domain", "Network activity"),
    "url": ("url", "Network activity"),
    "email-addr": ("email-src", "Payload delivery"),
    "file-hash:md5": ("md5", "Payload delivery"),
    "file-hash:sha1": ("sha1", "Payload delivery"),
    "file-hash:sha256": ("sha256", "Payload delivery"),
    "file-hash:sha512": ("sha512", "Payload delivery"),
    "file-name": ("filename", "Payload delivery"),
}
UNDEFINED: Final = 4  # threat level of what states no confidence, and of bundles
LEVELS: Final = ((80, 1), (50, 2), (20, 3), (0, 4))  # confidence from -> threat level: high, medium, low, undefined
ORGANISATION_ONLY: Final = 0  # distribution of every event
AS_THE_EVENT: Final = 5  # distribution of every attribute
INITIAL: Final = 0  # analysis
MAX_INFO: Final = 500
MAX_COMMENT: Final = 2000
MAX_TAGS: Final = 40
PART: Final = "aisoc:part-of-pattern"
_ORDER = tuple(Tlp)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event as it would be sent. refusal: why TLP or a marking forbids to send it, else "". skipped: a reason for each part that has no attribute."""

    event: dict[str, Any]
    tlp: Tlp
    refusal: str = ""
    skipped: tuple[str, ...] = field(default=())

    @property
    def attributes(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.event["Attribute"]
        return listed


def threat_level(confidence: object) -> int:
    """1 (high) to 4 (undefined) of a STIX confidence."""
    if not isinstance(confidence, int) or isinstance(confidence, bool):
        return UNDEFINED
    return next((level for least, level in LEVELS if confidence >= least), UNDEFINED)


def event_uuid(stix_id: str) -> str:
    return str(uuid5(NAMESPACE, stix_id))


def attribute_uuid(stix_id: str, misp_type: str, value: str) -> str:
    """Of a value within the event of that object: MISP wants another UUID in each event."""
    return str(uuid5(NAMESPACE, f"{stix_id}\0{misp_type}\0{value}"))


def outgoing(obj: Mapping[str, Any], now: datetime) -> Outgoing:
    """The event for a checked indicator or bundle (threatintel/posted.py). now: what was revoked or has expired by then asks for no detection."""
    owner = str(obj["id"])
    kind = str(obj["type"])
    members: list[Mapping[str, Any]] = [one for one in obj["objects"] if isinstance(one, dict)] if kind == "bundle" else [obj]
    indicators = [one for one in members if one.get("type") == "indicator"]
    skipped: list[str] = []
    attributes: dict[str, dict[str, Any]] = {}
    for indicator in indicators:
        for attribute in _attributes(owner, indicator, now, skipped):
            attributes.setdefault(attribute["uuid"], attribute)
    tlp, refusal = _clearance([obj, *members] if kind == "bundle" else members)
    return Outgoing(
        event={
            "uuid": event_uuid(owner),
            "info": _title(obj, indicators),
            "distribution": ORGANISATION_ONLY,
            "threat_level_id": threat_level(obj.get("confidence")) if kind == "indicator" else UNDEFINED,
            "analysis": INITIAL,
            "Tag": [{"name": name} for name in ("aisoc:source=stix", f"aisoc:{kind}={owner}", f"tlp:{tlp.value}")],
            "Attribute": list(attributes.values()),
        },
        tlp=tlp,
        refusal=refusal,
        skipped=tuple(skipped),
    )


def _attributes(owner: str, indicator: Mapping[str, Any], now: datetime, skipped: list[str]) -> Iterator[dict[str, Any]]:
    if indicator.get("pattern_type", "stix") != "stix":
        skipped.append("a pattern that is not STIX")
        return
    try:
        pattern = read_pattern(str(indicator.get("pattern")))
    except NotAPattern as error:
        skipped.append(str(error))
        return
    skipped.extend(pattern.skipped)
    if not pattern.indicators and not pattern.skipped:
        skipped.append("a pattern without a value that stands alone")
    until = timestamp(indicator.get("valid_until"))
    live = indicator.get("revoked") is not True and (until is None or until > now)
    tags = [f"aisoc:{label}" for label in _labels(indicator)]
    if pattern.kept or len(pattern.indicators) > 1:
        tags.append(PART)
    for type, value in pattern.indicators:
        if type not in TYPES:
            skipped.append(f"{type} has no MISP attribute")
            continue
        misp_type, category = TYPES[type]
        attribute: dict[str, Any] = {
            "uuid": attribute_uuid(owner, misp_type, value),
            "type": misp_type,
            "category": category,
            "value": value,
            "to_ids": live,
            "distribution": AS_THE_EVENT,
            "comment": _line(indicator.get("description") or indicator.get("name"), MAX_COMMENT),
        }
        if tags:
            attribute["Tag"] = [{"name": tag} for tag in tags]
        yield attribute


def _clearance(objects: list[Mapping[str, Any]]) -> tuple[Tlp, str]:
    """The most restrictive TLP of the objects, and why they must not be sent, if so. A marking that nobody defines may say anything."""
    reader = StixReader()
    for one in objects:
        reader.learn(one)
    strictest = Tlp.CLEAR
    marked = False
    for one in objects:
        tlp, unknown = reader.marked(one)
        if tlp is not None:
            strictest, marked = max(strictest, tlp, key=_ORDER.index), True
        if tlp is Tlp.RED:
            return Tlp.RED, f"{one.get('id')} is marked TLP:RED, which is for its recipients alone."
        if unknown:
            return Tlp.RED, f"{one.get('id')} is marked with {unknown[0]}, whose definition did not come with it."
    # An object without any marking is handled as amber everywhere in this product.
    unmarked = any(one.get("type") == "indicator" and reader.marked(one)[0] is None for one in objects)
    return (max(strictest, Tlp.AMBER, key=_ORDER.index) if unmarked or not marked else strictest), ""


def _title(obj: Mapping[str, Any], indicators: list[Mapping[str, Any]]) -> str:
    if obj["type"] == "indicator":
        return _line(obj.get("name"), MAX_INFO) or f"STIX indicator {obj['id']}"
    names = [name for one in indicators if (name := _line(one.get("name"), 100))][:3]
    return _line(f"STIX {obj['id']}: {', '.join(names)}" if names else f"STIX {obj['id']}", MAX_INFO)


def _labels(indicator: Mapping[str, Any]) -> list[str]:
    given = indicator.get("labels")
    labels = [_line(label, 120) for label in given if isinstance(label, str)] if isinstance(given, list) else []
    return list(dict.fromkeys(filter(None, labels)))[:MAX_TAGS]


def _line(value: object, length: int) -> str:
    """Text without control characters."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in value).split())[:length]
