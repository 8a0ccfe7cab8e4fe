"""Retention: what sources took back or let expire long ago goes, with its indicator when nobody else names it; so do old runs and history.

In batches, each in a transaction that holds the row of every feed: nothing is stored meanwhile, so that no source loses its indicator.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from airgap import clock
from threatintel import runs
from threatintel.ingest import count_live
from threatintel.models import FeedCursor, FeedDay, FeedRun, Indicator, IndicatorSource, SourceChange

INTEL_TIDIED = "intel.tidied"
RUN_DAYS = 90
RUNS_KEPT = 50  # of each feed, however old
DAYS_SHOWN = 400
CUT_OFF = timedelta(minutes=20)  # after which an import whose process is gone is not waited for any more
_BATCH = 5000
_MOST_BATCHES = 200  # of one call
_PARAMETERS = 900  # of one statement on SQLite

log = structlog.stdlib.get_logger("threatintel")


def tidy() -> dict[str, int]:
    """Remove what is past its time; how many of each. Several at once do no harm."""
    now = clock.now()
    long_ago = now - timedelta(days=settings.ENV.indicator_days)
    removed = {
        "sources": _in_batches(lambda: _remove_sources(Q(revoked=True, updated_at__lt=long_ago) | Q(valid_until__lt=long_ago))),
        "changes": _in_batches(lambda: _remove_changes(long_ago)),
        "runs": sum(_remove_runs(feed, now - timedelta(days=RUN_DAYS)) for feed in FeedCursor.objects.values_list("feed", flat=True)),
        "days": FeedDay.objects.filter(day__lt=(now - timedelta(days=DAYS_SHOWN)).date()).delete()[0],
        "imports": runs.end_imports(now - CUT_OFF),
    }
    for feed in FeedCursor.objects.values_list("feed", flat=True):
        count_live(feed)  # runs count what they change; neither what went now nor what was posted is a run's
    if any(removed.values()):
        log.info(INTEL_TIDIED, **removed)
    return removed


def _in_batches(remove: Callable[[], int]) -> int:
    total = 0
    for _ in range(_MOST_BATCHES):
        removed = remove()
        total += removed
        if removed < _BATCH:
            break
    return total


def _remove_sources(which: Q) -> int:
    with transaction.atomic():
        list(FeedCursor.objects.select_for_update().order_by("feed"))
        doomed = list(IndicatorSource.objects.filter(which).values_list("pk", "indicator_id")[:_BATCH])
        for start in range(0, len(doomed), _PARAMETERS):
            sources = [source for source, _ in doomed[start : start + _PARAMETERS]]
            IndicatorSource.objects.filter(pk__in=sources).delete()
        for start in range(0, len(doomed), _PARAMETERS):
            indicators = {indicator for _, indicator in doomed[start : start + _PARAMETERS]}
            named = IndicatorSource.objects.filter(indicator=OuterRef("pk"))
            Indicator.objects.filter(~Exists(named), pk__in=indicators).delete()
    return len(doomed)


def _remove_changes(before: datetime) -> int:
    doomed = list(SourceChange.objects.filter(at__lt=before).values_list("pk", flat=True)[:_BATCH])
    for start in range(0, len(doomed), _PARAMETERS):
        SourceChange.objects.filter(pk__in=doomed[start : start + _PARAMETERS]).delete()
    return len(doomed)


def _remove_runs(feed: str, before: datetime) -> int:
    kept = FeedRun.objects.filter(feed=feed).order_by("-id").values_list("pk", flat=True)[RUNS_KEPT - 1 : RUNS_KEPT]
    oldest = next(iter(kept), None)
    if oldest is None:
        return 0
    return FeedRun.objects.filter(feed=feed, pk__lt=oldest, created_at__lt=before).delete()[0]
