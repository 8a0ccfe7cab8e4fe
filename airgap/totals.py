"""Totals by five minutes, hour and day, kept in the drain's transaction: what a page costs depends on the targets, not on the rows."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from airgap.models import EgressEvent, EgressTotal
from airgap.segments import OTHER

MAX_TARGETS: Final = 200  # totals a span before further hosts are counted as OTHER; twice as many with those of known hosts
FIELDS: Final = ("host", "port", "rule", "layer", "service", "node", "purpose", "tenant", "caller")


@dataclass(slots=True)
class _Sum:
    """What is to be added to one total."""

    count: int
    first_seen: datetime
    last_seen: datetime
    minutes: int
    reason: str

    def add(self, other: "_Sum") -> None:
        self.count += other.count
        self.first_seen, self.last_seen = min(self.first_seen, other.first_seen), max(self.last_seen, other.last_seen)
        self.minutes |= other.minutes
        self.reason = other.reason


_Fields = tuple[str | int, ...]
_Targets = dict[_Fields, _Sum]


def node_of(process: str) -> str:
    """The host of "host:pid"."""
    return process.rpartition(":")[0] or process


def start_of(span: str, moment: datetime) -> datetime:
    moment = moment.astimezone(UTC).replace(second=0, microsecond=0)
    match EgressTotal.Span(span):
        case EgressTotal.Span.FIVE_MINUTES:
            return moment.replace(minute=moment.minute // 5 * 5)
        case EgressTotal.Span.HOUR:
            return moment.replace(minute=0)
        case EgressTotal.Span.DAY:
            return moment.replace(hour=0, minute=0)


def add(rows: Iterable[EgressEvent]) -> None:
    """Add the rows to the totals of their hours and days. Within a transaction that holds the trail's head."""
    sums: dict[tuple[EgressTotal.Span, datetime], _Targets] = {}
    for row in rows:
        fields: _Fields = (row.host, row.port, row.rule, row.layer, row.service, node_of(row.process), row.purpose, row.tenant, row.caller)
        start = start_of(EgressTotal.Span.FIVE_MINUTES, row.minute)
        total = _Sum(row.count, row.first_seen, row.last_seen, 1 << row.minute.minute, row.reason)
        _merge(sums.setdefault((EgressTotal.Span.FIVE_MINUTES, start), {}), fields, total)
    # Each longer span is summed from the shorter one: the rows are many, their targets few.
    for shorter, longer in pairwise(EgressTotal.Span):
        for (span, start), targets in list(sums.items()):
            if span is shorter:
                into = sums.setdefault((longer, start_of(longer, start)), {})
                for key, total in targets.items():
                    _merge(into, key, replace(total))
    for (span, start), targets in sums.items():
        _store(span, start, targets)


def _merge(targets: _Targets, fields: _Fields, total: _Sum) -> None:
    if fields in targets:
        targets[fields].add(total)
    else:
        targets[fields] = total


def _store(span: str, start: datetime, targets: _Targets) -> None:
    stored = {total.key: total for total in EgressTotal.objects.filter(span=span, start=start)}
    room, more = MAX_TARGETS - len(stored), 2 * MAX_TARGETS - max(MAX_TARGETS, len(stored))
    hosts = {total.host for total in stored.values()}
    kept: _Targets = {}
    # Where there is not room for all, the most frequent have it, and further targets of hosts that have one: a flood of random
    # hosts must not crowd out who calls all day.
    for fields, total in sorted(targets.items(), key=lambda item: -item[1].count) if len(targets) > room else targets.items():
        if _key(fields) not in stored:
            if room > 0:
                room -= 1
                hosts.add(str(fields[0]))
            elif more > 0 and fields[0] in hosts:
                more -= 1
            else:
                _merge(kept, (OTHER, 0, *fields[2:-1], ""), replace(total, reason=""))
                continue
        _merge(kept, fields, total)
    EgressTotal.objects.bulk_create(
        [_row(span, start, fields, total, stored.get(_key(fields))) for fields, total in kept.items()],
        update_conflicts=True,
        unique_fields=["span", "start", "key"],
        update_fields=["count", "first_seen", "last_seen", "minutes", "reason"],
    )


def _row(span: str, start: datetime, fields: _Fields, total: _Sum, stored: EgressTotal | None) -> EgressTotal:
    if stored is not None:
        before = _Sum(stored.count, stored.first_seen, stored.last_seen, stored.minutes, stored.reason)
        before.add(total)
        total = before
    if span != EgressTotal.Span.HOUR:
        total = replace(total, minutes=0)
    return EgressTotal(span=span, start=start, key=_key(fields), **dict(zip(FIELDS, fields, strict=True)), **asdict(total))


def _key(fields: _Fields) -> str:
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()
