"""Moves spooled refusals into the database: each segment in one transaction, exactly once, by whichever process comes first.

The transaction holds the receipt, the chained rows and the totals, under the lock of the trail's head: drains follow one another.
"""

from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.db import DataError, Error, IntegrityError, transaction

from airgap import chain, clock, events, totals
from airgap.active import deployment_key
from airgap.models import DrainedSegment, EgressEvent
from airgap.spool import Segment, waiting_segments

log = structlog.stdlib.get_logger("airgap")


def drain(directory: Path | None = None) -> int:
    """Store every complete segment, then seal and store what this process has spooled. Returns how many attempts were stored.

    Raises django.db.Error when the database is away; nothing is lost then. Sealing comes second, so that a database that is
    away for long leaves full segments behind, not many small ones.
    """
    directory = directory or settings.AIRGAP_SPOOL_DIR
    stored = _store_waiting(directory)
    recorder = events.recorder()
    if recorder is not None:
        recorder.spool.seal()
        tell_overflow(recorder)
        stored += _store_waiting(directory)
    return stored


def _store_waiting(directory: Path) -> int:
    """Each segment by itself: one that cannot be stored is set aside and told, and holds up none of the others."""
    stored = 0
    for waiting in waiting_segments(directory):
        try:
            stored += _store(waiting.read())
        except Exception as error:
            if isinstance(error, Error) and not isinstance(error, DataError | IntegrityError):
                raise  # the database is away, or not migrated: everything stays where it is
            log.error(events.AIRGAP_SPOOL_DAMAGED, file=waiting.path.name, reason=f"{type(error).__name__}: {str(error)[:200]}")
            waiting.set_aside()
        else:
            waiting.remove()
    return stored


def _store(segment: Segment) -> int:
    """Whole, or, when the database does not take one of its rows, without the rows that it does not take."""
    try:
        return _store_rows(segment, _rows(segment))
    except (DataError, IntegrityError) as error:
        rows = [row for row in _rows(segment) if _is_taken(row)]
        log.error(
            events.AIRGAP_SPOOL_DAMAGED,
            file=segment.name,
            rows=len(segment.records) - len(rows),
            reason=f"{type(error).__name__}: {str(error)[:200]}",
        )
        return _store_rows(segment, rows)


def _store_rows(segment: Segment, rows: list[EgressEvent]) -> int:
    now = clock.now()
    try:
        with transaction.atomic():
            DrainedSegment.objects.create(name=segment.name, drained_at=now)
            append(rows, now)
    except IntegrityError:
        if not DrainedSegment.objects.filter(name=segment.name).exists():
            raise
        return 0  # stored before, by a process that died before it could remove the file
    return sum(row.count for row in rows)


class _OnlyTrying(Exception):
    """Rolls a trial back."""


def _is_taken(row: EgressEvent) -> bool:
    """Whether the database takes the row."""
    try:
        with transaction.atomic():
            append([row], clock.now())
            raise _OnlyTrying
    except _OnlyTrying:
        return True
    except (DataError, IntegrityError):
        return False


def append(rows: list[EgressEvent], now: datetime) -> None:
    """Put rows at the end of the trail: chained, stored, added to the totals. Within a transaction, which holds the trail's head."""
    chain.append(chain.locked_head(), rows, now, deployment_key())
    EgressEvent.objects.bulk_create(rows)
    totals.add(rows)


def _rows(segment: Segment) -> list[EgressEvent]:
    return [
        EgressEvent(
            minute=datetime.fromtimestamp(record.minute, UTC),
            service=segment.service,
            process=segment.process,
            host=host,
            port=port,
            path=path,
            rule=rule,
            reason=record.reason,
            layer=layer,
            purpose=purpose,
            tenant=tenant,
            caller=caller,
            count=record.count,
            first_seen=datetime.fromtimestamp(record.first_seen, UTC),
            last_seen=datetime.fromtimestamp(record.last_seen, UTC),
        )
        for record in segment.records
        for host, port, path, rule, layer, purpose, tenant, caller in (record.key,)
    ]


def drain_quietly() -> str:
    """drain() for a background thread, which must outlive whatever goes wrong: "" or why it could not."""
    try:
        drain()
    except Error as error:
        return f"the database is away ({type(error).__name__})"
    except Exception as error:
        log.exception("airgap.drain_failed")
        return f"the drain failed ({type(error).__name__}); see the log"
    return ""


def hand_over() -> None:
    """For a process without a drain of its own (a Celery pool child): let the others have what was spooled, and tell the overflow."""
    recorder = events.recorder()
    if recorder is not None:
        recorder.spool.seal()
        tell_overflow(recorder)


def tell_overflow(recorder: events.Recorder) -> None:
    if overflowed := recorder.spool.take_untold():
        log.warning(events.AIRGAP_SPOOL_OVERFLOW, attempts=overflowed)
