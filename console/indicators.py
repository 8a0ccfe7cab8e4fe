"""What the page "Indicators" shows: one page of the store, newest first, whatever the filter and however many there are."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone

from console.indicators_filter import STATUSES, TLPS, Asked, Position, cursor_of
from console.process import Witness, witness
from console.shown import defanged
from threatintel.canonical import TYPES
from threatintel.identity import indicator_id
from threatintel.lookup import Pair, lookup
from threatintel.models import FeedCursor, Indicator
from threatintel.queries import IndicatorView, readings, search_indicators, view_of
from threatintel.registry import feeds

PAGE: Final = 50
WINDOW: Final = 10_000  # indicators that are looked through with one question
SECONDS: Final = 1.5  # after which a page shows what it has found
ADDRESSES: Final = ("ipv4-addr", "ipv6-addr")
LABELS: Final = 6  # shown of one indicator


@dataclass(frozen=True, slots=True)
class Row:
    """An indicator as the list shows it. text: its value so that nothing makes a link of it."""

    key: UUID
    view: IndicatorView
    text: str

    @property
    def feeds(self) -> list[str]:
        return sorted({source["feed"] for source in self.view.sources})

    @property
    def labels(self) -> Sequence[str]:
        return self.view.labels[:LABELS]

    @property
    def more_labels(self) -> int:
        return max(len(self.view.labels) - LABELS, 0)


@dataclass(frozen=True, slots=True)
class Found:
    """rows: at most a page of them. after: where the list goes on, None at its end. looked: the page ends at its time, not because it is full."""

    rows: tuple[Row, ...]
    after: Position | None = None
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A filter with its words."""

    name: str
    title: str
    asked: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndicatorsPage:
    """One answer of the page. counts: live indicators by feed; an indicator of two feeds counts in both."""

    computed_at: datetime
    witness: Witness
    asked: Asked
    found: Found
    networks: tuple[Row, ...]
    counts: dict[str, int]
    selects: tuple[Select, ...]

    @property
    def live(self) -> int:
        return sum(self.counts.values())

    @property
    def older(self) -> str:
        return self.asked.query(cursor=cursor_of(self.found.after)) if self.found.after else ""


def indicators_page(given: QueryDict) -> IndicatorsPage:
    """Raises django.db.Error when the database is away."""
    counts = {cursor.feed: cursor.live for cursor in FeedCursor.objects.order_by("feed")}
    names = tuple(dict.fromkeys([*(spec.name for spec in feeds()), *counts]))
    asked = Asked.read(given, names)
    found = named(asked) if asked.value else listed(asked)
    return IndicatorsPage(
        computed_at=timezone.now(),
        witness=witness(),
        asked=asked,
        found=found,
        networks=around(readings(asked.value), found.rows) if asked.value else (),
        counts={feed: live for feed, live in counts.items() if live},
        selects=tuple(
            Select(name, title, asked.words.get(name, ""), words)
            for name, title, words in (("type", "Type", TYPES), ("feed", "Feed", names), ("status", "Status", STATUSES), ("tlp", "TLP", TLPS))
        ),
    )


def named(asked: Asked) -> Found:
    """What the pasted text may mean, by keys alone."""
    found = wanted(asked).order_by("type", "value")[:PAGE]
    return Found(tuple(row_of(one) for one in found))


def around(pairs: Iterable[Pair], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Networks that contain these addresses, the narrowest first; rows: what is shown already."""
    pairs = [pair for pair in pairs if pair[0] in ADDRESSES]
    shown = {row.key for row in rows}
    views = [view for found in lookup(pairs).values() for view in found] if pairs else []
    return tuple(row for row in map(row_of_view, views) if row.key not in shown and (row.view.type, row.view.value) not in pairs)


def listed(asked: Asked) -> Found:
    """The newest that match. With a filter, window by window down the store until the page is full or its time is over."""
    matching, after = wanted(asked), asked.after
    if not asked:
        return _page(list(_newest(_below(matching, after))[: PAGE + 1]))
    rows: list[Indicator] = []
    until = time.monotonic() + SECONDS
    while True:
        edge = _edge(after)
        part = _below(matching, after)
        rows += _newest(_down_to(part, edge) if edge else part)[: PAGE + 1 - len(rows)]
        if len(rows) > PAGE or edge is None:
            return _page(rows)
        after = edge
        if time.monotonic() > until:
            return Found(tuple(row_of(one) for one in rows), after, looked=True)


def wanted(asked: Asked) -> QuerySet[Indicator]:
    words = {"source" if name == "feed" else name: text for name, text in asked.words.items()}
    return search_indicators(value=asked.value, **words)


def row_of(indicator: Indicator) -> Row:
    return Row(indicator.pk, view_of(indicator), defanged(indicator.type, indicator.value))


def row_of_view(view: IndicatorView) -> Row:
    return Row(UUID(indicator_id(view.type, view.value)), view, defanged(view.type, view.value))


def _page(rows: list[Indicator]) -> Found:
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    return Found(tuple(row_of(one) for one in rows[:PAGE]), Position(last.created_at, last.pk) if last else None)


def _newest(found: QuerySet[Indicator]) -> QuerySet[Indicator]:
    return found.order_by("-created_at", "-id")


def _below(found: QuerySet[Indicator], after: Position | None) -> QuerySet[Indicator]:
    """What comes after a position. The first condition lets the index find it."""
    if after is None:
        return found
    return found.filter(Q(created_at__lt=after.at) | Q(id__lt=after.key), created_at__lte=after.at)


def _down_to(found: QuerySet[Indicator], edge: Position) -> QuerySet[Indicator]:
    """What comes before a position, and what stands at it."""
    return found.filter(Q(created_at__gt=edge.at) | Q(id__gte=edge.key), created_at__gte=edge.at)


def _edge(after: Position | None) -> Position | None:
    """The end of the window that begins after a position; None when the store ends first."""
    window = _newest(_below(Indicator.objects.all(), after)).values_list("created_at", "id")[WINDOW - 1 : WINDOW]
    return next((Position(*row) for row in window), None)
