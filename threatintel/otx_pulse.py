"""Reads AlienVault OTX pulses, as the API answers and exports them, into Records. Pure.

Source: OTX DirectConnect API v1, /api/v1/pulses/subscribed.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from threatintel.canonical import NotCanonical, typed
from threatintel.normalise import timestamp
from threatintel.specs import Record, Tally, Tlp
from threatintel.stix import stix_json, tlp_named

TYPES: Final[Mapping[str, str]] = {
    "IPv4": "ipv4-addr",
    "IPv6": "ipv6-addr",
    "CIDR": "ipv4-addr",
    "domain": "domain-name",
    "hostname": "domain-name",
    "URL": "url",
    "URI": "url",
    "email": "email-addr",
    "CVE": "vulnerability",
    "FileHash-MD5": "file-hash:md5",
    "FileHash-SHA1": "file-hash:sha1",
    "FileHash-SHA256": "file-hash:sha256",
    "FileHash-IMPHASH": "file-hash:imphash",
    "Mutex": "mutex",
}
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_LINK = re.compile(r"https?://\S{1,2000}")
MAX_LABELS: Final = 40
MAX_REFERENCES: Final = 20
CONFIDENCE: Final = 50  # OTX says nothing of it


def pulse_date(pulse: Mapping[str, Any]) -> datetime | None:
    """When the pulse was last changed."""
    return timestamp(pulse.get("modified")) or timestamp(pulse.get("created"))


def pulses_in(document: Any) -> Iterator[Mapping[str, Any]]:
    """The pulses of an exported file: one, a list, or an answer's `results`."""
    if isinstance(document, list):
        for one in document:
            yield from pulses_in(one)
    elif isinstance(document, dict):
        if isinstance(document.get("results"), list):
            yield from pulses_in(document["results"])
        elif "indicators" in document or "pulse_key" in document:
            yield document


def pulse_records(pulse: Mapping[str, Any], tally: Tally) -> Iterator[Record]:
    """Everything that a pulse lists. What has left the pulse is retired by whoever stores the records."""
    owner = pulse.get("id")
    if not isinstance(owner, str) or not _ID.fullmatch(owner):
        tally.skip("pulse without an id")
        return
    links = [link for link in _texts(pulse.get("references")) if _LINK.fullmatch(link) and link.isprintable()]
    head = {"id": owner, "name": _text(pulse.get("name"), 300), "modified": pulse.get("modified")}
    word = pulse.get("TLP") or pulse.get("tlp")
    labels = (*_texts(pulse.get("tags")), *_names(pulse.get("malware_families")), *_names(pulse.get("attack_ids")))
    indicators = pulse.get("indicators")
    for indicator in indicators if isinstance(indicators, list) else ():
        pair = _pair(indicator, tally)
        if pair is None:
            continue
        created = timestamp(indicator.get("created"))
        yield Record(
            type=pair[0],
            value=pair[1],
            external_id=owner,
            confidence=CONFIDENCE,
            tlp=tlp_named(word) if word else Tlp.AMBER,
            labels=tuple(dict.fromkeys(text for label in labels if (text := _text(label, 120))))[:MAX_LABELS],
            description=_text(pulse.get("name"), 300),
            url=f"https://otx.alienvault.com/pulse/{owner}",
            references=tuple(dict.fromkeys(links))[:MAX_REFERENCES],
            first_seen=created,
            last_seen=created,
            valid_until=timestamp(indicator.get("expiration")),
            modified=pulse_date(pulse),
            revoked=indicator.get("is_active") in (0, False),
            raw=stix_json({**indicator, "pulse": head}),
        )


def _pair(indicator: object, tally: Tally) -> tuple[str, str] | None:
    if not isinstance(indicator, dict):
        tally.skip("something that is no indicator")
        return None
    named, value = indicator.get("type"), indicator.get("indicator")
    kind = TYPES.get(named) if isinstance(named, str) else None
    if kind is None or not isinstance(value, str):
        tally.skip(f"OTX type {named if isinstance(named, str) and re.fullmatch(r'[A-Za-z0-9 _-]{1,40}', named) else '(unreadable)'} is no indicator")
        return None
    try:
        return typed(kind, value)
    except NotCanonical:
        tally.skip(f"a value that is no {kind}")
        return None


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _names(value: object) -> list[str]:
    """Of malware families and ATT&CK techniques: objects with a name, or plain text."""
    found = []
    for one in value if isinstance(value, list) else ():
        name = one.get("display_name") or one.get("id") if isinstance(one, dict) else one
        if isinstance(name, str):
            found.append(name)
    return found


def _text(value: object, length: int) -> str:
    text = value.replace("\0", "").strip()[:length] if isinstance(value, str) else ""
    return text if text.isascii() else text.encode(errors="replace").decode()
