"""Reads of indicators."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from threatintel.models import Indicator, IndicatorSource

_TLP_ORDER = ("clear", "green", "amber", "amber+strict", "red")


@dataclass(frozen=True, slots=True)
class IndicatorView:
    """CONTRACTS.md 2.7, an indicator: what its sources say together. Active when any source is neither revoked nor expired."""

    type: str
    value: str
    status: str
    confidence: int
    tlp: str
    labels: list[str]
    first_seen: datetime | None
    last_seen: datetime | None
    valid_until: datetime | None
    sources: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def search_indicators(*, value: str = "", type: str = "", source: str = "") -> QuerySet[Indicator]:
    """Indicators by exact value (CVE ids in any case), type and feed; newest first. Empty filters match all."""
    found = Indicator.objects.prefetch_related(Prefetch("sources", IndicatorSource.objects.defer("raw").order_by("feed", "external_id")))
    if value:
        found = found.filter(value__in={value, value.upper(), value.lower()})
    if type:
        found = found.filter(type=type)
    if source:
        found = found.filter(pk__in=IndicatorSource.objects.filter(feed=source).values("indicator"))
    return found


def view_of(indicator: Indicator) -> IndicatorView:
    """The indicator as the API shows it, from its prefetched sources."""
    sources = list(indicator.sources.all())
    live = [source for source in sources if _status(source) == "active"]
    telling = live or sources
    return IndicatorView(
        type=indicator.type,
        value=indicator.value,
        status="active" if live else ("revoked" if any(source.revoked for source in sources) else "expired"),
        confidence=max((source.confidence for source in telling), default=0),
        tlp=max((source.tlp for source in telling), key=_TLP_ORDER.index, default="clear"),
        labels=sorted({label for source in telling for label in source.labels}),
        first_seen=min(_times(source.first_seen for source in telling), default=None),
        last_seen=max(_times(source.last_seen for source in telling), default=None),
        valid_until=None
        if any(source.valid_until is None for source in telling)
        else max(_times(source.valid_until for source in telling), default=None),
        sources=[
            {"feed": source.feed, "external_id": source.external_id, "confidence": source.confidence, "tlp": source.tlp, "url": source.url}
            for source in sources
        ],
    )


def _status(source: IndicatorSource) -> str:
    if source.revoked:
        return "revoked"
    return "expired" if source.valid_until is not None and source.valid_until < timezone.now() else "active"


def _times(values: Iterable[datetime | None]) -> list[datetime]:
    return [value for value in values if value is not None]
