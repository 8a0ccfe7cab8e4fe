"""A store with indicators whose sources are hostile, and what they must never become on a page."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from threatintel import ingest
from threatintel.identity import indicator_id
from threatintel.models import FeedCursor, IndicatorSource
from threatintel.specs import Page, Record, Tlp

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=//x.example onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)//https://evil.example/",
    "{{ 7|add:7 }}{% csrf_token %}",
    "</textarea></pre></title><svg/onload=alert(1)>",
    "evil\u202egpj.exe\u200b",
    "=HYPERLINK(\"https://evil.example\")",
    "https://evil.example/?a=1&b=<b>",
)  # fmt: skip
SEEN = datetime(2026, 11, 20, 14, 3, 11, tzinfo=UTC)


def record(type: str = "domain-name", value: str = "evil.example", external_id: str = "indicator--1", **more: Any) -> Record:
    return Record(**{"type": type, "value": value, "external_id": external_id, "confidence": 80, "tlp": Tlp.AMBER, **more})


def stored(*records: Record, feed: str = "stix") -> None:
    """Stores the records as the feed's, and counts them as a run does at its end."""
    ingest.store(feed, Page(records=records, cursor=None))
    FeedCursor.objects.update_or_create(feed=feed, defaults={"live": IndicatorSource.objects.filter(feed=feed, revoked=False).count()})


def key_of(type: str = "domain-name", value: str = "evil.example") -> UUID:
    return UUID(indicator_id(type, value))


def address_of(type: str = "domain-name", value: str = "evil.example") -> str:
    return f"/settings/indicators/{key_of(type, value)}/"


def hostile(text: str, number: int) -> Record:
    """One that says `text` wherever a source may say something."""
    return record(
        "file-name",
        text.replace("\u200b", ""),
        f"indicator--{number}{text}"[:250],
        labels=(text,),
        description=text,
        url=text[:2000],
        references=(text, "https://evil.example/report"),
        last_seen=SEEN,
        raw=json.dumps({"id": text}),
    )
