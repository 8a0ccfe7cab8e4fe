"""Moves spooled refusals into the database: each segment in one transaction, exactly once, by whichever process comes first.

The transaction holds the receipt, the chained rows and the totals, under the lock of the trail's head: drains follow one another.
"""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.db import DataError, Error, IntegrityError, connection, transaction

from airgap import chain, clock, events, totals
from airgap.active import deployment_key
from airgap.models import DrainedSegment, EgressEvent
from airgap.segments import Record, Segment, WaitingSegment, complete, locked, remove_drafts

A_ROUND = 96  # segments drained at once: the thread that drains also checks and must come round
TOGETHER = 16  # segments stored in one transaction: at most 8,192 rows

log = structlog.stdlib.get_logger("airgap")


def drain(directory: Path | None = None) -> int:
    """Store complete segments, at most A_ROUND, then seal and store what this process has spooled. Returns how many attempts were stored.

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
    """Some segments at a time; when that does not work, each by itself: one that cannot be stored holds up none of the others."""
    remove_drafts(directory)
    paths, stored = complete(directory)[:A_ROUND], 0
    for first in range(0, len(paths), TOGETHER):
        batch = [segment for path in paths[first : first + TOGETHER] if (segment := locked(path)) is not None]
        try:
            stored += _store_batch(batch)
        finally:
            for segment in batch:
                segment.close()
    return stored


def _store_batch(batch: list[WaitingSegment]) -> int:
    try:
        stored = _store([segment.read() for segment in batch]) if batch else 0
    except Exception as error:
        if _is_away(error):
            raise  # everything stays where it is
        return sum(_store_alone(segment) for segment in batch)
    for segment in batch:
        _remove(segment)
    return stored


def _is_away(error: Exception) -> bool:
    """Whether the database is away, not migrated, or without the trail's head: it has nothing against what it was given."""
    return isinstance(error, chain.HeadLost) or (isinstance(error, Error) and not isinstance(error, DataError | IntegrityError))


def _store_alone(waiting: WaitingSegment) -> int:
    """One segment, without the rows that the database does not take; set aside when it cannot be read, or another one had its name."""
    try:
        segment = waiting.read()
        receipt = DrainedSegment.objects.filter(name=segment.name).first()
        if receipt is not None and receipt.digest != segment.digest:
            raise ValueError("Another segment of this name was drained before.")
        if receipt is not None:  # by a process that died before it could remove the file
            log.info(events.AIRGAP_SEGMENT_KNOWN, file=segment.name)
            stored = 0
        else:
            stored = _store_what_is_taken(segment)
    except Exception as error:
        if _is_away(error):
            raise
        _tell_damage(waiting.path.name, error)
        with contextlib.suppress(OSError):
            waiting.set_aside()
        return 0
    _remove(waiting)
    return stored


def _store_what_is_taken(segment: Segment) -> int:
    """Whole, or without the rows whose values the database does not take. Raises IntegrityError for what is no fault of a row."""
    try:
        return _store([segment])
    except (DataError, IntegrityError) as error:
        taken = replace(segment, records=tuple(record for record in segment.records if _is_taken(segment, record)))
        if len(taken.records) in (0, len(segment.records)) and len(segment.records) > 1:
            raise  # it is not for one row: the segment is kept
        _tell_damage(segment.name, error, rows=len(segment.records) - len(taken.records))
        return _store([taken])


def _remove(waiting: WaitingSegment) -> None:
    """A file that cannot be removed is known by its receipt the next time, and holds up none of the others."""
    try:
        waiting.remove()
    except OSError as error:
        log.error(events.AIRGAP_SPOOL_DAMAGED, file=waiting.path.name, reason=f"It cannot be removed ({type(error).__name__}).")


def _tell_damage(file: str, error: Exception, **parts: int) -> None:
    log.error(events.AIRGAP_SPOOL_DAMAGED, file=file, reason=f"{type(error).__name__}: {str(error)[:200]}", **parts)


def _store(segments: list[Segment]) -> int:
    """In one transaction. Raises IntegrityError when one of them was stored before."""
    now = clock.now()
    rows = [row for segment in segments for row in _rows(segment)]
    with transaction.atomic():
        chain.locked_head(deployment_key())  # before a receipt says that there was a trail
        DrainedSegment.objects.bulk_create([DrainedSegment(name=segment.name, digest=segment.digest, drained_at=now) for segment in segments])
        append(rows, now)
    return sum(row.count for row in rows)


class _OnlyTrying(Exception):
    """Rolls a trial back."""


def _is_taken(segment: Segment, record: Record) -> bool:
    """Whether the database takes the row."""
    try:
        with transaction.atomic():
            append(_rows(replace(segment, records=(record,))), clock.now())
            raise _OnlyTrying
    except _OnlyTrying:
        return True
    except (DataError, IntegrityError):
        return False


def append(rows: list[EgressEvent], now: datetime) -> None:
    """Put rows at the end of the trail: chained, stored, added to the totals. Within a transaction, which holds the trail's head."""
    key = deployment_key()
    chain.append(chain.locked_head(key), rows, now, key)
    _insert(rows)
    totals.add(rows)


def _insert(rows: list[EgressEvent]) -> None:
    """As bulk_create, in a tenth of its time: the ORM takes longer to write the statement than the database to run it."""
    fields = EgressEvent._meta.concrete_fields
    quote, adapt = connection.ops.quote_name, connection.ops.adapt_datetimefield_value
    table, columns = quote(EgressEvent._meta.db_table), ", ".join(quote(str(field.column)) for field in fields)
    names = [field.attname for field in fields]
    values = ([adapt(value) if isinstance(value, datetime) else value for value in (getattr(row, name) for name in names)] for row in rows)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for line in values:
                    copy.write_row(line)
        else:
            places = ", ".join(["%s"] * len(fields))
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", list(values))  # noqa: S608 - names of the model's own columns


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
    except chain.HeadLost as error:
        return str(error)
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
