"""The chart of Blocked egress: numbers in, the geometry of one SVG out. Pure; colours and line styles are the style sheet's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from airgap.queries import Span
from console.marks import NONE, Marks
from console.wording import counted

WIDTH: Final = 960  # in the SVG's own units, as everything below
HEIGHT: Final = 248
LEFT: Final = 56
RIGHT: Final = 948
TOP: Final = 28
BASE: Final = 212
GAP: Final = 2  # between bars
LEAST: Final = 3  # height of a bar that is not zero: one attempt beside ten thousand is seen
MARK_SHIFT: Final = 6.0  # of each mark, where a step has two
NOW_ROOM: Final = 72  # kept free of labels on the left of "now"
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
_ROUND: Final = (1, 2, 3, 4, 5, 6, 8)


@dataclass(frozen=True, slots=True)
class Bar:
    """One step: a column as high as the plot, for the pointer, and the bar in it. `title` is the time and the number."""

    x: str
    width: str
    y: str
    height: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the plot with its number."""

    y: str
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """A time under the axis."""

    x: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line; kind is "start" or "change"."""

    x: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """The same step in the table."""

    begin: datetime
    attempts: int
    marks: str


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    description: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    marks: tuple[Mark, ...]
    rows: tuple[Row, ...]


def chart(span: Span, bars: Sequence[tuple[datetime, int]], marks: Mapping[datetime, Marks]) -> Chart:
    """`bars`: the beginning of each step and its attempts, oldest first; `marks` by the beginning of their step."""
    step = (RIGHT - LEFT) / len(bars)
    top = axis(max(count for _begin, count in bars))
    scale = (BASE - TOP) / top[-1]
    return Chart(
        title=f"Blocked attempts, {span.title.lower()}, per {step_words(span.step)} (UTC)",
        description=_description(span, bars, marks),
        bars=tuple(_bar(LEFT + step * number, step, begin, count, span, scale) for number, (begin, count) in enumerate(bars)),
        ticks=tuple(Tick(_text(BASE - value * scale), short(value)) for value in top),
        labels=tuple(
            Label(_text(x), text)
            for number, (begin, _count) in enumerate(bars)
            if (text := label(span, begin, len(bars) - 1 - number))
            and (x := LEFT + step * (number + (0.5 if span.step >= DAY else 0))) < RIGHT - NOW_ROOM
        ),
        marks=tuple(
            Mark(_text(LEFT + step * (number + 0.5) + shift), kind, f"{when(span, begin)}: {words}")
            for number, (begin, _count) in enumerate(bars)
            for kind, words, shift in _shown(marks.get(begin, NONE))
        ),
        rows=tuple(Row(begin, count, marks.get(begin, NONE).words) for begin, count in bars),
    )


def axis(most: int) -> tuple[int, ...]:
    """Zero and one or two round numbers above it, the last at least `most`."""
    if most <= 1:
        return (0, 1)
    power = 1
    while True:
        for factor in _ROUND:
            if 2 * factor * power >= most:
                return (0, factor * power, 2 * factor * power)
        power *= 10


def short(number: int) -> str:
    """A number as an axis has room for it: `950`, `12 k`, `3 M`."""
    for unit, size, least in ((" M", 1_000_000, 1_000_000), (" k", 1000, 10_000)):
        if number >= least:
            return f"{number / size:g}{unit}"
    return f"{number:,}"


def step_words(step: timedelta) -> str:
    """What one bar stands for."""
    if step < HOUR:
        return f"{step // timedelta(minutes=1)} minutes"
    if step < DAY:
        hours = step // HOUR
        return "hour" if hours == 1 else f"{hours} hours"
    return "day"


def when(span: Span, begin: datetime) -> str:
    """The beginning of a step in full, as exact as its length asks for."""
    begin = begin.astimezone(UTC)
    return f"{begin:%Y-%m-%d}" if span.step >= DAY else f"{begin:%Y-%m-%d %H:%MZ}"


def label(span: Span, begin: datetime, before_now: int) -> str:
    """The text under a step, "" for most; `before_now` counts steps from the right."""
    begin = begin.astimezone(UTC)
    day = f"{begin.day} {begin:%b}"
    if span.step >= DAY:
        return day if before_now % 5 == 4 else ""
    if span.step > HOUR:
        return day if begin.hour == 0 else ""
    if span.step == HOUR:
        return "" if begin.hour % 3 else f"{begin:%H:%M}" if begin.hour else day
    return f"{begin:%H:%M}" if begin.minute % 10 == 0 and before_now else ""


def _bar(x: float, step: float, begin: datetime, count: int, span: Span, scale: float) -> Bar:
    height = max(count * scale, LEAST) if count else 0
    return Bar(
        x=_text(x + GAP / 2),
        width=_text(step - GAP),
        y=_text(BASE - height),
        height=_text(height),
        title=f"{when(span, begin)}: {counted(count, 'attempt')}",
    )


def _shown(marks: Marks) -> list[tuple[str, str, float]]:
    both = MARK_SHIFT if marks.starts and marks.changes else 0.0
    each = (marks.starts, "start", marks.start_words, -both), (marks.changes, "change", marks.change_words, both)
    return [(kind, words, shift) for count, kind, words, shift in each if count]


def _description(span: Span, bars: Sequence[tuple[datetime, int]], marks: Mapping[datetime, Marks]) -> str:
    counts = [count for _begin, count in bars]
    if any(counts):
        peak = bars[counts.index(max(counts))][0]
        said = f"{counted(sum(counts), 'attempt')} in all, the most ({max(counts):,}) in the {step_words(span.step)} from {when(span, peak)}."
    else:
        said = "No attempt."
    total = Marks(sum(one.starts for one in marks.values()), sum(one.changes for one in marks.values()))
    return f"From {when(span, bars[0][0])} to now: {said} Marks: {total.words or 'none'}. The same numbers are in the table below."


def _text(number: float) -> str:
    return f"{number:.1f}"
