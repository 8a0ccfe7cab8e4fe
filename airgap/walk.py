"""Walks the rows of the trail and holds each to its digest: in parts, which a command walks in as many processes as there are cores.

A part needs no other: each row's digest is computed from the digest that is stored with the row before it.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from multiprocessing import get_context
from typing import Any, Final

from django.db import connection, connections

from airgap.models import EgressEvent

PART: Final = 100_000  # rows of one part
LARGE: Final = 200_000  # rows from which on further processes are worth their start
_CHUNK = 20_000  # rows read at a time
_MOST = 100  # problems that one part tells
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # SQLite keeps UTC without saying so
_MICROSECOND = timedelta(microseconds=1)
_MOMENTS = ("minute", "first_seen", "last_seen")
_REST = ("service", "process", "host", "port", "path", "rule", "reason", "layer", "purpose", "tenant", "caller")
_FIELDS = ("position", "digest", *_MOMENTS, "count", *_REST)  # as the walk reads a row


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `first` to `last`; `digest`: of the row before the first."""

    first: int
    last: int
    digest: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not fit at `position`; `upto`: the last row that it is about."""

    position: int
    upto: int
    what: str


@dataclass(frozen=True, slots=True)
class Walked:
    """What a part has. `digest`: as stored with its last row."""

    problems: tuple[Problem, ...]
    digest: str
    attempts: int


def parts_of(first: int, last: int, digest: str) -> list[Part]:
    """The rows in parts. The row before a part that is not there leaves that part with the one before it."""
    begins = list(range(first + PART, last + 1, PART))
    stored = dict(EgressEvent.objects.filter(position__in=[begin - 1 for begin in begins]).values_list("position", "digest"))
    begins = [first, *(begin for begin in begins if begin - 1 in stored)]
    ends = [*(begin - 1 for begin in begins[1:]), last]
    return [Part(begin, end, stored.get(begin - 1, digest) if begin != first else digest) for begin, end in zip(begins, ends, strict=True)]


def walk(part: Part) -> Walked:
    """Read a part's rows one by one."""
    problems: list[Problem] = []
    digest, expected, attempts = part.digest, part.first, 0
    for position, stored, count, text in _rows(part.first, part.last):
        if position != expected:
            problems.append(_missing(expected, position - 1))
        elif (text is None or hashlib.sha256(digest.encode() + text).hexdigest() != stored) and not _fits(position, digest, stored):
            problems.append(Problem(position, position, "The row does not fit its digest: it, or the row before it, was altered."))
        digest, expected, attempts = stored, position + 1, attempts + count
        if len(problems) >= _MOST:
            return Walked(tuple(problems), digest, attempts)
    if expected != part.last + 1:
        problems.append(_missing(expected, part.last))
    return Walked(tuple(problems), digest, attempts)


def _fits(position: int, digest: str, stored: str) -> bool:
    """The same asked of the row as the model reads it: slower, and exact for moments of any century."""
    try:
        row = EgressEvent.objects.filter(position=position).first()
        return row is not None and hashlib.sha256(digest.encode() + row_text(row)).hexdigest() == stored
    except (TypeError, ValueError, OverflowError, AttributeError):
        return False


def _missing(first: int, last: int) -> Problem:
    return Problem(first, last, f"Rows {first} to {last} are missing.")


def walk_all(parts: Sequence[Part], processes: int | None = None) -> list[Walked]:
    """Every part, in order. processes: None for as many as are safe and worth it here."""
    many = usable(sum(part.last - part.first + 1 for part in parts)) if processes is None else processes
    if many < 2 or len(parts) < 2:
        return [walk(part) for part in parts]
    connections.close_all()  # a forked process must not speak on this one's connection
    with get_context("fork").Pool(min(many, len(parts))) as pool:
        return pool.map(walk, parts, chunksize=1)


def usable(rows: int) -> int:
    """How many processes may walk: one where other threads run, which must not be forked, or a transaction is open, which would be lost."""
    if rows < LARGE or threading.active_count() > 1 or connection.in_atomic_block:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def row_text(row: EgressEvent) -> bytes:
    """What is digested of a row: a JSON array in UTF-8 of position, minute, first and last seen (Unix microseconds), count, and the texts."""
    return text_of(
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


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def text_of(position: int, minute: int, first: int, last: int, count: int, *rest: str | int) -> bytes:
    """What is digested of a row: json.dumps(…, ensure_ascii=False, separators=(",", ":")) of the array, in a fifth of its time.

    Moments are Unix microseconds. Raises TypeError or ValueError for what is no number or text.
    """
    return f"[{position:d},{minute:d},{first:d},{last:d},{count:d},{_tail(*rest)}]".encode()


@lru_cache(maxsize=4096)  # the same callers are refused time and again
def _tail(
    service: str, process: str, host: str, port: int, path: str, rule: str, reason: str, layer: str, purpose: str, tenant: str, caller: str
) -> str:
    first = f"{encode_basestring(service)},{encode_basestring(process)},{encode_basestring(host)},{port:d},"
    return first + ",".join(map(encode_basestring, (path, rule, reason, layer, purpose, tenant, caller)))


def _rows(first: int, last: int) -> Iterator[tuple[int, str, int, bytes | None]]:
    """Position, stored digest, count and text of the rows, straight from the driver: the ORM takes longer than all the rest.

    Text None: the row holds what no row of the product holds.
    """
    quote, sqlite = connection.ops.quote_name, connection.vendor == "sqlite"
    moment = "CAST({} AS TEXT)" if sqlite else "(date_part('epoch', {}) * 1000000)::bigint"
    read: Callable[[Any], int] = _micros_of_text if sqlite else int
    columns = ", ".join(moment.format(quote(name)) if name in _MOMENTS else quote(name) for name in _FIELDS)
    query = f"SELECT {columns} FROM {quote(EgressEvent._meta.db_table)} WHERE position BETWEEN %s AND %s ORDER BY position LIMIT {_CHUNK}"  # noqa: S608 - names of the model's own columns
    while True:
        with connection.cursor() as cursor:
            cursor.execute(query, [first, last])
            chunk = cursor.fetchall()
        for position, digest, minute, seen, until, count, *rest in chunk:
            try:
                text = text_of(position, read(minute), read(seen), read(until), count, *rest)
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
