"""What the product tells by itself: news once, grouped, repeated quietly, and only what is switched on."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from actions import matters, tasks
from actions.matters import is_news, look_and_tell
from actions.models import Delivery, Matter
from airgap import announce, checklist, standing
from airgap.announce import Announcement, Kind, Severity
from airgap.checklist import ChecklistItem, Finding, Verdict
from tests.airgap.trail import drained, event
from tests.console.fixtures import heard, ran  # noqa: F401
from threatintel.checklist import stale_feeds

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.get_default_timezone())
Environment = Callable[..., Any]


class World:
    """What holds now, instead of the product's sources; and the time."""

    def __init__(self) -> None:
        self.now = NOW
        self.holds: list[Announcement] = []

    def drifts(self, *names: str) -> None:
        self.holds = [Announcement(Kind.DRIFT, name, f"{name} drifts", "Set AISOC_AIRGAPPED=1.", Severity.HIGH) for name in names]

    def look(self, **later: float) -> list[tuple[str, str]]:
        """Title and text of each delivery that a round makes, so much later."""
        self.now += timedelta(**later)
        return [(delivery.title, delivery.text) for delivery in look_and_tell()]


@pytest.fixture
def world(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> World:
    environment(AISOC_NOTIFY_CHANNEL="slack", SLACK_WEBHOOK_URL="http://relay/x")
    made = World()
    monkeypatch.setattr("airgap.clock.now", lambda: made.now)
    monkeypatch.setattr(announce, "_sources", {"world": lambda: made.holds})
    return made


@pytest.fixture
def unheard() -> Iterator[None]:
    """No receiver, as in a process without the app."""
    kept = list(announce._receivers)
    announce._receivers.clear()
    yield
    announce._receivers[:] = kept


def test_a_matter_is_told_once_while_it_holds_and_again_after_a_day(world: World) -> None:
    world.drifts("worker-2")
    assert world.look() == [("worker-2 drifts", "Set AISOC_AIRGAPPED=1.")]
    assert [world.look(minutes=50) for _ in range(28)] == [[]] * 28
    assert world.look(minutes=50) == [("worker-2 drifts", "Set AISOC_AIRGAPPED=1.")]


def test_a_matter_that_comes_back_is_news_only_after_quiet(world: World) -> None:
    world.drifts("worker-2")
    world.look()
    world.drifts()
    world.look(minutes=20)
    world.drifts("worker-2")
    assert world.look(minutes=20) == []  # it flaps
    world.drifts()
    world.look(minutes=40)
    world.drifts("worker-2")
    assert len(world.look(minutes=40)) == 1


def test_matters_of_a_kind_are_one_message_with_the_worst_severity(world: World) -> None:
    world.drifts(*(f"worker-{number}" for number in range(25)))
    world.holds.append(Announcement(Kind.DRIFT, "worst", "worst drifts", "Everything.", Severity.CRITICAL))
    ((title, text),) = world.look()
    assert title == "26 processes drift"
    assert text.splitlines()[0] == "worker-0 drifts. Set AISOC_AIRGAPPED=1."
    assert text.splitlines()[-1] == "And 6 more."
    assert Delivery.objects.get().severity == "critical"
    world.drifts("worker-0", "worker-30")
    assert world.look(minutes=1) == [("worker-30 drifts", "Set AISOC_AIRGAPPED=1.")]


def test_what_happens_is_counted_and_told_at_most_once_in_quiet(world: World) -> None:
    def rotated() -> bool:
        return announce.announce(Kind.CREDENTIAL, "acme", "Credential of acme changed", "By alice.", Severity.LOW)

    assert rotated()
    assert world.look(minutes=1) == [("Credential of acme changed", "By alice.")]
    assert rotated()
    assert rotated()
    assert world.look(minutes=1) == []
    assert world.look(minutes=60) == [("Credential of acme changed", "Credential of acme changed (2 times since 2026-11-20 12:01 UTC). By alice.")]
    assert world.look(hours=30) == []


@pytest.mark.parametrize("variables", [{}, {"AISOC_NOTIFY_CHANNEL": "slack", "AISOC_NOTIFY_EVENTS": "egress,checklist"}])
def test_what_is_switched_off_is_neither_told_nor_kept(world: World, environment: Environment, variables: dict[str, str]) -> None:
    environment(**variables)
    world.drifts("worker-2")
    announce.announce(Kind.CREDENTIAL, "acme", "Credential of acme changed", "By alice.")
    assert world.look() == []
    assert not Matter.objects.exists()


def test_a_channel_without_a_destination_is_a_failed_delivery_that_is_seen(world: World, environment: Environment) -> None:
    environment(AISOC_NOTIFY_CHANNEL="teams")
    world.drifts("worker-2")
    world.look()
    assert Delivery.objects.get().state == "failed"


def test_the_watch_sends_what_it_tells(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: sent.append(options["args"]))
    world.drifts("worker-2")
    tasks.watch()
    assert sent == [(Delivery.objects.get().pk,)]


def test_matters_that_nobody_saw_for_long_are_forgotten(world: World) -> None:
    world.drifts("worker-2")
    world.look()
    world.now += timedelta(days=91)
    assert matters.forget_old() == 1


QUIET, REPEAT = timedelta(hours=1), timedelta(hours=24)


@pytest.mark.parametrize(
    ("told_ago", "last_ago", "seen_ago", "news"),
    [
        (None, 0, 0, True),
        (0.1, 0.1, 0, False),
        (2, 0.9, 0, False),
        (2, 1, 0, True),
        (24, 0.1, 0, True),
        (23.9, 0.1, 0, False),
        (0.1, 1, 0.9, False),  # an attempt that was told already, looked at again
        (-3, 0.1, 0, True),  # told before the clock was set back
    ],
)
def test_what_is_news(told_ago: float | None, last_ago: float, seen_ago: float, news: bool) -> None:
    told = None if told_ago is None else NOW - timedelta(hours=told_ago)
    matter = Matter(told_at=told, last_at=NOW - timedelta(hours=last_ago))
    assert is_news(matter, NOW - timedelta(hours=seen_ago), NOW, quiet=QUIET, repeat=REPEAT) is news


# ── The port ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("unheard")
def test_an_announcement_without_a_receiver_is_counted() -> None:
    before = announce.unheard
    assert announce.announce(Kind.DRIFT, "k", "t", "m") is False
    assert announce.unheard == before + 1


@pytest.mark.usefixtures("unheard")
def test_a_receiver_that_breaks_undoes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Announcement) -> None:
        raise RuntimeError("planted")

    announce.receive(broken)
    assert announce.announce(Kind.DRIFT, "k", "t", "m") is False
    assert "announcement.lost" in caplog.text
    with pytest.raises(ValueError, match="receiver already"):
        announce.receive(lambda _: None)


def test_a_source_that_breaks_leaves_the_others(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[Announcement]:
        yield Announcement(Kind.DRIFT, "a", "a", "a")
        raise RuntimeError("planted")

    whole = Announcement(Kind.DRIFT, "b", "b", "b")
    monkeypatch.setattr(announce, "_sources", {"one": broken, "two": lambda: [whole]})
    assert list(announce.standing()) == [whole]
    assert "announcement.source_failed" in caplog.text


def test_the_apps_have_registered_their_sources() -> None:
    assert set(announce._sources) >= {"airgap.drifting", "airgap.attempts", "airgap.failing_items", "threatintel.stale_feeds"}
    with pytest.raises(ValueError, match="Two sources"):
        announce.register_source("airgap.drifting", list)


# ── The sources ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_drifting_process_is_a_matter_by_what_it_is(airgapped: Callable[..., Any], heard: Callable[..., Any]) -> None:  # noqa: F811
    airgapped()
    heard()
    heard("beat-9:12", service="threatintel", role="beat", airgapped=False, guard="inactive", digest="0" * 12)
    (found,) = standing.drifting()
    assert (found.kind, found.key, found.title) == (Kind.DRIFT, "beat-9/threatintel/beat", "beat-9:12 (threatintel) drifts")
    assert "AISOC_AIRGAPPED is off here" in found.message


def test_attempts_are_matters_by_host_without_the_notifications_own() -> None:
    minute = timezone.now().replace(second=0, microsecond=0)
    drained(
        event(minute=minute + timedelta(seconds=9), host="2606:4700::1111", port=443, count=3),
        event(minute=minute, host="hooks.slack.com", port=443, purpose="actions.slack"),
        event(minute=minute - timedelta(hours=3), host="old.example", port=443),
        *(event(minute=minute, host=f"h{number}.example", port=443) for number in range(25)),
    )
    found = list(standing.attempts())
    assert len(found) == standing.MOST + 1
    assert (found[0].key, found[0].message) == ("[2606:4700::1111]:443", "Attempts within the hour: 3. why")
    assert found[-1].key == "(more)"
    keys = {one.key for one in found}
    assert not keys & {"hooks.slack.com:443", "old.example:443"}


def test_failing_items_of_the_checklist_are_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    def item(id: str, verdict: Verdict) -> ChecklistItem:
        return ChecklistItem(id, id.title(), lambda _seen: Finding(verdict, "Seen.", "Do it."))

    items = [item("one", Verdict.FAILING), item("two", Verdict.UNKNOWN), item("three", Verdict.OK), item("no_blocks", Verdict.FAILING)]
    monkeypatch.setattr(checklist, "_items", {one.id: one for one in items})
    assert [(one.key, one.title, one.message) for one in standing.failing_items()] == [("one", "Checklist: One fails", "Seen. Do it.")]


def test_a_stale_feed_is_a_matter(environment: Environment, ran: Callable[..., Any]) -> None:  # noqa: F811
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="http://kev-mirror/feed.json")
    ran("kev", "failed", minutes_ago=5, reason="HTTP 500 from kev-mirror.")
    assert [(one.kind, one.key) for one in stale_feeds()] == [(Kind.FEED_STALE, "kev")]
