"""Runs of feeds as rows: opened by the scheduler or by hand, claimed by one worker at a time, finished once.

The database is the queue of record and the broker a nudge: a run whose message, worker or broker was lost is found again
by `overdue()` when its lease has passed. A claim is an attempt number; whoever lost the claim writes nothing more.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import DatabaseError, connections, transaction
from django.db.models import Q, QuerySet

from airgap import clock
from airgap.retry_after import LONGEST_WAIT
from threatintel.models import FeedCursor, FeedRun, SchedulerLease

LEASE = timedelta(seconds=12)
FAR = timedelta(seconds=300)  # beyond every lease and back-off, but not beyond what a server asks for
RENEW_EVERY = 3.0  # seconds
MAX_ATTEMPTS = 5
NUDGE_AGAIN = timedelta(seconds=10)
IMPORT = "import."
COUNTS = ("fetched", "added", "changed", "retired", "skipped", "skips")
State = FeedRun.State


class ClaimLost(Exception):
    """Another worker has taken the run over, or it is finished: stop, and store nothing."""


def open_run(feed: str, slot: str, *, epoch: int | None = None) -> FeedRun | None:
    """A new queued run, or None when the slot was opened before. Queued runs of the feed's earlier slots end here.

    epoch: of the scheduler that opens it; None too when it has been replaced meanwhile, or when a poll with the same settings, which a slot
    ends with, failed and waits to be tried again: its server may have asked for that.
    """
    now = clock.now()
    with transaction.atomic():
        if epoch is not None and not SchedulerLease.objects.select_for_update().filter(epoch=epoch).exists():
            return None
        waiting = FeedRun.objects.filter(feed=feed, state=State.QUEUED, attempt__gt=0, slot__endswith=slot[slot.rfind(".") :])
        if epoch is not None and waiting.exclude(_claimable(now)).exists():
            return None
        run, created = FeedRun.objects.get_or_create(feed=feed, slot=slot, defaults={"not_before": now, "lease_until": now + NUDGE_AGAIN})
        if created:
            FeedRun.objects.filter(feed=feed, state=State.QUEUED).exclude(pk=run.pk).update(
                state=State.FAILED, finished_at=now, reason="A newer poll of this feed has taken its place."
            )
    return run if created else None


def manual_slot() -> str:
    return f"manual.{uuid4().hex[:12]}"


def import_slot() -> str:
    """Of a file that is brought in; the scheduler leaves such a run alone."""
    return f"{IMPORT}{uuid4().hex[:12]}"


def claim(feed: str, slot: str) -> FeedRun | None:
    """Take the run for this process, or None: done, not due yet, or in somebody else's hands."""
    now = clock.now()
    with transaction.atomic():
        FeedCursor.objects.get_or_create(feed=feed)
        FeedCursor.objects.select_for_update().get(feed=feed)  # one claim a feed at a time
        if FeedRun.objects.filter(feed=feed, state=State.RUNNING).exclude(_claimable(now)).exists():
            return None
        run = FeedRun.objects.filter(feed=feed, slot=slot).filter(_claimable(now)).first()
        if run is None:
            return None
        if run.attempt >= MAX_ATTEMPTS:
            run.state, run.finished_at = State.FAILED, now
            run.reason = f"Given up after {run.attempt} attempts that never came to an end. {run.reason}".strip()
            run.save(update_fields=["state", "finished_at", "reason"])
            return None
        run.state, run.attempt, run.started_at, run.lease_until = State.RUNNING, run.attempt + 1, now, now + LEASE
        reset_counts(run)
        run.save(update_fields=["state", "attempt", "started_at", "lease_until", *COUNTS])
    return run


def reset_counts(run: FeedRun) -> None:
    run.fetched = run.added = run.changed = run.retired = run.skipped = 0
    run.skips = {}


def overdue() -> QuerySet[FeedRun]:
    """Polls that should be worked on and are not: queued and due, or running with a lease that has passed."""
    now = clock.now()
    polls = FeedRun.objects.exclude(slot__startswith=IMPORT)
    return polls.filter(_claimable(now)).filter(Q(lease_until__lt=now) | Q(lease_until__gt=now + FAR)).order_by("id")


def end_imports(before: datetime) -> int:
    """End imports that nobody has worked on since: only who has the file can do them again."""
    left = FeedRun.objects.filter(slot__startswith=IMPORT, state__in=(State.QUEUED, State.RUNNING), lease_until__lt=before)
    return left.update(state=State.FAILED, finished_at=clock.now(), reason="The import was cut off. Import the file again: what is stored stays.")


def abandon(feed: str, slot: str, reason: str) -> None:
    """End a run that no worker can do, as when its feed is not configured any more."""
    FeedRun.objects.filter(feed=feed, slot=slot, state__in=(State.QUEUED, State.RUNNING)).update(
        state=State.FAILED, reason=reason, finished_at=clock.now()
    )


def nudged(run: FeedRun) -> None:
    """A message was sent for the run: leave it some time before the next one."""
    FeedRun.objects.filter(pk=run.pk, state=State.QUEUED).update(lease_until=clock.now() + NUDGE_AGAIN)


def finish(run: FeedRun, state: State, *, reason: str = "", rule: str = "") -> None:
    """End the run. Raises ClaimLost when it is no longer this process's."""
    run.state, run.reason, run.rule, run.finished_at = state, reason, rule, clock.now()
    _write(run, "state", "reason", "rule", "finished_at", *COUNTS)


def retry_or_fail(run: FeedRun, reason: str, *, after: timedelta = timedelta()) -> None:
    """Queue the run again with back-off, no sooner than `after`, or end it as failed after the last attempt. Raises ClaimLost."""
    if run.attempt >= MAX_ATTEMPTS:
        finish(run, State.FAILED, reason=reason)
        return
    now = clock.now()
    run.state, run.reason, run.finished_at = State.QUEUED, reason, now
    run.not_before = now + max(back_off(run.attempt), after)
    run.lease_until = run.not_before
    _write(run, "state", "reason", "finished_at", "not_before", "lease_until", *COUNTS)


def back_off(attempt: int) -> timedelta:
    """Seconds to wait after the given attempt: 5, 15, 45, 135."""
    return timedelta(seconds=5 * 3 ** (attempt - 1))


def confirm(run: FeedRun) -> None:
    """Within a transaction: the run is still this process's, and stays so until the commit. Raises ClaimLost."""
    _write(run, *COUNTS, lease=True)


@contextmanager
def lease_kept(run: FeedRun) -> Iterator[None]:
    """Renew the lease from a thread with its own connection, so that a long download is not taken for a death."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(RENEW_EVERY):
            try:
                _mine(run).update(lease_until=clock.now() + LEASE)
            except DatabaseError:
                connections.close_all()  # tried again in a moment; the claim is confirmed before anything is stored
        connections.close_all()

    thread = threading.Thread(target=renew, name=f"lease-{run.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


def _claimable(now: datetime) -> Q:
    """Due, or left by a dead worker. A moment far in the future was written before the clock was set back: it is over too."""
    due = Q(not_before__lte=now) | Q(not_before__gt=now + timedelta(seconds=LONGEST_WAIT) + FAR)
    left = Q(lease_until__lt=now) | Q(lease_until__gt=now + FAR)
    return (Q(state=State.QUEUED) & due) | (Q(state=State.RUNNING) & left)


def _mine(run: FeedRun) -> QuerySet[FeedRun]:
    return FeedRun.objects.filter(pk=run.pk, attempt=run.attempt, state=State.RUNNING)


def _write(run: FeedRun, *fields: str, lease: bool = False) -> None:
    values = {name: getattr(run, name) for name in fields}
    if lease:
        values["lease_until"] = clock.now() + LEASE
    if not _mine(run).update(**values):
        raise ClaimLost(f"run {run.pk} of {run.feed}")
