"""Rows for the trail, put there as the drain does."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from airgap.drain import append
from airgap.models import EgressEvent

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def event(minutes: int = 0, host: str = "api.openai.com", count: int = 1, **fields: Any) -> EgressEvent:
    """A row that is not in the trail yet; `minutes` after START."""
    minute = fields.pop("minute", START + timedelta(minutes=minutes))
    values = {
        "minute": minute, "service": "api", "process": "vm:1", "host": host, "port": 443, "path": "/v1", "rule": "public", "reason": "why", "layer": "http",
        "purpose": "feed.kev", "tenant": "", "caller": "x", "count": count, "first_seen": minute, "last_seen": minute + timedelta(seconds=5),
    }  # fmt: skip
    return EgressEvent(**{**values, **fields})


def drained(*rows: EgressEvent, now: datetime = START) -> None:
    """The rows at the end of the trail, in one transaction of that moment."""
    with transaction.atomic():
        append(list(rows), now)
