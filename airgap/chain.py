"""The chain of the trail: each row's digest covers the row before it, and each finished day's head is signed.

A row that was altered, removed, added or moved breaks the chain at its position; a chain that was computed anew does not fit
the signed heads, which need the deployment's key. Rows past retention leave their heads behind. What this cannot show: that
rows were never drained, and the loss of the youngest rows together with the return of an older signed TrailHead (a restored
backup); each sealed day is also logged (`airgap.day_sealed`), so that the log's own store holds the heads too.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog
from django.db.models import QuerySet

from airgap.ed25519 import SigningKey, is_signed
from airgap.events import AIRGAP_DAY_SEALED
from airgap.models import DayHead, EgressEvent, TrailHead

GENESIS: Final = "0" * 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CHUNK = 5000  # rows verified at a time

log = structlog.stdlib.get_logger("airgap")


def row_text(row: EgressEvent) -> bytes:
    """What is digested of a row: a JSON array in UTF-8 of position, minute, first and last seen (Unix microseconds), count, and the texts."""
    return json.dumps(
        [
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
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def row_digest(previous: str, row: EgressEvent) -> str:
    """SHA-256 over the previous digest in hexadecimal and the row's text."""
    return hashlib.sha256(previous.encode() + row_text(row)).hexdigest()


def head_text(day: date | None, first: int, last: int, attempts: int, start: str, digest: str, *, sealed: bool) -> bytes:
    """What is signed of a day: canonical JSON (RFC 8785: sorted keys, no white space, integers only)."""
    head = {
        "attempts": attempts,
        "day": day.isoformat() if day else None,
        "digest": digest,
        "first": first,
        "kind": "aisoc-trail-day" if sealed else "aisoc-trail-head",
        "last": last,
        "start": start,
    }
    return json.dumps(head, separators=(",", ":"), sort_keys=True).encode()


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def locked_head() -> TrailHead:
    """The head, locked for the transaction: drains of all processes follow one another here."""
    head, _made = TrailHead.objects.select_for_update().get_or_create(
        id=TrailHead.ONLY, defaults={"digest": GENESIS, "start": GENESIS, "signature": "", "key": ""}
    )
    return head


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
    head.signature, head.key = key.sign(_text_of_open(head)), key.fingerprint
    head.save()


def begin_day(head: TrailHead, today: date, key: SigningKey) -> bool:
    """Seal the head's day when it is over and open today; whether a day was sealed. A clock set back leaves the day open."""
    if head.day is not None and today <= head.day:
        return False
    sealed = False
    if head.day is not None and head.position >= head.first_position:
        sealed = True
        text = head_text(head.day, head.first_position, head.position, head.attempts, head.start, head.digest, sealed=True)
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
    if head.day is not None and begin_day(head, now.astimezone(UTC).date(), key):
        head.signature, head.key = key.sign(_text_of_open(head)), key.fingerprint
        head.save()


def _text_of_open(head: TrailHead) -> bytes:
    return head_text(head.day, head.first_position, head.position, head.attempts, head.start, head.digest, sealed=False)


# ── Verifying ────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Broken:
    """One thing that does not fit. `day` is the day of the chain it was found in, `position` the row's (0: the head itself)."""

    day: date | None
    position: int
    what: str


def verify(public_keys: Mapping[str, bytes], *, kept_since: date | None = None) -> Iterator[Broken]:
    """Walk the heads and every row; yields what does not fit, nothing when all does.

    public_keys: the trusted keys by fingerprint. kept_since: retention may have removed rows of days before this one, the oldest
    first; None: no row may be missing. Run it in a repeatable-read transaction where others drain meanwhile.
    """
    last, digest, rows_began = 0, GENESIS, False
    for day in [*DayHead.objects.order_by("first_position"), _open_day()]:
        if day is None:
            break
        if (day.first_position, day.start) != (last + 1, digest):
            yield Broken(day.day, 0, f"The day does not continue the one before it, which ended with row {last}.")
        yield from _signature_problem(day, public_keys)
        rows = EgressEvent.objects.filter(position__gte=day.first_position, position__lte=day.last_position).order_by("position")
        removable = not rows_began and kept_since is not None and day.day is not None and day.day < kept_since
        found = rows.exists()
        if found or not removable:
            yield from _walk(day, rows, removable=removable)
        rows_began = rows_began or found
        last, digest = day.last_position, day.digest
    if (beyond := EgressEvent.objects.filter(position__gt=last).order_by("position").values_list("position", flat=True).first()) is not None:
        yield Broken(None, beyond, "There are rows behind the end of the chain.")


@dataclass(frozen=True, slots=True)
class _Day:
    """A sealed day, or the open one, as the verifier sees it."""

    day: date | None
    first_position: int
    last_position: int
    attempts: int
    start: str
    digest: str
    signature: str
    key: str
    sealed: bool = False


def _open_day() -> _Day | None:
    head = TrailHead.objects.first()
    if head is None or head.day is None:
        return None
    return _Day(head.day, head.first_position, head.position, head.attempts, head.start, head.digest, head.signature, head.key)


def _signature_problem(day: DayHead | _Day, public_keys: Mapping[str, bytes]) -> Iterator[Broken]:
    sealed = isinstance(day, DayHead)
    text = head_text(day.day, day.first_position, day.last_position, day.attempts, day.start, day.digest, sealed=sealed)
    public = public_keys.get(day.key)
    if public is None:
        yield Broken(day.day, 0, f"The head is signed with a key that is not trusted ({day.key[:16] or 'none'}).")
    elif not is_signed(public, day.signature, text):
        yield Broken(day.day, 0, "The head's signature does not fit its content.")


def _walk(day: DayHead | _Day, rows: QuerySet[EgressEvent], *, removable: bool) -> Iterator[Broken]:
    """The day's rows one by one. removable: the first ones may be gone; the first that is there is then believed."""
    digest, expected, attempts, whole = day.start, day.first_position, 0, True
    for row in rows.iterator(chunk_size=_CHUNK):
        stored = row.digest
        if row.position != expected:
            whole = False
            if not (removable and not attempts):
                yield Broken(day.day, expected, f"Rows {expected} to {row.position - 1} are missing.")
        elif row_digest(digest, row) != stored:
            yield Broken(day.day, row.position, "The row does not fit its digest: it, or the row before it, was altered.")
        digest, expected, attempts = stored, row.position + 1, attempts + row.count
    if expected != day.last_position + 1:
        yield Broken(day.day, expected, f"Rows {expected} to {day.last_position} are missing.")
    elif digest != day.digest:
        yield Broken(day.day, day.last_position, "The last row does not fit the day's head.")
    elif whole and attempts != day.attempts:
        yield Broken(day.day, 0, "The day's rows do not sum up to its head's attempts.")
