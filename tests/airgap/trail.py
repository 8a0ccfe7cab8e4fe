"""Rows for the trail, put there as the drain does."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

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


TRIGGER_OFF = {"sqlite": "DROP TRIGGER airgap_egressevent_immutable", "postgresql": "ALTER TABLE airgap_egressevent DISABLE TRIGGER USER"}


@pytest.fixture
def tamper(db: None) -> "Iterator[Callable[..., None]]":
    """Write past the product, as somebody with the database's password would; the trigger comes back at the end."""
    sql = ""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'airgap_egressevent_immutable'")
            sql = cursor.fetchone()[0]
    with connection.cursor() as cursor:
        cursor.execute(TRIGGER_OFF[connection.vendor])

    def run(statement: str, *values: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)

    yield run
    with connection.cursor() as cursor:
        cursor.execute(sql or "ALTER TABLE airgap_egressevent ENABLE TRIGGER USER")
