"""Reads of the trail: records summed from the rows, and overviews of long spans from the totals."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from django.db.models import Count, Max, Min, Q, QuerySet, Sum

from airgap.models import EgressEvent, EgressTotal
from airgap.totals import start_of

KEYS = ("minute", "service", "process", "host", "port", "path", "rule", "layer", "purpose", "tenant", "caller")
SUMS = {"sum": Sum("count"), "row": Min("position"), "first": Min("first_seen"), "last": Max("last_seen"), "why": Max("reason")}
# Rows summed at a time, more with each: what one page costs does not grow with the trail.
FIRST_WINDOW = 300
LAST_WINDOW = 4800
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
MAX_HOURS: Final = 64  # whose totals are read at a time


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


def events(wanted: EventFilter, after: Position | None = None, at_most: int | None = None) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The summed records, newest minute first, each with the position behind it: all, or so many. Reads a window at a time."""
    yield from islice(_events(wanted, after, at_most), at_most)


def _events(wanted: EventFilter, after: Position | None, at_most: int | None) -> Iterator[tuple[Position, dict[str, Any]]]:
    if wanted.host or not wanted.words():
        yield from _windows(wanted, after, at_most)
        return
    # A filter that may match few of many: only the minutes that the totals know of. Not for a host, which has an index.
    minutes = _minutes(wanted, after)
    while latest := next(minutes, None):
        chosen = [latest, *islice(minutes, HOUR // MINUTE - 1)]
        yield from _windows(replace(wanted, since=chosen[-1], until=latest + MINUTE), after, at_most, chosen)


def _minutes(wanted: EventFilter, after: Position | None) -> Iterator[datetime]:
    """Every minute that has rows like these, newest first. Reads the totals of 1 hour, then of 2, 4, … that have some."""
    totals = wanted.totals(EgressTotal.Span.HOUR).order_by("-start")
    if after is not None:
        totals = totals.filter(start__lte=after.minute)
    size = 1
    while starts := list(totals.values_list("start", flat=True).distinct()[:size]):
        masks: dict[datetime, int] = dict.fromkeys(starts, 0)
        for start, minutes in totals.filter(start__gte=starts[-1]).values_list("start", "minutes").distinct():
            if start in masks:  # not what was drained since
                masks[start] |= minutes
        for start, mask in masks.items():
            for moment in (start + MINUTE * number for number in reversed(range(60)) if mask >> number & 1):
                if (wanted.since is None or moment >= wanted.since) and (wanted.until is None or moment < wanted.until):
                    yield moment
        totals, size = totals.filter(start__lt=starts[-1]), min(2 * size, MAX_HOURS)


def _windows(
    wanted: EventFilter, after: Position | None, at_most: int | None, minutes: Sequence[datetime] = ()
) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The records of the filter's span; of these minutes of it, when they are given. Of a window no more than at_most.

    Each query has one bound above and one below: of two, a database may take the wider one for its index.
    """
    rows = replace(wanted, since=None, until=None).rows()
    if minutes:
        rows = rows.filter(minute__in=minutes)
    until = wanted.until
    if after is not None and (until is None or after.minute < until):
        until = after.minute + MINUTE
    size = FIRST_WINDOW
    while True:
        window = rows if until is None else rows.filter(minute__lt=until)
        found = window if wanted.since is None else window.filter(minute__gte=wanted.since)
        last = found.order_by("-minute").values_list("minute", flat=True)[size : size + 1].first()
        lower = last if last is not None else wanted.since
        part = window if lower is None else window.filter(minute__gte=lower)
        summed = part.values(*KEYS).annotate(**SUMS).order_by("-minute", "row")
        if after is not None:
            summed = summed.exclude(minute=after.minute, row__lte=after.row)
        for record in summed[:at_most]:
            yield Position(record["minute"], record["row"]), _shown(record)
        if last is None:
            return
        until, size = last, min(2 * size, LAST_WINDOW)


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
    """A stretch of time up to now, in `bars` steps that begin on the clock (UTC), summed from these totals.

    One step more than it is long: the step that it begins in counts whole, rather one attempt too many than one too few.
    """

    word: str
    title: str
    step: timedelta
    bars: int
    totals: EgressTotal.Span

    def since(self, now: datetime) -> datetime:
        return self.begin(now) - self.step * (self.bars - 1)

    def begin(self, moment: datetime) -> datetime:
        """The beginning of the step that `moment` is in."""
        midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (moment - midnight) // self.step * self.step


SPANS: Final = (
    Span("1h", "Last hour", 5 * MINUTE, 13, EgressTotal.Span.FIVE_MINUTES),
    Span("24h", "Last 24 h", HOUR, 25, EgressTotal.Span.HOUR),
    Span("7d", "Last 7 days", 6 * HOUR, 29, EgressTotal.Span.HOUR),
    Span("30d", "Last 30 days", 24 * HOUR, 31, EgressTotal.Span.DAY),
)
MAX_GROUPS: Final = 25
MAX_GROUPS_OF_A_HOST: Final = 1000
GROUP: Final = ("host", "port", "rule", "layer", "purpose", "tenant", "caller")


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts of one caller to one host. `where`: the node (or host:pid, where the rows were read) when it is one; "" for several.

    `reason`: in the gate's words; "" where many are counted together.
    """

    host: str
    port: int | None
    rule: str
    layer: str
    purpose: str
    tenant: str
    caller: str
    count: int
    where: str
    first_seen: datetime
    last_seen: datetime
    reason: str


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

    From the totals; for one host that the totals, beyond their bound, count together with others: from the rows.
    """
    wanted = replace(wanted, since=span.since(now), until=None)
    found: QuerySet[Any] = wanted.totals(span.totals)
    start, node, most = "start", "node", MAX_GROUPS
    if wanted.host and _attempts(found) != _attempts(wanted.rows()):
        found, start, node, most = wanted.rows(), "minute", "process", MAX_GROUPS_OF_A_HOST
    steps = dict.fromkeys((span.since(now) + span.step * number for number in range(span.bars)), 0)
    for moment, count in found.values_list(start).annotate(sum=Sum("count")).order_by():
        if (begin := span.begin(moment)) in steps:  # not the minute that has begun since
            steps[begin] += count
    groups = _groups(found, node, most + 1)
    hosts, callers = len({group.host for group in groups}), len({group.caller for group in groups} - {""})
    if len(groups) > most:
        distinct = found.aggregate(hosts=Count("host", distinct=True), callers=Count("caller", distinct=True, filter=~Q(caller="")))
        hosts, callers = distinct["hosts"], distinct["callers"]
    return Overview(
        attempts=sum(steps.values()),
        hosts=hosts,
        callers=callers,
        bars=tuple(steps.items()),
        groups=tuple(groups[:MAX_GROUPS]),
        more_groups=len(groups) > MAX_GROUPS,
    )


def _attempts(found: QuerySet[Any]) -> int:
    return found.aggregate(sum=Sum("count"))["sum"] or 0


def _groups(found: QuerySet[Any], node: str, most: int) -> list[Group]:
    """The most frequent first; the place of each counted in `node`."""
    grouped = found.values(*GROUP).annotate(
        sum=Sum("count"), one=Min(node), another=Max(node), first=Min("first_seen"), last=Max("last_seen"), why=Max("reason")
    )
    return [
        Group(
            **{name: record[name] for name in GROUP if name != "port"},
            port=record["port"] or None,
            count=record["sum"],
            where=record["one"] if record["one"] == record["another"] else "",
            first_seen=record["first"],
            last_seen=record["last"],
            reason=record["why"],
        )
        for record in grouped.order_by("-sum", "-last")[:most]
    ]


@dataclass(frozen=True, slots=True)
class Choices:
    """The words that occur in a span, for filters."""

    node: tuple[str, ...]
    purpose: tuple[str, ...]
    rule: tuple[str, ...]
    tenant: tuple[str, ...]


def choices(span: Span, now: datetime) -> Choices:
    found = EventFilter(since=span.since(now)).totals(span.totals)
    rows = set(found.values_list("node", "purpose", "rule", "tenant").distinct())
    node, purpose, rule, tenant = (tuple(sorted({row[at] for row in rows} - {""})) for at in range(4))
    return Choices(node, purpose, rule, tenant)


def attempts_in(span: Span, now: datetime) -> int:
    """All attempts of a span, whatever they are."""
    return _attempts(EventFilter(since=span.since(now)).totals(span.totals))


def attempts_lately(now: datetime) -> int:
    """Attempts of the last 24 hours, as the page Blocked egress counts them."""
    return attempts_in(SPANS[1], now)
