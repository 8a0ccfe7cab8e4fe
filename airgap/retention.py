"""What is removed, and when: whole days of the trail's rows past AISOC_TRAIL_DAYS, old receipts, processes long gone.

Seals the finished day on days without a drain. Signed heads are never removed.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.conf import settings
from django.db import models, transaction

from airgap import chain, clock
from airgap.active import deployment_key
from airgap.models import DayHead, DrainedSegment, EgressEvent, EgressTotal, ProcessBeat, TrailHead

FINE_TOTALS_KEPT: Final = timedelta(hours=3)  # they serve the last hour
RECEIPTS_KEPT: Final = timedelta(days=7)  # a receipt matters only until its file is gone
PROCESSES_KEPT: Final = timedelta(days=30)  # they are marks on the chart of Blocked egress
BATCH: Final = 5000  # rows removed in one transaction
BATCHES: Final = 20  # in one call: a drain need never wait long


def kept_since(now: datetime) -> date:
    """The first day (UTC) whose rows are still kept."""
    days: int = settings.AIRGAP_TRAIL_DAYS
    return now.astimezone(UTC).date() - timedelta(days=days)


def tidy() -> None:
    """One round; any process may run it at any time. Raises django.db.Error when the database is away."""
    now = clock.now()
    _seal(now)
    first = kept_since(now)
    _remove_rows(first)
    midnight = datetime.combine(first, time(), UTC)
    EgressTotal.objects.filter(start__lt=midnight).delete()
    EgressTotal.objects.filter(span=EgressTotal.Span.FIVE_MINUTES, start__lt=now - FINE_TOTALS_KEPT).delete()
    DrainedSegment.objects.filter(drained_at__lt=now - RECEIPTS_KEPT).delete()
    ProcessBeat.objects.filter(beat_at__lt=now - PROCESSES_KEPT).delete()


def _seal(now: datetime) -> None:
    if TrailHead.objects.filter(day__lt=now.astimezone(UTC).date()).exists():
        with transaction.atomic():
            chain.seal_finished_day(chain.locked_head(), now, deployment_key())


def _remove_rows(first: date) -> None:
    """Rows of sealed days before `first`, the oldest first, in small transactions."""
    last = DayHead.objects.filter(day__lt=first).aggregate(last=models.Max("last_position"))["last"]
    rows: models.QuerySet[EgressEvent] = models.QuerySet(EgressEvent)  # the model's own manager removes nothing
    for _ in range(BATCHES if last is not None else 0):
        oldest = rows.filter(position__lte=last).order_by("position").values_list("position", flat=True).first()
        if oldest is None:
            return
        rows.filter(position__lte=min(last, oldest + BATCH - 1)).delete()
