"""Reads of the trail: rows of counts, summed by minute, process and everything else that tells attempts apart."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Min, QuerySet, Sum

from airgap.models import EgressEvent

KEYS = ("minute", "service", "process", "host", "port", "path", "rule", "layer", "purpose", "tenant", "caller")
SUMS = {"sum": Sum("count"), "row": Min("id"), "first": Min("first_seen"), "last": Max("last_seen"), "why": Max("reason")}
WINDOW = 2000  # rows summed at a time: what one page costs does not grow with the trail


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What to read; "" and None match all. since is included, until is not."""

    since: datetime | None = None
    until: datetime | None = None
    host: str = ""
    rule: str = ""
    layer: str = ""
    service: str = ""
    purpose: str = ""
    tenant: str = ""

    def rows(self) -> QuerySet[EgressEvent]:
        found = EgressEvent.objects.filter(**{name: value for name, value in asdict(self).items() if isinstance(value, str) and value})
        if self.since is not None:
            found = found.filter(minute__gte=self.since)
        return found if self.until is None else found.filter(minute__lt=self.until)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader has come to: after this minute's record whose first row has this id."""

    minute: datetime
    row: int


def events(wanted: EventFilter, after: Position | None = None) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The summed records, newest minute first, each with the position behind it. Reads a window at a time."""
    rows = wanted.rows()
    upper = after.minute if after is not None else None
    while True:
        window = rows if upper is None else rows.filter(minute__lte=upper)
        lower = window.order_by("-minute").values_list("minute", flat=True)[WINDOW : WINDOW + 1].first()
        part = window if lower is None else window.filter(minute__gte=lower)
        for record in part.values(*KEYS).annotate(**SUMS).order_by("-minute", "row"):
            if after is not None and record["minute"] == after.minute and record["row"] <= after.row:
                continue
            yield Position(record["minute"], record["row"]), _shown(record)
        if lower is None:
            return
        earlier = rows.filter(minute__lt=lower).order_by("-minute").values_list("minute", flat=True).first()
        if earlier is None:
            return
        upper, after = earlier, None


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    """CONTRACTS.md 2.4, an event."""
    return {
        "minute": record["minute"],
        "service": record["service"],
        "process": record["process"],
        "host": record["host"],
        "port": record["port"] or None,
        "path": record["path"],
        "rule": record["rule"],
        "reason": record["why"],
        "layer": record["layer"],
        "purpose": record["purpose"],
        "tenant": record["tenant"] or None,
        "caller": record["caller"],
        "count": record["sum"],
        "first_seen": record["first"],
        "last_seen": record["last"],
    }
