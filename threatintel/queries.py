"""Reads of indicators: one whole, and searches."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from threatintel.canonical import NotCanonical, canonical, recognise
from threatintel.identity import indicator_id
from threatintel.models import Indicator, IndicatorSource
from threatintel.observables import every_meaning
from threatintel.specs import Tlp

ACTIVE, EXPIRED, REVOKED = "active", "expired", "revoked"
_TLP_ORDER = tuple(Tlp)


class SourceView(NamedTuple):
    """What one source says. labels: in order, each once. context: it names the value without asking for detection."""

    feed: str
    external_id: str
    confidence: int
    tlp: str
    labels: Sequence[str]
    url: str
    first_seen: datetime | None
    last_seen: datetime | None
    valid_until: datetime | None
    revoked: bool
    context: bool

    def status(self, now: datetime) -> str:
        return _status(self.revoked, self.valid_until, now)


@dataclass(slots=True)
class IndicatorView:
    """CONTRACTS.md 2.7, an indicator: what its sources say together. Active when any source is neither revoked nor expired."""

    type: str
    value: str
    status: str
    confidence: int
    tlp: str
    labels: Sequence[str]
    first_seen: datetime | None
    last_seen: datetime | None
    valid_until: datetime | None
    sources: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def view(type: str, value: str, sources: Sequence[SourceView], now: datetime) -> IndicatorView:
    """The sources that tell are the active ones, else all; of these, the ones that ask for detection, if any does.

    TLP is the most restrictive of all: all are shown, and a marking does not end with what it marks.
    """
    if len(sources) == 1:
        return view_of_one(type, value, now, *sources[0])
    live = [source for source in sources if source.status(now) == ACTIVE]
    telling = live or sources
    telling = [source for source in telling if not source.context] or telling
    return IndicatorView(
        type=type,
        value=value,
        status=ACTIVE if live else (REVOKED if any(source.revoked for source in sources) else EXPIRED),
        confidence=max((source.confidence for source in telling), default=0),
        tlp=max((source.tlp for source in sources), key=_rank, default=Tlp.CLEAR.value),
        labels=sorted({label for source in telling for label in source.labels}),
        first_seen=_first(source.first_seen for source in telling),
        last_seen=max((source.last_seen for source in telling if source.last_seen is not None), default=None),
        valid_until=None
        if any(source.valid_until is None for source in telling)
        else max((source.valid_until for source in telling if source.valid_until is not None), default=None),
        sources=[_shown(*source[:4], source.url, source.status(now), source.context) for source in sources],
    )


def view_of_one(
    type: str,
    value: str,
    now: datetime,
    feed: str,
    external_id: str,
    confidence: int,
    tlp: str,
    labels: Sequence[str],
    url: str,
    first_seen: datetime | None,
    last_seen: datetime | None,
    valid_until: datetime | None,
    revoked: bool,
    context: bool,
) -> IndicatorView:
    """The same of one source, as almost all indicators have, given as the fields of its SourceView: a bulk look-up makes none of a row."""
    status = _status(revoked, valid_until, now)
    shown = _shown(feed, external_id, confidence, tlp, url, status, context)
    return IndicatorView(type, value, status, confidence, tlp, labels, first_seen, last_seen, valid_until, [shown])


def _shown(feed: str, external_id: str, confidence: int, tlp: str, url: str, status: str, context: bool) -> dict[str, Any]:
    return {"feed": feed, "external_id": external_id, "confidence": confidence, "tlp": tlp, "url": url, "status": status, "context": context}


def _status(revoked: bool, valid_until: datetime | None, now: datetime) -> str:
    if revoked:
        return REVOKED
    return EXPIRED if valid_until is not None and valid_until < now else ACTIVE


def view_of(indicator: Indicator) -> IndicatorView:
    """The indicator as the API shows it, from its prefetched sources."""
    return view(indicator.type, indicator.value, [source_view(source) for source in indicator.sources.all()], timezone.now())


def source_view(source: IndicatorSource) -> SourceView:
    return SourceView(
        source.feed,
        source.external_id,
        source.confidence,
        source.tlp,
        sorted(set(source.labels)),
        source.url,
        source.first_seen,
        source.last_seen,
        source.valid_until,
        source.revoked,
        source.context,
    )


def search_indicators(*, value: str = "", type: str = "", source: str = "", status: str = "", tlp: str = "", label: str = "") -> QuerySet[Indicator]:
    """Indicators by value (in any form that a person writes it), type, feed, and what any of their sources says. Empty filters match all.

    status: active, expired or revoked, of any source.
    """
    found = Indicator.objects.prefetch_related(
        Prefetch("sources", IndicatorSource.objects.defer("raw", "description", "references").order_by("feed", "external_id"))
    )
    if value:
        found = found.filter(pk__in=[indicator_id(*pair) for pair in readings(value, type)])
    if type:
        found = found.filter(type=type)
    if source or status or tlp or label:
        sources = IndicatorSource.objects.filter(indicator=OuterRef("pk"))
        for name, wanted in (("feed", source), ("tlp", tlp)):
            if wanted:
                sources = sources.filter(**{name: wanted})
        if status:
            sources = sources.filter(_of_status(status))
        if label:
            sources = sources.filter(labels__icontains=json.dumps(label, ensure_ascii=False))
        found = found.filter(Exists(sources))
    return found


def readings(text: str, type: str = "") -> set[tuple[str, str]]:
    """Every (type, canonical value) that the text may mean: as a person pastes it, or, of a type that is given, as it stands."""
    if not type:
        return set(every_meaning(text))
    recognised = recognise(text)
    if recognised is not None and type == recognised[0]:
        return {recognised}
    try:
        return {(type, canonical(type, text))}
    except NotCanonical:
        return set()


def _of_status(status: str) -> Q:
    now = timezone.now()
    match status:
        case "active":
            return Q(revoked=False) & (Q(valid_until__isnull=True) | Q(valid_until__gte=now))
        case "expired":
            return Q(revoked=False, valid_until__lt=now)
        case "revoked":
            return Q(revoked=True)
        case _:
            raise ValueError(f"{status!r} is no status of a source.")


def _rank(tlp: str) -> int:
    return _TLP_ORDER.index(Tlp(tlp))


def _first(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
