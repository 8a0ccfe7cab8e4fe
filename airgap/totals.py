"""Totals by hour and day, kept in the drain's transaction: what a page costs depends on the targets, not on the rows."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from airgap.models import EgressEvent, EgressTotal
from airgap.spool import OTHER

MAX_TARGETS: Final = 200  # totals an hour or day before further hosts are counted as OTHER
_SPANS: Final = tuple(EgressTotal.Span.values)
FIELDS: Final = ("host", "port", "rule", "layer", "service", "node", "purpose", "tenant", "caller")


@dataclass(slots=True)
class _Sum:
    """What is to be added to one total."""

    fields: tuple[str | int, ...]
    count: int
    first_seen: datetime
    last_seen: datetime


def node_of(process: str) -> str:
    """The host of "host:pid"."""
    return process.rpartition(":")[0] or process


def start_of(span: str, moment: datetime) -> datetime:
    moment = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return moment if span == EgressTotal.Span.HOUR else moment.replace(hour=0)


def add(rows: Iterable[EgressEvent]) -> None:
    """Add the rows to the totals of their hours and days. Within a transaction that holds the trail's head."""
    sums: dict[tuple[str, datetime], dict[tuple[str | int, ...], _Sum]] = {}
    for row in rows:
        fields = (row.host, row.port, row.rule, row.layer, row.service, node_of(row.process), row.purpose, row.tenant, row.caller)
        for span in _SPANS:
            targets = sums.setdefault((span, start_of(span, row.minute)), {})
            _merge(targets, fields, row.count, row.first_seen, row.last_seen)
    for (span, start), targets in sums.items():
        _store(span, start, targets)


def _merge(targets: dict[tuple[str | int, ...], _Sum], fields: tuple[str | int, ...], count: int, first: datetime, last: datetime) -> None:
    total = targets.get(fields)
    if total is None:
        targets[fields] = _Sum(fields, count, first, last)
    else:
        total.count, total.first_seen, total.last_seen = total.count + count, min(total.first_seen, first), max(total.last_seen, last)


def _store(span: str, start: datetime, targets: dict[tuple[str | int, ...], _Sum]) -> None:
    stored = {total.key: total for total in EgressTotal.objects.filter(span=span, start=start)}
    room = MAX_TARGETS - len(stored)
    kept: dict[tuple[str | int, ...], _Sum] = {}
    for fields, total in targets.items():
        if _key(fields) not in stored:
            if room <= 0:
                _merge(kept, (OTHER, 0, *fields[2:-1], ""), total.count, total.first_seen, total.last_seen)
                continue
            room -= 1
        _merge(kept, fields, total.count, total.first_seen, total.last_seen)
    EgressTotal.objects.bulk_create(
        [_row(span, start, total, stored.get(_key(total.fields))) for total in kept.values()],
        update_conflicts=True,
        unique_fields=["span", "start", "key"],
        update_fields=["count", "first_seen", "last_seen"],
    )


def _row(span: str, start: datetime, total: _Sum, stored: EgressTotal | None) -> EgressTotal:
    row = EgressTotal(span=span, start=start, key=_key(total.fields), count=total.count, first_seen=total.first_seen, last_seen=total.last_seen)
    for name, value in zip(FIELDS, total.fields, strict=True):
        setattr(row, name, value)
    if stored is not None:
        row.count += stored.count
        row.first_seen, row.last_seen = min(row.first_seen, stored.first_seen), max(row.last_seen, stored.last_seen)
    return row


def _key(fields: tuple[str | int, ...]) -> str:
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()
