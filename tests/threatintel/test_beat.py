"""The scheduler's rules: one leader, fresh slots at each leadership, and a broker that is away loses nothing."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from airgap.policy import EgressPolicy
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body
from threatintel import runs
from threatintel.beat import FIRST_WITHIN, LEASE, LEASE_NAME, Timetable, announce, hold_lease, release_lease
from threatintel.models import FeedRun, IndicatorSource, SchedulerLease
from threatintel.poll import poll
from threatintel.registry import feed_named
from threatintel.schedule import plan
from threatintel.specs import FeedSpec

pytestmark = pytest.mark.django_db(transaction=True)
Environment = Callable[..., object]
ON = EgressPolicy.from_text("1", "")


def spec(name: str, url: str = "http://mirror/x", every: float = 3600) -> FeedSpec:
    return FeedSpec(name=name, title=name, kind="kev", url=url, every=timedelta(seconds=every), fetch=lambda *_: iter(()))


class Sent:
    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.broken = False

    def __call__(self, feed: str, slot: str) -> None:
        if self.broken:
            raise ConnectionError("no broker")
        self.messages.append((feed, slot))


def lead(table: Timetable, epoch: int, now: float) -> None:
    """Start a leadership as the lease in the database has it."""
    SchedulerLease.objects.update_or_create(name="beat", defaults={"epoch": epoch})
    table.lead(epoch, now=now)


def timetable(*specs: FeedSpec) -> tuple[Timetable, Sent]:
    sent = Sent()
    return Timetable(plan(specs, ON), ON, sent), sent


def test_of_several_schedulers_one_leads_and_a_dead_one_is_replaced() -> None:
    assert hold_lease("a") == 1
    assert hold_lease("b") is None
    assert hold_lease("a") == 1
    SchedulerLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert hold_lease("b") == 2
    assert hold_lease("a") is None


def test_a_scheduler_that_stops_cleanly_gives_the_lease_back() -> None:
    hold_lease("a")
    release_lease("b")
    assert hold_lease("b") is None
    release_lease("a")
    assert hold_lease("b") == 2


def test_a_leader_that_lost_its_lease_starts_a_new_leadership() -> None:
    assert hold_lease("a") == 1
    SchedulerLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert hold_lease("a") == 2


def test_a_scheduler_that_waited_for_a_renewal_does_not_take_it_for_a_clock_that_was_set_back() -> None:
    """It asked before the leader did and looks after it: the lease then ends later than one could at the moment of the question."""
    assert hold_lease("a") == 1
    answers: list[int | None] = []

    def wait() -> None:
        answers.append(hold_lease("b"))
        connections.close_all()

    other = threading.Thread(target=wait)
    with transaction.atomic():
        SchedulerLease.objects.select_for_update().get(name=LEASE_NAME)
        other.start()
        time.sleep(0.5)
        assert hold_lease("a") == 1
    other.join(10)
    assert answers == [None]


def test_every_feed_is_first_polled_within_thirty_seconds_of_a_death() -> None:
    assert FIRST_WITHIN + LEASE.total_seconds() + 2 < 30
    table, sent = timetable(spec("a"), spec("b"))
    lead(table, 1, 1000.0)
    table.tick(1000.0 + FIRST_WITHIN + 0.01)
    assert [feed for feed, _slot in sent.messages] == ["a", "b"]


def test_a_feed_comes_round_once_a_period_in_slots_of_its_own() -> None:
    table, sent = timetable(spec("a", every=60))
    lead(table, 3, 0.0)
    for second in range(200):
        table.tick(float(second))
    slots = [slot for _feed, slot in sent.messages]
    assert len(slots) == len(set(slots)) == 4
    assert all(slot.startswith("3.") for slot in slots)


def test_a_new_leadership_opens_fresh_slots() -> None:
    table, sent = timetable(spec("a"))
    for epoch in (1, 2):
        lead(table, epoch, 0.0)
        table.tick(FIRST_WITHIN)
    assert [slot.split(".")[0] for _feed, slot in sent.messages] == ["1", "2"]
    assert FeedRun.objects.filter(feed="a").count() == 2


def test_after_a_failed_poll_and_a_restart_with_the_corrected_url_the_feed_is_polled_within_thirty_seconds(
    environment: Environment, mirror: Mirror
) -> None:
    def restarted(epoch: int, url: str) -> FeedRun:
        """A scheduler under that URL, and the poll that it sends."""
        environment(AISOC_AIRGAPPED="1", CISA_KEV_URL=url)
        kev = feed_named("kev")
        assert kev is not None
        table, sent = timetable(kev)
        lead(table, epoch, 0.0)
        table.tick(30.0 - LEASE.total_seconds())
        ((feed, slot),) = sent.messages
        poll(kev, slot)
        return FeedRun.objects.get(feed=feed, slot=slot)

    mirror.answers["/kev.json"] = body(catalogue([row(0)]))
    failed = restarted(1, f"{mirror.url}/wrong.json")
    assert (failed.state, failed.attempt) == ("queued", 1)
    assert failed.reason == "HTTP 404 from 127.0.0.1."
    assert (restarted(2, f"{mirror.url}/kev.json").state, IndicatorSource.objects.count()) == ("ok", 1)
    failed.refresh_from_db()
    assert (failed.state, failed.reason) == ("failed", "A newer poll of this feed has taken its place.")


def test_refused_and_unconfigured_feeds_have_no_entry() -> None:
    table, sent = timetable(spec("public", "https://feeds.example.com/"), spec("off", ""), spec("a"))
    lead(table, 1, 0.0)
    table.tick(60.0)
    assert [feed for feed, _slot in sent.messages] == ["a"]
    assert not FeedRun.objects.exclude(feed="a").exists()


def test_each_refused_feed_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announce(plan([spec("otx", "https://otx.alienvault.com"), spec("a")], ON))
    (line,) = [record.msg for record in caplog.records]
    assert isinstance(line, dict)
    assert (line["event"], line["feed"], line["host"], line["rule"]) == ("airgap.feed_blocked", "otx", "otx.alienvault.com", "public")


def test_a_poll_that_cannot_be_sent_is_kept_and_sent_when_the_broker_is_back() -> None:
    table, sent = timetable(spec("a"))
    sent.broken = True
    lead(table, 1, 0.0)
    table.tick(FIRST_WITHIN)
    assert FeedRun.objects.get().state == "queued"
    FeedRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sent.broken = False
    table.tick(FIRST_WITHIN + 10)
    assert [feed for feed, _slot in sent.messages] == ["a"]


def test_a_replaced_scheduler_opens_nothing() -> None:
    table, sent = timetable(spec("a"))
    lead(table, 1, 0.0)
    SchedulerLease.objects.update(epoch=2)
    table.tick(FIRST_WITHIN)
    assert (sent.messages, FeedRun.objects.count()) == ([], 0)


def test_one_failed_send_ends_the_tick_and_the_rest_is_sent_later() -> None:
    table, sent = timetable(spec("a"), spec("b"), spec("c"))
    tried: list[str] = []

    def slow(feed: str, _slot: str) -> None:
        tried.append(feed)
        raise TimeoutError

    table.send = slow
    lead(table, 1, 0.0)
    table.tick(FIRST_WITHIN)
    assert (len(tried), FeedRun.objects.filter(state="queued").count()) == (1, 3)
    FeedRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    table.send = sent
    table.tick(FIRST_WITHIN + 10)
    assert sorted(feed for feed, _slot in sent.messages) == ["a", "b", "c"]


def test_a_clock_that_was_set_back_ends_a_lease() -> None:
    assert hold_lease("a") == 1
    SchedulerLease.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    assert hold_lease("b") == 2


def test_a_dead_workers_run_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    table, sent = timetable(spec("a"))
    lead(table, 1, 0.0)
    table.tick(FIRST_WITHIN)
    run = runs.claim(*sent.messages[0])
    assert run is not None
    FeedRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    table.tick(FIRST_WITHIN + 10)
    assert sent.messages == [(run.feed, run.slot)] * 2


def test_celerys_scheduler_runs_the_timetable(environment: Environment) -> None:
    from aisoc_admin.celery import app
    from aisoc_admin.scheduler import LeasedScheduler

    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="http://kev-mirror/feed.json", OTX_API_KEY="x")
    scheduler = LeasedScheduler(app, lazy=False)
    try:
        assert [feed.name for feed in scheduler.timetable.plan.beat] == ["kev"]
        assert scheduler.tick() <= 2
        assert SchedulerLease.objects.get().holder == scheduler.holder
    finally:
        scheduler.close()
    assert SchedulerLease.objects.get().expires_at is None
