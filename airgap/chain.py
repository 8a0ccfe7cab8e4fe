"""The chain of the trail: each row's digest covers the row before it, and each finished day's head is signed.

A row that was altered, removed, added or moved breaks the chain at its position; a chain that was computed anew does not fit
the signed heads, which need the deployment's key. Rows past retention leave their heads behind; the open head says up to where
they were removed. What this cannot show: that rows were never drained, the loss of the youngest rows together with the return of
an older signed TrailHead (a restored backup), and a database emptied whole. Each sealed day is also logged
(`airgap.day_sealed`), so that the log's own store holds the heads too.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import structlog
from django.db.models import Max

from airgap.ed25519 import SigningKey, is_signed
from airgap.events import AIRGAP_DAY_SEALED, AIRGAP_HEAD_NOT_SIGNED
from airgap.models import DayHead, DrainedSegment, EgressEvent, TrailHead
from airgap.walk import Part, Walked, parts_of, row_text, walk_all

GENESIS: Final = "0" * 64
ANEW: Final = "f" * 64  # what a chain starts from that was begun anew behind a head that nobody signed: no row's digest
STEP: Final = timedelta(days=2)  # more at once is a clock that was wrong or is wrong now, or a deployment that stood still
_TRIES = 20
_MOST_STRAYS = 100  # rows outside the chain that are told

log = structlog.stdlib.get_logger("airgap")


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


def locked_head(key: SigningKey) -> TrailHead:
    """The head, locked for the transaction: drains of all processes follow one another here. Raises HeadLost.

    One that the key has not signed so is not signed now either, which would make it good: the chain begins anew behind it.
    """
    head = TrailHead.objects.select_for_update().filter(id=TrailHead.ONLY).first()
    if head is not None:
        if head.key != key.fingerprint or not is_signed(key.public, head.signature, _text_of_open(head)):
            _begin_anew(head, key)
        return head
    start = {"digest": GENESIS, "start": GENESIS, "removed_digest": GENESIS, "signature": "", "key": ""}
    head, created = TrailHead.objects.select_for_update().get_or_create(id=TrailHead.ONLY, defaults=start)
    if created:
        if _was_begun():  # looked at only now: another process may have stored the first head and rows meanwhile
            raise HeadLost("There are rows or heads of finished days, and no airgap_trailhead.")
        save_signed(head, key)
    return head


def _begin_anew(head: TrailHead, key: SigningKey) -> None:
    """Leave the day as it was found, with the signature that does not fit, and continue no day: both show at every walk, for good."""
    log.error(AIRGAP_HEAD_NOT_SIGNED, day=str(head.day), position=head.position, digest=head.digest, key=head.key)
    if head.day is not None and head.position >= head.first_position:
        DayHead.objects.get_or_create(first_position=head.first_position, defaults=_as_day(head) | {"signature": head.signature, "key": head.key})
    rows, days = EgressEvent.objects.aggregate(last=Max("position")), DayHead.objects.aggregate(last=Max("last_position"))
    head.position = max(head.position, rows["last"] or 0, days["last"] or 0)  # no position twice, whatever was removed
    head.day, head.start, head.digest, head.first_position, head.attempts = None, ANEW, ANEW, head.position + 1, 0
    save_signed(head, key)


def is_headless() -> bool:
    """Whether anything says that there was a trail, without its head or the head's day."""
    return _was_begun() and not TrailHead.objects.exclude(day=None).exists()  # in this order: the first head is stored together with the first rows


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
        DayHead.objects.create(first_position=head.first_position, **_as_day(head), signature=key.sign(text), key=key.fingerprint)
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


def _as_day(head: TrailHead) -> dict[str, Any]:
    return {"day": head.day, "last_position": head.position, "attempts": head.attempts, "start": head.start, "digest": head.digest}


def is_sealed_by(day: DayHead, key: SigningKey) -> bool:
    return day.key == key.fingerprint and is_signed(key.public, day.signature, _text_of_day(day))


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
    floor = max(head.removed, 0 if newest is None else head.position - newest)
    parts = [(day, part) for day in days for part in _parts(day, head, floor)]
    walked = list(zip(parts, walk_all([part for _day, part in parts]), strict=True))
    last, digest = 0, GENESIS
    for day in days:
        if (day.first_position, day.start) != (last + 1, digest):
            yield Broken(day.day, 0, f"The day does not continue the one before it, which ended with row {last}.")
        yield from _signature_problem(day, head, public_keys)
        yield from _day_problems(day, [found for (of, _part), found in walked if of is day], whole=day.first_position > floor)
        last, digest = day.last_position, day.digest
    strays = list(EgressEvent.objects.exclude(position__gt=head.removed, position__lte=last).values_list("position", flat=True)[:_MOST_STRAYS])
    for position in strays:
        if not last < position <= _head().position:  # drained since
            yield Broken(None, position, "There is a row outside the chain.")


def _parts(day: "DayHead | _Day", head: TrailHead, floor: int) -> list[Part]:
    """The day's rows above the floor; none when it lies below."""
    if day.last_position <= floor:
        return []
    if day.first_position > floor:
        return parts_of(day.first_position, day.last_position, day.start)
    below = EgressEvent.objects.filter(position=floor).values_list("digest", flat=True).first() if floor > head.removed else head.removed_digest
    return parts_of(floor + 1, day.last_position, below or "")


def _day_problems(day: "DayHead | _Day", walked: list[Walked], *, whole: bool) -> Iterator[Broken]:
    """What does not fit among the day's rows, or between them and its head. Rows that retention has removed meanwhile are not missed."""
    problems = [problem for found in walked for problem in found.problems]
    if problems:
        removed = _head().removed
        for problem in problems:
            if problem.upto > removed:
                yield Broken(day.day, problem.position, problem.what)
    elif walked and walked[-1].digest != day.digest:
        yield Broken(day.day, day.last_position, "The last row does not fit the day's head.")
    elif walked and whole and sum(found.attempts for found in walked) != day.attempts:
        yield Broken(day.day, 0, "The day's rows do not sum up to its head's attempts.")


def count_rows() -> int:
    """How many rows the trail should have, by its head."""
    head = _head()
    return head.position - head.removed


def position() -> int:
    """The position of the last row."""
    return _head().position


def removed_through() -> date | None:
    """The last day of which retention has removed rows; None while it has removed none."""
    return DayHead.objects.filter(first_position__lte=_head().removed).order_by("-first_position").values_list("day", flat=True).first()


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
