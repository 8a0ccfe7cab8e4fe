"""What is removed, and when: whole days of the trail's rows past AISOC_TRAIL_DAYS, old receipts, processes and contacts long gone.

Seals the finished day on days without a drain. Signed heads are never removed.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.conf import settings
from django.db import models, transaction

from airgap import chain, clock, contacts
from airgap.active import deployment_key
from airgap.models import DayHead, DrainedSegment, EgressEvent, EgressTotal, ProcessBeat, TrailCheck, TrailHead
from airgap.segments import complete

FINE_TOTALS_KEPT: Final = timedelta(hours=3)  # they serve the last hour
RECEIPTS_KEPT: Final = timedelta(days=7)  # a receipt matters only until its file is gone
CHECKS_KEPT: Final = timedelta(days=400)
PROCESSES_KEPT: Final = timedelta(days=30)  # they are marks on the chart of Blocked egress
BATCH: Final = 5000  # rows removed in one transaction
BATCHES: Final = 20  # in one call: a drain need never wait long


def kept_since(now: datetime) -> date:
    """The first day (UTC) whose rows are still kept."""
    days: int = settings.AIRGAP_TRAIL_DAYS
    return now.astimezone(UTC).date() - timedelta(days=days)


def tidy() -> None:
    """One round; any process may run it at any time. Raises django.db.Error when the database is away."""
    contacts.forget_old()
    now = clock.now()
    today, first = now.astimezone(UTC).date(), kept_since(now)
    head = TrailHead.objects.first()
    if head is not None and head.day is not None and head.day != today:
        with transaction.atomic():
            head = chain.locked_head(deployment_key())
            chain.seal_finished_day(head, now, deployment_key())
    if head is None or head.steady_since is None or today <= head.steady_since:
        return  # the clock has stepped by days; were it wrong, a day's patience keeps the trail
    _remove_rows(first)
    EgressTotal.objects.filter(start__lt=datetime.combine(first, time(), UTC)).delete()
    EgressTotal.objects.filter(span=EgressTotal.Span.FIVE_MINUTES, start__lt=now - FINE_TOTALS_KEPT).delete()
    waiting = {path.stem for path in complete(settings.AIRGAP_SPOOL_DIR)}  # a file that could not be removed needs its receipt
    DrainedSegment.objects.filter(drained_at__lt=now - RECEIPTS_KEPT).exclude(name__in=waiting).delete()
    ProcessBeat.objects.filter(beat_at__lt=now - PROCESSES_KEPT).delete()
    TrailCheck.objects.filter(at__lt=now - CHECKS_KEPT).delete()


def _remove_rows(first: date) -> None:
    """Rows of the sealed days before `first`, the oldest first, in small transactions; the signed head says how far it has come.

    What a day whose head is not this deployment's says of its date counts for nothing: somebody may have made it old. Its rows go with those
    of the next day that is signed, which were drained after them.
    """
    head, key, last = TrailHead.objects.get(), deployment_key(), 0
    for day in DayHead.objects.filter(last_position__gt=head.removed).order_by("first_position"):
        if not chain.is_sealed_by(day, key):
            continue
        if day.day >= first:
            break
        last = day.last_position
    for _ in range(BATCHES):
        if not _remove_some(last):
            return


def _remove_some(last: int) -> bool:
    """Whether there was something to remove."""
    with transaction.atomic():
        head = chain.locked_head(deployment_key())
        upto = min(last, head.removed + BATCH)
        if upto <= head.removed:
            return False
        below = EgressEvent.objects.filter(position__lte=upto).order_by("-position")  # not always upto itself: somebody may have removed it
        head.removed_digest = below.values_list("digest", flat=True).first() or head.removed_digest
        models.QuerySet(EgressEvent).filter(position__gt=head.removed, position__lte=upto).delete()  # the model's own manager removes nothing
        head.removed = upto
        chain.save_signed(head, deployment_key())
    return True
