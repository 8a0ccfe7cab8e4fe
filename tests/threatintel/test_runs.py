"""Runs: one claim at a time, lost claims write nothing, lost messages are found again, poison is parked."""

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from threatintel import runs
from threatintel.models import FeedRun, SchedulerLease

pytestmark = pytest.mark.django_db(transaction=True)


def expire(run: FeedRun) -> None:
    past = timezone.now() - timedelta(seconds=1)
    FeedRun.objects.filter(pk=run.pk).update(lease_until=past, not_before=past)


def opened(slot: str = "1.1") -> FeedRun:
    run = runs.open_run("kev", slot)
    assert run is not None
    return run


def test_a_slot_is_opened_once() -> None:
    opened()
    assert runs.open_run("kev", "1.1") is None
    assert runs.open_run("otx", "1.1") is not None
    assert FeedRun.objects.count() == 2


def test_a_run_is_claimed_once_however_often_the_message_comes() -> None:
    opened()
    assert runs.claim("kev", "1.1") is not None
    assert runs.claim("kev", "1.1") is None


def test_a_finished_run_is_not_claimed_again() -> None:
    opened()
    run = runs.claim("kev", "1.1")
    assert run is not None
    runs.finish(run, runs.State.OK)
    expire(run)
    assert runs.claim("kev", "1.1") is None
    assert list(runs.overdue()) == []


def test_one_claim_a_feed_at_a_time() -> None:
    opened("1.1")
    first = runs.claim("kev", "1.1")
    opened("1.2")
    assert runs.claim("kev", "1.2") is None
    assert first is not None
    runs.finish(first, runs.State.OK)
    assert runs.claim("kev", "1.2") is not None


def test_of_many_claimers_at_once_one_wins() -> None:
    opened()
    won: list[int] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        if runs.claim("kev", "1.1") is not None:
            won.append(1)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_a_dead_workers_run_is_overdue_and_its_old_claim_writes_nothing() -> None:
    opened()
    dead = runs.claim("kev", "1.1")
    assert dead is not None
    assert list(runs.overdue()) == []
    expire(dead)
    assert [run.pk for run in runs.overdue()] == [dead.pk]
    heir = runs.claim("kev", "1.1")
    assert heir is not None
    assert heir.attempt == 2
    with pytest.raises(runs.ClaimLost):
        runs.confirm(dead)
    with pytest.raises(runs.ClaimLost):
        runs.finish(dead, runs.State.OK)
    runs.finish(heir, runs.State.OK)
    assert FeedRun.objects.get().state == "ok"


def test_a_queued_run_whose_message_was_lost_is_overdue_and_not_nudged_too_often() -> None:
    run = opened()
    assert list(runs.overdue()) == []
    expire(run)
    assert [one.pk for one in runs.overdue()] == [run.pk]
    runs.nudged(run)
    assert list(runs.overdue()) == []


def test_a_run_that_waits_for_its_back_off_is_neither_claimed_nor_overdue() -> None:
    opened()
    run = runs.claim("kev", "1.1")
    assert run is not None
    runs.retry_or_fail(run, "HTTP 500")
    assert runs.claim("kev", "1.1") is None
    assert list(runs.overdue()) == []


def test_back_off_grows() -> None:
    assert [runs.back_off(attempt).total_seconds() for attempt in (1, 2, 3, 4)] == [5, 15, 45, 135]


def test_a_run_that_kills_its_worker_each_time_is_given_up() -> None:
    opened()
    for _ in range(runs.MAX_ATTEMPTS):
        run = runs.claim("kev", "1.1")
        assert run is not None
        expire(run)
    assert runs.claim("kev", "1.1") is None
    parked = FeedRun.objects.get()
    assert (parked.state, "Given up after 5 attempts" in parked.reason) == ("failed", True)
    assert list(runs.overdue()) == []


def test_a_newer_slot_takes_the_place_of_a_queued_one() -> None:
    opened("1.1")
    opened("1.2")
    assert FeedRun.objects.get(slot="1.1").state == "failed"
    assert runs.claim("kev", "1.1") is None
    assert runs.claim("kev", "1.2") is not None


def test_the_lease_is_renewed_while_the_work_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RENEW_EVERY", 0.05)
    opened()
    run = runs.claim("kev", "1.1")
    assert run is not None
    FeedRun.objects.update(lease_until=timezone.now() + timedelta(seconds=1))
    with runs.lease_kept(run):
        deadline = timezone.now() + timedelta(seconds=10)
        while FeedRun.objects.get().lease_until < timezone.now() + timedelta(seconds=10):
            assert timezone.now() < deadline


def test_a_clock_that_was_set_back_leaves_no_lease_for_ever() -> None:
    opened()
    dead = runs.claim("kev", "1.1")
    assert dead is not None
    FeedRun.objects.update(lease_until=timezone.now() + timedelta(hours=1))
    assert [run.pk for run in runs.overdue()] == [dead.pk]
    assert runs.claim("kev", "1.1") is not None


def test_a_run_of_a_feed_that_is_not_configured_any_more_is_ended(environment: object) -> None:
    from threatintel.tasks import poll

    environment()  # type: ignore[operator]
    runs.open_run("otx", "1.1")
    poll("otx", "1.1")
    run = FeedRun.objects.get()
    assert (run.state, "not configured" in run.reason) == ("failed", True)


def test_a_run_waits_as_long_as_the_server_asked_whatever_slots_come_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes were taken for a moment beyond every wait, written before the clock was set back: five polls followed at once."""
    SchedulerLease.objects.create(name="beat", epoch=7)
    start = timezone.now()
    assert runs.open_run("kev", "7.1.same", epoch=7) is not None
    run = runs.claim("kev", "7.1.same")
    assert run is not None
    runs.retry_or_fail(run, "HTTP 429", after=timedelta(hours=1))
    for minutes in (0, 10, 59):
        monkeypatch.setattr("airgap.clock.now", lambda minutes=minutes: start + timedelta(minutes=minutes))
        assert list(runs.overdue()) == []
        assert runs.claim("kev", "7.1.same") is None
        assert runs.open_run("kev", f"7.{minutes + 2}.same", epoch=7) is None
    monkeypatch.setattr("airgap.clock.now", lambda: start + timedelta(minutes=61))
    assert [one.slot for one in runs.overdue()] == ["7.1.same"]
    again = runs.claim("kev", "7.1.same")
    assert again is not None
    runs.retry_or_fail(again, "HTTP 429", after=timedelta(hours=1))
    assert runs.open_run("kev", "7.99.other", epoch=7) is not None, "other settings may mean another server"
    assert runs.open_run("kev", runs.manual_slot()) is not None
