"""A chart of counts day by day: numbers in, the geometry of one SVG out, drawn as the chart of Blocked egress is. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from console.chart import BASE, GAP, LEAST, LEFT, NOW_ROOM, RIGHT, TOP, Bar, Label, Tick, axis, short
from console.wording import counted

DAYS: Final = 30
EVERY: Final = 5  # days from label to label


@dataclass(frozen=True, slots=True)
class Day:
    """Records that one day brought, and how many indicators were live at its end; None before the first count."""

    day: date
    added: int = 0
    changed: int = 0
    retired: int = 0
    live: int | None = None

    @property
    def quiet(self) -> bool:
        return not (self.added or self.changed or self.retired)


@dataclass(frozen=True, slots=True)
class DayChart:
    """`series` is what a bar counts; `rows` are all days, oldest first; `busy` those on which something changed, latest first."""

    title: str
    series: str
    description: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    rows: tuple[Day, ...]

    @property
    def busy(self) -> tuple[Day, ...]:
        return tuple(row for row in reversed(self.rows) if not row.quiet)


def last_days(found: Mapping[date, Day], today: date, live: int | None = None) -> tuple[Day, ...]:
    """The last days up to today, with the days that have no count of their own; what was live stays so until it is counted again.

    live: how many were before the first of these days.
    """
    days: list[Day] = []
    for number in range(DAYS):
        day = today - timedelta(days=DAYS - 1 - number)
        one = found.get(day)
        live = live if one is None or one.live is None else one.live
        days.append(Day(day, one.added, one.changed, one.retired, live) if one else Day(day, live=live))
    return tuple(days)


def added_chart(days: Sequence[Day]) -> DayChart:
    return _chart(days, "New records per day, all feeds", "new records", lambda day: day.added, summed=True)


def live_chart(days: Sequence[Day], feed: str) -> DayChart:
    return _chart(days, f"Live indicators of {feed} by day", "live indicators", lambda day: day.live or 0, summed=False)


def _chart(days: Sequence[Day], title: str, series: str, count_of: Callable[[Day], int], *, summed: bool) -> DayChart:
    counts = [count_of(day) for day in days]
    step = (RIGHT - LEFT) / len(days)
    top = axis(max(counts))
    scale = (BASE - TOP) / top[-1]
    return DayChart(
        title=f"{title}, last {len(days)} days (UTC)",
        series=series,
        description=_description(days, counts, series, summed=summed),
        bars=tuple(_bar(LEFT + step * number, step, day, count, series, scale) for number, (day, count) in enumerate(zip(days, counts, strict=True))),
        ticks=tuple(Tick(f"{BASE - value * scale:.1f}", short(value)) for value in top),
        labels=tuple(
            Label(f"{x:.1f}", f"{day.day.day} {day.day:%b}")
            for number, day in enumerate(days)
            if (len(days) - 1 - number) % EVERY == EVERY - 1 and (x := LEFT + step * (number + 0.5)) < RIGHT - NOW_ROOM
        ),
        rows=tuple(days),
    )


def _bar(x: float, step: float, day: Day, count: int, series: str, scale: float) -> Bar:
    height = max(count * scale, LEAST) if count else 0
    title = f"{day.day:%Y-%m-%d}: {counted(count, series.removesuffix('s'))}"
    return Bar(x=f"{x + GAP / 2:.1f}", width=f"{step - GAP:.1f}", y=f"{BASE - height:.1f}", height=f"{height:.1f}", title=title)


def _description(days: Sequence[Day], counts: Sequence[int], series: str, *, summed: bool) -> str:
    first, last = f"{days[0].day:%Y-%m-%d}", f"{days[-1].day:%Y-%m-%d}"
    if not any(counts):
        said = f"No {series}."
    elif summed:
        peak = days[counts.index(max(counts))].day
        said = f"{sum(counts):,} {series} in all, the most ({max(counts):,}) on {peak:%Y-%m-%d}."
    else:
        said = f"{counts[0]:,} {series} on the first day, {counts[-1]:,} now."
    return f"From {first} to {last}: {said} The same numbers are in the table below."
