"""Reads of the trail: records summed from the rows, and overviews of long spans from the totals."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Max, Min, QuerySet, Sum

from airgap.models import EgressEvent, EgressTotal
from airgap.totals import start_of

KEYS = ("minute", "service", "process", "host", "port", "path", "rule", "layer", "purpose", "tenant", "caller")
SUMS = {"sum": Sum("count"), "row": Min("position"), "first": Min("first_seen"), "last": Max("last_seen"), "why": Max("reason")}
WINDOW = 2000  # rows summed at a time: what one page costs does not grow with the trail
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What to read; "" and None match all. since is included, until is not."""

    since: datetime | None = None
    until: datetime | None = None
    host: str = ""
    rule: str = ""
    layer: str = ""
    service: str = ""
    node: str = ""
    purpose: str = ""
    tenant: str = ""

    def words(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if isinstance(value, str) and value}

    def rows(self) -> QuerySet[EgressEvent]:
        words = self.words()
        if node := words.pop("node", ""):
            words["process__startswith"] = f"{node}:"
        found = EgressEvent.objects.filter(**words)
        if self.since is not None:
            found = found.filter(minute__gte=self.since)
        return found if self.until is None else found.filter(minute__lt=self.until)

    def totals(self, span: str) -> QuerySet[EgressTotal]:
        """Whole hours or days: those that since and until fall into are included."""
        found = EgressTotal.objects.filter(span=span, **self.words())
        if self.since is not None:
            found = found.filter(start__gte=start_of(span, self.since))
        return found if self.until is None else found.filter(start__lt=self.until)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader has come to: after this minute's record whose first row has this position in the trail."""

    minute: datetime
    row: int


def events(wanted: EventFilter, after: Position | None = None) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The summed records, newest minute first, each with the position behind it. Reads a window at a time."""
    for rows in _stretches(wanted, after):
        yield from _windows(rows, after)


def _stretches(wanted: EventFilter, after: Position | None) -> Iterator[QuerySet[EgressEvent]]:
    """The rows in pieces, newest first: in one, or, where a filter may match few of many, only the hours that the totals know of.

    Not for the host, which has an index, and which the totals fold into `(other)` beyond their bound.
    """
    rows = wanted.rows()
    if not wanted.words().keys() - {"host"}:
        yield rows
        return
    hours = EventFilter(**{**asdict(wanted), "host": ""}).totals(EgressTotal.Span.HOUR)
    if after is not None:
        hours = hours.filter(start__lte=after.minute)
    for start in hours.order_by("-start").values_list("start", flat=True).distinct():
        yield rows.filter(minute__gte=start, minute__lt=start + HOUR)


def _windows(rows: QuerySet[EgressEvent], after: Position | None) -> Iterator[tuple[Position, dict[str, Any]]]:
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


# ── Overviews ────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time up to now, in `bars` steps that begin on the clock (UTC)."""

    word: str
    title: str
    step: timedelta
    bars: int

    def since(self, now: datetime) -> datetime:
        return self.begin(now) - self.step * (self.bars - 1)

    def begin(self, moment: datetime) -> datetime:
        """The beginning of the step that `moment` is in."""
        midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (moment - midnight) // self.step * self.step


SPANS: Final = (
    Span("1h", "Last hour", timedelta(minutes=1), 60),
    Span("24h", "Last 24 h", HOUR, 24),
    Span("7d", "Last 7 days", 6 * HOUR, 28),
    Span("30d", "Last 30 days", 24 * HOUR, 30),
)
MAX_GROUPS: Final = 50
GROUP: Final = ("host", "port", "rule", "layer", "purpose", "tenant", "caller")


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts of one caller to one host. `where`: the node (host:pid for a span of an hour or one host) when it is one, else "" ."""

    host: str
    port: int | None
    rule: str
    layer: str
    purpose: str
    tenant: str
    caller: str
    count: int
    nodes: int
    where: str
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """What was refused in a span. `bars`: the beginning of each step and its attempts, oldest first; `groups`: the most frequent first."""

    attempts: int
    hosts: int
    callers: int
    bars: tuple[tuple[datetime, int], ...]
    groups: tuple[Group, ...]
    more_groups: bool


def overview(wanted: EventFilter, span: Span, now: datetime) -> Overview:
    """Overview of `span`; since and until of `wanted` are not used.

    From the totals; from the rows for an hour or one host, which the totals do not tell apart in every case.
    """
    wanted = EventFilter(**{**asdict(wanted), "since": span.since(now), "until": None})
    found: QuerySet[Any]
    if span.step < HOUR or wanted.host:
        found, start, node = wanted.rows(), "minute", "process"
    else:
        found, start, node = wanted.totals(EgressTotal.Span.DAY if span.step >= 24 * HOUR else EgressTotal.Span.HOUR), "start", "node"
    steps = dict.fromkeys((span.since(now) + span.step * number for number in range(span.bars)), 0)
    for moment, count in found.values_list(start).annotate(sum=Sum("count")).order_by():
        if (begin := span.begin(moment)) in steps:  # not the minute that has begun since
            steps[begin] += count
    numbers = found.aggregate(attempts=Sum("count"), hosts=Count("host", distinct=True), callers=Count("caller", distinct=True))
    grouped = found.values(*GROUP).annotate(
        sum=Sum("count"), nodes=Count(node, distinct=True), where=Max(node), first=Min("first_seen"), last=Max("last_seen")
    )
    groups = [
        Group(
            **{name: record[name] for name in GROUP if name != "port"},
            port=record["port"] or None,
            count=record["sum"],
            nodes=record["nodes"],
            where=record["where"] if record["nodes"] == 1 else "",
            first_seen=record["first"],
            last_seen=record["last"],
        )
        for record in grouped.order_by("-sum", "-last")[: MAX_GROUPS + 1]
    ]
    return Overview(
        attempts=numbers["attempts"] or 0,
        hosts=numbers["hosts"],
        callers=numbers["callers"],
        bars=tuple(steps.items()),
        groups=tuple(groups[:MAX_GROUPS]),
        more_groups=len(groups) > MAX_GROUPS,
    )


@dataclass(frozen=True, slots=True)
class Choices:
    """The words that occur in a span, for filters."""

    node: tuple[str, ...]
    purpose: tuple[str, ...]
    rule: tuple[str, ...]
    tenant: tuple[str, ...]


def choices(span: Span, now: datetime) -> Choices:
    found = EventFilter(since=span.since(now)).totals(EgressTotal.Span.DAY if span.step >= 24 * HOUR else EgressTotal.Span.HOUR)
    rows = set(found.values_list("node", "purpose", "rule", "tenant").distinct())
    node, purpose, rule, tenant = (tuple(sorted({row[at] for row in rows} - {""})) for at in range(4))
    return Choices(node, purpose, rule, tenant)


def attempts_lately(now: datetime) -> int:
    """Attempts of the last 24 hours, as the page Blocked egress counts them."""
    wanted = EventFilter(since=SPANS[1].since(now))
    return wanted.totals(EgressTotal.Span.HOUR).aggregate(sum=Sum("count"))["sum"] or 0
