"""What the page of one indicator shows: its sources one by one, what they said before, and an object as it came."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.http import QueryDict
from django.utils import timezone

from console.indicators import Row, around, row_of_view
from console.process import Witness, witness
from console.shown import defanged
from threatintel.lookup import exactly
from threatintel.models import Indicator, IndicatorSource, SourceChange
from threatintel.queries import IndicatorView, source_view
from threatintel.registry import feeds

SOURCES: Final = 20  # a page of them
CHANGES: Final = 30
REFERENCES: Final = 50  # shown of one source
LONGEST_RAW: Final = 200_000  # characters shown of one object


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What one object of one feed says. title: the feed's, or its name when it is no feed of this deployment (any more)."""

    source: IndicatorSource
    title: str
    status: str
    has_raw: bool

    @property
    def references(self) -> list[str]:
        return self._others[:REFERENCES]

    @property
    def more_references(self) -> int:
        return max(len(self._others) - REFERENCES, 0)

    @property
    def _others(self) -> list[str]:
        """But the source's own page, which stands before them."""
        return [text for one in self.source.references if (text := str(one)) != self.source.url]


@dataclass(frozen=True, slots=True)
class Raw:
    """An object as its source sent it, indented where it is JSON. cut: it is longer than what is shown."""

    key: UUID
    feed: str
    external_id: str
    text: str
    cut: bool


@dataclass(frozen=True, slots=True)
class IndicatorPage:
    """view: what the sources say together; None when none is left. older, page, pages: where the reader is in history and sources."""

    computed_at: datetime
    witness: Witness
    indicator: Indicator
    text: str
    view: IndicatorView | None
    sources: tuple[SourceRow, ...]
    page: int
    pages: int
    changes: tuple[SourceChange, ...]
    before: int | None
    older: int | None
    networks: tuple[Row, ...]
    raw: Raw | None
    problems: tuple[str, ...]


def indicator_page(key: UUID, given: QueryDict) -> IndicatorPage | None:
    """None when no indicator has this key. Raises django.db.Error when the database is away."""
    indicator = Indicator.objects.filter(pk=key).first()
    if indicator is None:
        return None
    problems: list[str] = []
    view = next(iter(exactly([(indicator.type, indicator.value)])), None)
    pages = max(-(-len(view.sources) // SOURCES), 1) if view else 1
    page = min(_number(given, "page", problems) or 1, pages)
    before = _number(given, "before", problems)
    changes = _changes(indicator, before)
    return IndicatorPage(
        computed_at=timezone.now(),
        witness=witness(),
        indicator=indicator,
        text=defanged(indicator.type, indicator.value),
        view=view,
        sources=_sources(indicator, page),
        page=page,
        pages=pages,
        changes=changes[:CHANGES],
        before=before,
        older=changes[CHANGES - 1].pk if len(changes) > CHANGES else None,
        networks=around([(indicator.type, indicator.value)], [row_of_view(view)] if view else []),
        raw=_raw(indicator, given.get("raw", ""), problems),
        problems=tuple(problems),
    )


def _sources(indicator: Indicator, page: int) -> tuple[SourceRow, ...]:
    """The active and the latest first. Their objects, which may be large, are not read."""
    now = timezone.now()
    titles = {spec.name: spec.title for spec in feeds()}
    with_raw = IndicatorSource.objects.filter(pk=OuterRef("pk")).exclude(raw="")
    found = indicator.sources.defer("raw").annotate(has_raw=Exists(with_raw)).order_by("revoked", "context", "feed", "external_id")
    return tuple(
        SourceRow(source, titles.get(source.feed, source.feed), source_view(source).status(now), source.has_raw)
        for source in found[SOURCES * (page - 1) : SOURCES * page]
    )


def _changes(indicator: Indicator, before: int | None) -> tuple[SourceChange, ...]:
    found = SourceChange.objects.filter(source__indicator=indicator).select_related("source").defer("source__raw", "source__description")
    if before is not None:
        found = found.filter(pk__lt=before)
    return tuple(found.order_by("-pk")[: CHANGES + 1])


def _raw(indicator: Indicator, asked: str, problems: list[str]) -> Raw | None:
    if not asked:
        return None
    try:
        source = IndicatorSource.objects.filter(indicator=indicator, pk=UUID(asked)).exclude(raw="").first()
    except ValueError:
        source = None
    if source is None:
        problems.append("raw: no source of this indicator holds such an object (any more).")
        return None
    text = source.raw
    if len(text) <= LONGEST_RAW:
        try:
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            text = source.raw
    return Raw(source.pk, source.feed, source.external_id, text[:LONGEST_RAW], cut=len(text) > LONGEST_RAW)


def _number(given: QueryDict, name: str, problems: list[str]) -> int | None:
    text = given.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:19]) < 2**62):
        problems.append(f"{name}: this is no place in the list. The first is shown.")
        return None
    return int(text[:19])
