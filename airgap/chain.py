"""The chain of the trail: each row's digest covers the row before it, and each finished day's head is signed.

A row that was altered, removed, added or moved breaks the chain at its position; a chain that was computed anew does not fit
the signed heads, which need the deployment's key. Rows past retention leave their heads behind; the open head says up to where
they were removed. What this cannot show: that rows were never drained, the loss of the youngest rows together with the return of
an older signed TrailHead (a restored backup), and a database emptied whole. Each sealed day is also logged
(`airgap.day_sealed`), so that the log's own store holds the heads too.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final

import structlog
from django.db import connection

from airgap.ed25519 import SigningKey, is_signed
from airgap.events import AIRGAP_DAY_SEALED
from airgap.models import DayHead, DrainedSegment, EgressEvent, TrailHead

GENESIS: Final = "0" * 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
STEP: Final = timedelta(days=2)  # more at once is a clock that was wrong or is wrong now, or a deployment that stood still
_NAIVE_EPOCH = datetime(1970, 1, 1)  # SQLite keeps UTC without saying so
_CHUNK = 20_000  # rows verified at a time
_TRIES = 20
_MOST_STRAYS = 100  # rows outside the chain that are told

log = structlog.stdlib.get_logger("airgap")


def row_text(row: EgressEvent) -> bytes:
    """What is digested of a row: a JSON array in UTF-8 of position, minute, first and last seen (Unix microseconds), count, and the texts."""
    return _text(
        row.position,
        _microseconds(row.minute),
        _microseconds(row.first_seen),
        _microseconds(row.last_seen),
        row.count,
        row.service,
        row.process,
        row.host,
        row.port,
        row.path,
        row.rule,
        row.reason,
        row.layer,
        row.purpose,
        row.tenant,
        row.caller,
    )


_MOMENTS = ("minute", "first_seen", "last_seen")
_REST = ("service", "process", "host", "port", "path", "rule", "reason", "layer", "purpose", "tenant", "caller")
_FIELDS = ("position", "digest", *_MOMENTS, "count", *_REST)  # as the verifier reads a row


def _text(position: int, minute: int, first: int, last: int, count: int, *rest: str | int) -> bytes:
    """json.dumps(…, ensure_ascii=False, separators=(",", ":")) of the array, in a fifth of its time.

    Raises TypeError or ValueError for what is no number or text.
    """
    return f"[{position:d},{minute:d},{first:d},{last:d},{count:d},{_tail(*rest)}]".encode()


@lru_cache(maxsize=4096)  # the same callers are refused time and again
def _tail(
    service: str, process: str, host: str, port: int, path: str, rule: str, reason: str, layer: str, purpose: str, tenant: str, caller: str
) -> str:
    quoted = (path, rule, reason, layer, purpose, tenant, caller)
    first = f"{encode_basestring(service)},{encode_basestring(process)},{encode_basestring(host)},{port:d},"
    return first + ",".join(map(encode_basestring, quoted))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def row_digest(previous: str, row: EgressEvent) -> str:
    """SHA-256 over the previous digest in hexadecimal and the row's text."""
    return hashlib.sha256(previous.encode() + row_text(row)).hexdigest()


def head_text(day: date | None, first: int, last: int, attempts: int, start: str, digest: str, **more: str | int) -> bytes:
    """What is signed of a day: canonical JSON (RFC 8785: sorted keys, no white space, integers only). `more`: of the open day."""
    head = {
        "attempts": attempts,
        "day": day.isoformat() if day else None,
        "digest": digest,
        "first": first,
        "kind": "aisoc-trail-head" if more else "aisoc-trail-day",
        "last": last,
        "start": start,
        **more,
    }
    return json.dumps(head, separators=(",", ":"), sort_keys=True).encode()


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class HeadLost(Exception):
    """There is a trail and no head of it: somebody removed it, or a restore left it out. Nothing is drained until that is looked at."""


def locked_head() -> TrailHead:
    """The head, locked for the transaction: drains of all processes follow one another here. Raises HeadLost."""
    head = TrailHead.objects.select_for_update().filter(id=TrailHead.ONLY).first()
    if head is not None:
        return head
    start = {"digest": GENESIS, "start": GENESIS, "removed_digest": GENESIS, "signature": "", "key": ""}
    head, created = TrailHead.objects.select_for_update().get_or_create(id=TrailHead.ONLY, defaults=start)
    if created and _was_begun():  # looked at only now: another process may have stored the first head and rows meanwhile
        raise HeadLost("There are rows or heads of finished days, and no airgap_trailhead.")
    return head


def is_headless() -> bool:
    """Whether anything says that there was a trail, without its head."""
    return _was_begun() and not TrailHead.objects.exists()  # in this order: the first head is stored together with the first rows


def _was_begun() -> bool:
    return EgressEvent.objects.exists() or DayHead.objects.exists() or DrainedSegment.objects.exists()


def append(head: TrailHead, rows: Iterable[EgressEvent], now: datetime, key: SigningKey) -> None:
    """Give the rows their positions and digests and move the locked head behind them. The caller stores the rows."""
    begin_day(head, now.astimezone(UTC).date(), key)
    position, digest = head.position, head.digest
    for row in rows:
        position += 1
        row.position = position
        row.digest = digest = row_digest(digest, row)
        head.attempts += row.count
    head.position, head.digest = position, digest
    save_signed(head, key)


def save_signed(head: TrailHead, key: SigningKey) -> None:
    head.signature, head.key = key.sign(_text_of_open(head)), key.fingerprint
    head.save()


def begin_day(head: TrailHead, today: date, key: SigningKey) -> bool:
    """Seal the head's day when it is another one and open today; whether a day was sealed. Also when the clock was set back."""
    if head.day == today:
        return False
    sealed = False
    if head.day is None or abs(today - head.day) > STEP:
        head.steady_since = today
    if head.day is not None and head.position >= head.first_position:
        sealed = True
        text = head_text(head.day, head.first_position, head.position, head.attempts, head.start, head.digest)
        DayHead.objects.create(
            day=head.day,
            first_position=head.first_position,
            last_position=head.position,
            attempts=head.attempts,
            start=head.start,
            digest=head.digest,
            signature=key.sign(text),
            key=key.fingerprint,
        )
        log.info(
            AIRGAP_DAY_SEALED,
            day=str(head.day),
            first=head.first_position,
            last=head.position,
            attempts=head.attempts,
            digest=head.digest,
            key=key.fingerprint,
        )
    head.day, head.start, head.first_position, head.attempts = today, head.digest, head.position + 1, 0
    return sealed


def seal_finished_day(head: TrailHead, now: datetime, key: SigningKey) -> None:
    """For days on which nothing more is drained: seal the locked head's day once it is over."""
    if head.day is not None and head.day != now.astimezone(UTC).date():
        begin_day(head, now.astimezone(UTC).date(), key)
        save_signed(head, key)


def _text_of_open(head: TrailHead) -> bytes:
    return head_text(
        head.day, head.first_position, head.position, head.attempts, head.start, head.digest, removed=head.removed, removed_digest=head.removed_digest
    )


def _text_of_day(day: DayHead) -> bytes:
    return head_text(day.day, day.first_position, day.last_position, day.attempts, day.start, day.digest)


# ── Verifying ────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Broken:
    """One thing that does not fit. `day` is the day of the chain it was found in, `position` the row's (0: the head itself)."""

    day: date | None
    position: int
    what: str


def verify(public_keys: Mapping[str, bytes], newest: int | None = None) -> Iterator[Broken]:
    """Check all heads, and every row or the `newest` so many; yields what does not fit, nothing when all does.

    public_keys: the trusted keys by fingerprint. Rows that retention removed, by the signed head, are passed over. Others may drain
    and tidy up meanwhile: what they add is left for the next time.
    """
    if is_headless():
        yield Broken(None, 0, "There is a trail and no head of it.")
    head, days = _heads()
    floor = 0 if newest is None else max(0, head.position - newest)
    last, digest = 0, GENESIS
    for day in days:
        if (day.first_position, day.start) != (last + 1, digest):
            yield Broken(day.day, 0, f"The day does not continue the one before it, which ended with row {last}.")
        yield from _signature_problem(day, head, public_keys)
        yield from _walk(day, head, floor)
        last, digest = day.last_position, day.digest
    strays = list(EgressEvent.objects.exclude(position__gt=head.removed, position__lte=last).values_list("position", flat=True)[:_MOST_STRAYS])
    for position in strays:
        if not last < position <= _head().position:  # drained since
            yield Broken(None, position, "There is a row outside the chain.")


def count_rows() -> int:
    """How many rows the trail should have, by its head."""
    head = _head()
    return head.position - head.removed


def position() -> int:
    """The position of the last row."""
    return _head().position


def summary(days: int) -> dict[str, Any]:
    """The heads as a report carries them: what was signed of each, its signature and key. The latest `days` finished days."""
    head, every = _heads()
    finished = [day for day in every if isinstance(day, DayHead)]
    return {
        "rows": head.position - head.removed,
        "position": head.position,
        "digest": head.digest or GENESIS,
        "removed": head.removed,
        "older_days": max(0, len(finished) - days),
        "days": [_signed(_text_of_day(day), day) for day in finished[-days:]],
        "open": _signed(_text_of_open(head), head) if head.day is not None else None,
    }


def _signed(text: bytes, head: DayHead | TrailHead) -> dict[str, Any]:
    return {**json.loads(text), "signature": head.signature, "key": head.key}


def _head() -> TrailHead:
    return TrailHead.objects.first() or TrailHead(removed_digest=GENESIS)


def _heads() -> tuple[TrailHead, "list[DayHead | _Day]"]:
    """The open head and the days as they were at one moment: read again when somebody drained in between."""
    for _ in range(_TRIES):
        head = _head()
        days: list[DayHead | _Day] = [*DayHead.objects.order_by("first_position"), *_open_day(head)]
        if (head.signature, head.position) == (_head().signature, _head().position):
            break
    return head, days


@dataclass(frozen=True, slots=True)
class _Day:
    """The open day, as the verifier sees it."""

    day: date | None
    first_position: int
    last_position: int
    attempts: int
    start: str
    digest: str
    signature: str
    key: str


def _open_day(head: TrailHead) -> list[_Day]:
    if head.day is None:
        return []
    return [_Day(head.day, head.first_position, head.position, head.attempts, head.start, head.digest, head.signature, head.key)]


def _signature_problem(day: DayHead | _Day, head: TrailHead, public_keys: Mapping[str, bytes]) -> Iterator[Broken]:
    text = _text_of_day(day) if isinstance(day, DayHead) else _text_of_open(head)
    public = public_keys.get(day.key)
    if public is None:
        yield Broken(day.day, 0, f"The head is signed with a key that is not trusted ({day.key[:16] or 'none'}).")
    elif not is_signed(public, day.signature, text):
        yield Broken(day.day, 0, "The head's signature does not fit its content.")


def _walk(day: "DayHead | _Day", head: TrailHead, floor: int) -> Iterator[Broken]:
    """The day's rows one by one, from the first that retention has left or that lies above the floor."""
    if day.last_position <= max(head.removed, floor):
        return
    whole = day.first_position > max(head.removed, floor)
    if whole:
        digest, expected, attempts = day.start, day.first_position, 0
    elif floor > head.removed:
        below = EgressEvent.objects.filter(position=floor).values_list("digest", flat=True).first()
        if below is None:
            yield Broken(day.day, floor, f"Row {floor} is missing.")
        digest, expected, attempts = below or "", floor + 1, 0
    else:
        digest, expected, attempts = head.removed_digest, head.removed + 1, 0
    for position, stored, count, text in _rows(expected, day.last_position):
        if position != expected:
            if position - 1 > _head().removed:  # else retention has come this far meanwhile
                yield Broken(day.day, expected, f"Rows {expected} to {position - 1} are missing.")
        elif text is None or hashlib.sha256(digest.encode() + text).hexdigest() != stored:
            yield Broken(day.day, position, "The row does not fit its digest: it, or the row before it, was altered.")
        digest, expected, attempts = stored, position + 1, attempts + count
    if expected != day.last_position + 1:
        if day.last_position > _head().removed:
            yield Broken(day.day, expected, f"Rows {expected} to {day.last_position} are missing.")
    elif digest != day.digest:
        yield Broken(day.day, day.last_position, "The last row does not fit the day's head.")
    elif whole and attempts != day.attempts:
        yield Broken(day.day, 0, "The day's rows do not sum up to its head's attempts.")


def _rows(first: int, last: int) -> Iterator[tuple[int, str, int, bytes | None]]:
    """Position, stored digest, count and text of the rows, straight from the driver: the ORM takes longer than all the rest.

    Text None: the row holds what no row of the product holds.
    """
    quote, sqlite = connection.ops.quote_name, connection.vendor == "sqlite"
    moment = "CAST({} AS TEXT)" if sqlite else "(extract(epoch from {}) * 1000000)::bigint"
    read: Callable[[Any], int] = _micros_of_text if sqlite else int
    columns = ", ".join(moment.format(quote(name)) if name in _MOMENTS else quote(name) for name in _FIELDS)
    query = f"SELECT {columns} FROM {quote(EgressEvent._meta.db_table)} WHERE position BETWEEN %s AND %s ORDER BY position LIMIT {_CHUNK}"  # noqa: S608 - names of the model's own columns
    while True:
        with connection.cursor() as cursor:
            cursor.execute(query, [first, last])
            chunk = cursor.fetchall()
        for position, digest, minute, seen, until, count, *words in chunk:
            try:
                text = _text(position, read(minute), read(seen), read(until), count, *words)
                yield position, digest, count, text
            except (TypeError, ValueError, OverflowError):
                yield position, str(digest), 0, None
        if len(chunk) < _CHUNK:
            return
        first = chunk[-1][0] + 1


def _micros_of_text(stored: str) -> int:
    """A moment as Django keeps it on SQLite: UTC without a zone, to the second or to the microsecond. Raises ValueError."""
    if len(stored) == 19:
        return _micros_of_second(stored)
    if len(stored) != 26 or stored[19] != "." or not stored[20:].isdigit():
        raise ValueError("It is no moment.")
    return _micros_of_second(stored[:19]) + int(stored[20:])


@lru_cache(maxsize=4096)
def _micros_of_second(text: str) -> int:
    return (datetime.fromisoformat(text) - _NAIVE_EPOCH) // _MICROSECOND
