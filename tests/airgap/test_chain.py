"""The chain shows what was done to the trail behind its back, by somebody who can write to the database and does not hold the key."""

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from airgap import chain, events, retention
from airgap.active import deployment_key
from airgap.chain import Broken, row_digest
from airgap.drain import drain_quietly
from airgap.ed25519 import read_key
from airgap.models import DayHead, DrainedSegment, EgressEvent, EgressTotal, TrailHead
from airgap.policy import Rule
from tests.airgap.trail import START, drained, event

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
COPIED = (
    "INSERT INTO airgap_egressevent (position, digest, minute, service, process, host, port, path, rule, reason, layer, purpose, tenant, caller, count,"
    " first_seen, last_seen) SELECT {}, digest, minute, service, process, 'forged.example', port, path, rule, reason, layer, purpose, tenant, caller, 999,"
    " first_seen, last_seen FROM airgap_egressevent WHERE position = 1"
)


def found() -> list[Broken]:
    key = deployment_key()
    return list(chain.verify({key.fingerprint: key.public}))


def three_days() -> None:
    """Rows 1-3 on the 31st, 4-5 on the 1st, 6-7 on the 2nd, which is open."""
    drained(event(0, "a.example"), event(0, "b.example", count=7), event(1, "c.example"))
    drained(event(2, "d.example"), event(3, "e.example"), now=START + DAY)
    drained(event(4, "f.example"), event(5, "g.example"), now=START + 2 * DAY)


def test_an_untouched_trail_verifies() -> None:
    assert found() == []
    three_days()
    assert found() == []
    assert [(head.day, head.first_position, head.last_position, head.attempts) for head in DayHead.objects.order_by("day")] == [
        (date(2026, 1, 31), 1, 3, 9),
        (date(2026, 2, 1), 4, 5, 2),
    ]
    assert list(EgressEvent.objects.order_by("position").values_list("position", flat=True)) == [1, 2, 3, 4, 5, 6, 7]


def test_the_digest_is_what_the_documentation_says() -> None:
    """docs/trail.md; an auditor may recompute it with nothing but SHA-256."""
    row = event(0, "ü.example", count=3)
    row.position = 1
    text = '[1,1769860800000000,1769860800000000,1769860805000000,3,"api","vm:1","ü.example",443,"/v1","public","why","http","feed.kev","","x"]'
    assert row_digest(chain.GENESIS, row) == hashlib.sha256(("0" * 64 + text).encode()).hexdigest()


@pytest.mark.parametrize(
    ("statement", "day", "position"),
    [
        ("UPDATE airgap_egressevent SET count = 1 WHERE position = 2", date(2026, 1, 31), 2),
        ("UPDATE airgap_egressevent SET host = 'innocent.corp' WHERE position = 4", date(2026, 2, 1), 4),
        ("UPDATE airgap_egressevent SET first_seen = last_seen WHERE position = 6", date(2026, 2, 2), 6),
        ("DELETE FROM airgap_egressevent WHERE position = 5", date(2026, 2, 1), 5),
        ("DELETE FROM airgap_egressevent WHERE position = 1", date(2026, 1, 31), 1),
        ("DELETE FROM airgap_egressevent WHERE position = 7", date(2026, 2, 2), 7),
        ("DELETE FROM airgap_egressevent WHERE position >= 4 AND position <= 5", date(2026, 2, 1), 4),
        ("DELETE FROM airgap_dayhead WHERE day = '2026-02-01'", date(2026, 2, 2), 0),
        ("UPDATE airgap_dayhead SET attempts = 1 WHERE day = '2026-02-01'", date(2026, 2, 1), 0),
        ("UPDATE airgap_trailhead SET attempts = 1", date(2026, 2, 2), 0),
        ("DELETE FROM airgap_trailhead", None, 0),
        ("DELETE FROM airgap_trailhead", None, 6),
        (COPIED.format(0), None, 0),
        (COPIED.format(-7), None, -7),
        (COPIED.format(8), None, 8),
        ("UPDATE airgap_trailhead SET removed = 1", date(2026, 2, 2), 0),
    ],
)
def test_what_was_altered_or_removed_shows_with_its_day(statement: str, day: date | None, position: int, tamper: "Callable[..., None]") -> None:
    three_days()
    tamper(statement)
    assert (day, position) in [(broken.day, broken.position) for broken in found()]


def test_a_day_computed_anew_does_not_fit_its_signature(tamper: "Callable[..., None]") -> None:
    """Row 2 says 1 instead of 7, and every digest behind it is right again."""
    three_days()
    digest = EgressEvent.objects.get(position=1).digest
    for row in EgressEvent.objects.filter(position__gt=1).order_by("position"):
        row.count = 1
        digest = row_digest(digest, row)
        tamper("UPDATE airgap_egressevent SET count = 1, digest = %s WHERE position = %s", digest, row.position)
        tamper("UPDATE airgap_dayhead SET digest = %s WHERE last_position = %s", digest, row.position)
        tamper("UPDATE airgap_dayhead SET start = %s WHERE first_position = %s", digest, row.position + 1)
        tamper("UPDATE airgap_trailhead SET start = %s WHERE first_position = %s", digest, row.position + 1)
        tamper("UPDATE airgap_trailhead SET digest = %s", digest)
    tamper("UPDATE airgap_dayhead SET attempts = 3 WHERE first_position = 1")
    assert {(broken.day, broken.what) for broken in found()} == {
        (day, "The head's signature does not fit its content.") for day in (date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 2))
    }


OPEN_DAY_FORGED = (
    "UPDATE airgap_trailhead SET digest = '{0}'",
    "UPDATE airgap_egressevent SET host = 'innocent.corp', digest = '{0}' WHERE position = 7",
)
OPEN_DAY_CUT = "DELETE FROM airgap_egressevent WHERE position > 5", "UPDATE airgap_trailhead SET position = 5, digest = start, attempts = 0"


@pytest.mark.parametrize(
    "statements",
    [
        OPEN_DAY_FORGED,
        OPEN_DAY_CUT,
        (*OPEN_DAY_CUT, "UPDATE airgap_trailhead SET day = NULL"),
        ("DELETE FROM airgap_egressevent WHERE position > 5", "UPDATE airgap_trailhead SET day = NULL"),
        ("UPDATE airgap_trailhead SET position = 6",),
        ("DELETE FROM airgap_egressevent WHERE position > 5", "UPDATE airgap_trailhead SET attempts = 1"),
        ("DELETE FROM airgap_egressevent WHERE position > 3", "UPDATE airgap_trailhead SET position = 3, day = NULL"),
        ("DELETE FROM airgap_egressevent", "DELETE FROM airgap_dayhead", "UPDATE airgap_trailhead SET position = 0, day = NULL"),
    ],
)
def test_a_later_drain_signs_nothing_that_was_forged_into_the_open_day(statements: tuple[str, ...], tamper: "Callable[..., None]") -> None:
    """Nor does the night that passes without one. And what is refused afterwards is stored all the same."""
    three_days()
    DrainedSegment.objects.create(name="x", digest="", drained_at=START)
    forged = EgressEvent.objects.get(position=7)
    forged.host = "innocent.corp"
    digest = row_digest(EgressEvent.objects.get(position=6).digest, forged)
    for statement in statements:
        tamper(statement.format(digest))
    assert found()
    drained(event(6, "h.example"), now=START + 2 * DAY)
    assert found()
    drained(event(7, "i.example"), now=START + 3 * DAY)
    assert found()
    assert set(EgressEvent.objects.values_list("host", flat=True)) >= {"h.example", "i.example"}
    assert TrailHead.objects.get().key == deployment_key().fingerprint


def test_a_night_without_a_drain_signs_nothing_that_was_forged(at: "Callable[[datetime], None]", tamper: "Callable[..., None]") -> None:
    three_days()
    tamper("DELETE FROM airgap_egressevent WHERE position > 5")
    tamper("UPDATE airgap_trailhead SET position = 5, digest = start, attempts = 0")
    live_through(at, START + 5 * DAY)
    assert found()


def test_heads_signed_by_a_stranger_are_not_believed() -> None:
    with transaction.atomic():
        stranger = read_key("A" * 43 + "=")
        chain.append(chain.locked_head(stranger), [row := event(0)], START, stranger)
        EgressEvent.objects.bulk_create([row])
    assert ["not trusted" in broken.what for broken in found()] == [True]


def test_the_database_refuses_to_change_a_row() -> None:
    drained(event(0))
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute("UPDATE airgap_egressevent SET count = 0")
    with pytest.raises(TypeError, match="append-only"):
        EgressEvent.objects.update(count=0)
    with pytest.raises(TypeError, match="append-only"):
        EgressEvent.objects.all().delete()


@pytest.mark.parametrize("left", ["rows", "heads", "receipts"])
def test_a_trail_whose_head_was_removed_is_told_and_nothing_is_drained_onto_it(left: str, tamper: "Callable[..., None]", spool_dir: Path) -> None:
    three_days()
    DrainedSegment.objects.create(name="x", digest="", drained_at=START)
    tamper("DELETE FROM airgap_trailhead")
    for name, table in (("rows", "airgap_egressevent"), ("heads", "airgap_dayhead"), ("receipts", "airgap_drainedsegment")):
        if name != left:
            tamper(f"DELETE FROM {table}")
    assert (None, 0) in [(broken.day, broken.position) for broken in found()]
    recorder = events.recorder()
    assert recorder is not None
    recorder.record(events.Refusal("a.example", 443, Rule.PUBLIC, "why", events.Layer.DNS))
    assert "airgap_trailhead" in drain_quietly()
    assert len(list(spool_dir.glob("*.sealed"))) == 1, "what waits is kept"


# ── Retention ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> "Callable[[datetime], None]":
    return lambda moment: monkeypatch.setattr("airgap.clock.now", lambda: moment)


def positions() -> list[int]:
    return list(EgressEvent.objects.order_by("position").values_list("position", flat=True))


def live_through(at: "Callable[[datetime], None]", until: datetime, step: timedelta = DAY) -> None:
    """tidy() day by day, as a deployment that stands runs it."""
    head = TrailHead.objects.get()
    assert head.day is not None
    moment = datetime.combine(head.day, until.timetz())
    while moment <= until:
        at(moment)
        retention.tidy()
        moment += step


def test_rows_past_retention_go_and_their_heads_stay(at: "Callable[[datetime], None]", settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    settings.AIRGAP_TRAIL_DAYS = 10
    three_days()
    now = datetime(2026, 2, 12, 0, 30, tzinfo=UTC)  # the 31st and the 1st are past ten days, the 2nd is not
    live_through(at, now)
    assert positions() == [6, 7]
    assert DayHead.objects.count() == 3, "the 2nd is over too"
    assert found() == []
    assert EgressTotal.objects.count() == 0, "all of it happened on the 31st"
    drained(event(6), now=now)
    assert found() == []


def test_a_removal_in_small_steps_verifies_at_each(at: "Callable[[datetime], None]", settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    monkeypatch.setattr(retention, "BATCHES", 2)
    three_days()
    live_through(at, START + 30 * DAY)
    settings.AIRGAP_TRAIL_DAYS = 10
    for left in (5, 3, 1, 0, 0):
        retention.tidy()
        assert EgressEvent.objects.count() == left
        assert found() == []


def test_what_was_removed_by_others_shows_in_old_days_too(at: "Callable[[datetime], None]", settings: object, tamper: "Callable[..., None]") -> None:
    settings.AIRGAP_TRAIL_DAYS = 10
    three_days()
    tamper("DELETE FROM airgap_egressevent WHERE position <= 2")
    live_through(at, datetime(2026, 2, 9, 12, tzinfo=UTC))
    assert (date(2026, 1, 31), 1) in [(broken.day, broken.position) for broken in found()]


def test_a_day_that_somebody_made_old_is_not_removed_in_the_products_name(at: "Callable[[datetime], None]", tamper: "Callable[..., None]") -> None:
    """Its date put back after the removal, nothing would show."""
    three_days()
    live_through(at, START + 4 * DAY)
    tamper("UPDATE airgap_dayhead SET day = '2001-01-01' WHERE first_position = 1")
    retention.tidy()
    tamper("UPDATE airgap_dayhead SET day = '2026-01-31' WHERE first_position = 1")
    assert positions() == [1, 2, 3, 4, 5, 6, 7]
    assert found() == []


def test_rows_of_days_that_are_not_signed_go_with_the_next_day_that_is(
    at: "Callable[[datetime], None]", settings: object, tamper: "Callable[..., None]"
) -> None:
    """A signing key that was lost once kept every row behind it for good."""
    settings.AIRGAP_TRAIL_DAYS = 10
    three_days()
    tamper("UPDATE airgap_trailhead SET key = 'that of before'")
    tamper("UPDATE airgap_dayhead SET key = 'that of before'")
    drained(event(8, "h.example"), now=START + 3 * DAY)
    live_through(at, START + 13 * DAY)
    assert positions() == [1, 2, 3, 4, 5, 6, 7, 8], "what the days themselves say of their date counts for nothing"
    live_through(at, START + 14 * DAY)
    assert positions() == []
    assert date(2026, 2, 2) in {broken.day for broken in found()}, "the break shows for good"


def test_a_missing_row_does_not_end_retention(at: "Callable[[datetime], None]", settings: object, tamper: "Callable[..., None]") -> None:
    settings.AIRGAP_TRAIL_DAYS = 10
    three_days()
    tamper("DELETE FROM airgap_egressevent WHERE position = 3")
    live_through(at, START + 30 * DAY)
    assert positions() == []


def test_the_first_row_that_retention_left_is_held_by_the_head(
    at: "Callable[[datetime], None]", settings: object, monkeypatch: pytest.MonkeyPatch, tamper: "Callable[..., None]"
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    monkeypatch.setattr(retention, "BATCHES", 1)
    three_days()
    live_through(at, START + 30 * DAY)
    settings.AIRGAP_TRAIL_DAYS = 10
    retention.tidy()
    assert positions()[0] == 2
    tamper("UPDATE airgap_egressevent SET count = 1 WHERE position = 2")
    assert [(broken.day, broken.position) for broken in found()] == [(date(2026, 1, 31), 2)]


def test_a_clock_that_jumps_ahead_for_a_while_removes_nothing(at: "Callable[[datetime], None]") -> None:
    three_days()
    at(START + 2 * DAY)
    retention.tidy()
    at(START + 1000 * DAY)
    for _ in range(3):
        retention.tidy()
    assert positions() == [1, 2, 3, 4, 5, 6, 7]
    at(START + 2 * DAY)
    retention.tidy()
    drained(event(8), now=START + 2 * DAY)
    live_through(at, START + 6 * DAY)
    assert positions() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [str(head.day) for head in DayHead.objects.order_by("first_position")] == ["2026-01-31", "2026-02-01", "2026-02-02", "2026-02-02"]
    assert found() == []


def test_a_finished_day_is_sealed_even_when_nothing_more_is_refused(at: "Callable[[datetime], None]") -> None:
    drained(event(0))
    at(START + timedelta(hours=2))
    retention.tidy()
    assert DayHead.objects.count() == 0
    at(START + DAY)
    retention.tidy()
    retention.tidy()
    assert [(head.day, head.last_position) for head in DayHead.objects.all()] == [(date(2026, 1, 31), 1)]
    at(START + 2 * DAY)
    retention.tidy()
    assert DayHead.objects.count() == 1, "a day without rows has no head"
    assert found() == []


def test_a_clock_set_back_breaks_nothing() -> None:
    three_days()
    drained(event(9), now=START)
    drained(event(10), now=START + 3 * DAY)
    assert found() == []
    assert [str(head.day) for head in DayHead.objects.order_by("first_position")] == ["2026-01-31", "2026-02-01", "2026-02-02", "2026-01-31"]
