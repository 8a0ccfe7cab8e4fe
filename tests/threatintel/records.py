"""Records as tests need them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from threatintel.specs import Page, Record, Tlp, Unread

DAY = datetime(2026, 5, 1, tzinfo=UTC)


def record(value: str = "evil.example", **changes: Any) -> Record:
    given: dict[str, Any] = {
        "type": "domain-name",
        "external_id": f"indicator--{value}",
        "confidence": 50,
        "tlp": Tlp.GREEN,
        "modified": DAY,
        "raw": '{"a":"\\\\ \\u0000? \\t"}',
        **changes,
    }
    return Record(value=value, **given)


def page(*records: Record | Unread, **changes: Any) -> Page:
    return Page(records=records, cursor={}, **changes)


def day(number: int) -> datetime:
    return DAY + timedelta(days=number)
