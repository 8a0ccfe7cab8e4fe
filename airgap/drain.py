"""Moves spooled refusals into the database: each segment in one transaction, exactly once, by whichever process comes first."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from airgap import events
from airgap.models import DrainedSegment, EgressEvent
from airgap.spool import Segment, waiting_segments

RECEIPTS_KEPT = timedelta(days=7)  # a receipt matters only until its file is gone

log = structlog.stdlib.get_logger("airgap")


def drain(directory: Path | None = None) -> int:
    """Store every complete segment, then seal and store what this process has spooled. Returns how many attempts were stored.

    Raises DatabaseError when the database is away; nothing is lost then. Sealing comes second, so that a database that is
    away for long leaves full segments behind, not many small ones.
    """
    directory = directory or settings.AIRGAP_SPOOL_DIR
    stored = _store_waiting(directory)
    recorder = events.recorder()
    if recorder is not None:
        recorder.spool.seal()
        if overflowed := recorder.spool.take_overflow():
            log.warning(events.AIRGAP_SPOOL_OVERFLOW, attempts=overflowed)
        stored += _store_waiting(directory)
    return stored


def _store_waiting(directory: Path) -> int:
    stored = 0
    for waiting in waiting_segments(directory):
        try:
            segment = waiting.read()
        except ValueError as error:
            log.error("airgap.spool_damaged", file=waiting.path.name, reason=str(error))
            waiting.set_aside()
            continue
        stored += _store(segment)
        waiting.remove()
    return stored


def _store(segment: Segment) -> int:
    try:
        with transaction.atomic():
            DrainedSegment.objects.create(name=segment.name)
            EgressEvent.objects.bulk_create(_rows(segment))
    except IntegrityError:
        if not DrainedSegment.objects.filter(name=segment.name).exists():
            raise
        return 0  # stored before, by a process that died before it could remove the file
    return sum(record.count for record in segment.records)


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


def forget_old_receipts() -> None:
    DrainedSegment.objects.filter(drained_at__lt=timezone.now() - RECEIPTS_KEPT).delete()


def drain_quietly() -> str:
    """drain() for a background thread: "" or why it could not."""
    try:
        drain()
    except DatabaseError as error:
        return f"the database is away ({type(error).__name__})"
    return ""
