"""The feeds' states, each with its reason, and the API that shows them."""

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tenants.accounts import issue_token
from tenants.roles import Role
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body
from threatintel import api
from threatintel.models import FeedRun
from threatintel.snapshot import FeedSnapshot, Verdict, feeds_snapshot, recent_runs

pytestmark = pytest.mark.django_db(transaction=True)
Environment = Callable[..., object]
KEYS = [
    "name", "title", "kind", "state", "reason", "rule", "host", "every_seconds", "last_success", "last_attempt", "next_run", "data_date", "indicators",
]  # fmt: skip


def feed(name: str) -> FeedSnapshot:
    return next(one for one in feeds_snapshot() if one.name == name)


def ran(state: str, minutes_ago: float, reason: str = "", slot: str | None = None, feed: str = "kev") -> FeedRun:
    when = timezone.now() - timedelta(minutes=minutes_ago)
    return FeedRun.objects.create(
        feed=feed,
        slot=slot or f"1.{FeedRun.objects.count()}",
        state=state,
        attempt=1,
        not_before=when,
        started_at=when,
        finished_at=when,
        reason=reason,
    )


@pytest.fixture(autouse=True)
def _mirror(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="http://kev-mirror/feed.json", CISA_KEV_POLL_INTERVAL="3600", OTX_API_KEY="x")


def test_a_refused_feed_shows_the_gates_own_reason() -> None:
    otx = feed("otx")
    assert (otx.state, otx.rule, otx.host) == (Verdict.REFUSED, "public", "otx.alienvault.com")
    assert otx.reason == "otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST."
    assert (otx.last_success, otx.next_run, otx.indicators) == (None, None, 0)


def test_an_unconfigured_feed_is_off_and_says_what_to_set(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1")
    assert (feed("otx").state, "OTX_API_KEY" in feed("otx").reason) == (Verdict.OFF, True)


def test_a_feed_without_a_server_says_where_what_it_holds_came_from(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1")
    ran("ok", 60, feed="misp")
    assert (feed("misp").state, feed("misp").reason) == (
        Verdict.OFF,
        "Not configured, so nothing is polled; what it holds came earlier or as a file. Set MISP_URL and MISP_API_KEY.",
    )


def test_a_feed_that_never_ran_is_unknown() -> None:
    assert feed("kev").state is Verdict.UNKNOWN


def test_a_fresh_success_is_ok() -> None:
    ran("ok", 10)
    assert (feed("kev").state, feed("kev").reason) == (Verdict.OK, "")
    assert feed("kev").next_run is not None


def test_an_import_moves_no_poll() -> None:
    ran("ok", 30)
    FeedRun.objects.update(created_at=timezone.now() - timedelta(minutes=30))
    due = feed("kev").next_run
    ran("ok", 1, slot="import.1")
    assert due is not None
    assert feed("kev").next_run == due


def test_a_failure_with_fresh_data_is_attention() -> None:
    ran("ok", 30)
    ran("failed", 1, "HTTP 500 from kev-mirror.")
    kev = feed("kev")
    assert (kev.state, kev.reason) == (Verdict.ATTENTION, "HTTP 500 from kev-mirror.")
    assert kev.last_attempt > kev.last_success


def test_a_run_that_waits_for_another_try_is_attention() -> None:
    ran("ok", 30)
    ran("queued", 1, "HTTP 500 from kev-mirror.")
    assert feed("kev").state is Verdict.ATTENTION


def test_data_older_than_three_periods_is_failing_whatever_came_last() -> None:
    ran("ok", 181)
    assert (feed("kev").state, "3 periods" in feed("kev").reason) == (Verdict.FAILING, True)


def test_a_feed_that_only_ever_failed_is_failing() -> None:
    ran("failed", 1, "HTTP 404 from kev-mirror.")
    assert (feed("kev").state, feed("kev").reason) == (Verdict.FAILING, "HTTP 404 from kev-mirror.")


def test_a_running_poll_keeps_the_state_of_the_last_one() -> None:
    ran("ok", 30)
    ran("running", 0)
    assert feed("kev").state is Verdict.OK


def test_the_api_shows_the_snapshot_key_by_key() -> None:
    ran("ok", 10)
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    body_ = Client().get("/api/v1/threatintel/feeds", headers=token).json()
    assert [list(one) for one in body_["results"]] == [KEYS] * 5
    kev = body_["results"][0]
    assert (kev["state"], kev["every_seconds"]) == ("OK", 3600)
    assert kev["last_success"].endswith("Z")


def test_search_finds_an_indicator_with_its_sources(mirror: Mirror, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL=f"{mirror.url}/kev.json")
    mirror.answers["/kev.json"] = body(catalogue([row(0), row(1)]))
    out = io.StringIO()
    call_command("poll_feed", "kev", stdout=out)
    assert "2 records read, 2 new" in out.getvalue()
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}

    def search(**query: str) -> dict[str, object]:
        response = Client().get("/api/v1/iocs/search", query, headers=token)
        assert response.status_code == 200
        return response.json()

    (found,) = search(value="cve-2024-10001")["results"]
    assert list(found) == ["type", "value", "status", "confidence", "tlp", "labels", "first_seen", "last_seen", "valid_until", "sources"]
    assert (found["type"], found["value"], found["status"], found["confidence"], found["tlp"]) == (
        "vulnerability",
        "CVE-2024-10001",
        "active",
        100,
        "clear",
    )
    assert found["sources"] == [
        {
            "feed": "kev",
            "external_id": "CVE-2024-10001",
            "confidence": 100,
            "tlp": "clear",
            "url": "https://nvd.nist.gov/vuln/detail/CVE-2024-10001",
            "status": "active",
            "context": False,
        }
    ]
    assert search(value="CVE-1999-0001")["results"] == []
    assert len(search(type="vulnerability", source="kev")["results"]) == 2
    assert search(source="otx")["results"] == []
    first = search(page_size="1")
    assert len(first["results"]) == 1
    assert "cursor=" in str(first["next"])
    mirror.answers["/kev.json"] = body(catalogue([row(0)]))
    call_command("poll_feed", "kev", stdout=out)
    (gone,) = search(value="CVE-2024-10001")["results"]
    assert gone["status"] == "revoked"


def test_search_takes_a_handful_of_queries_however_many_rows(
    mirror: Mirror, environment: Environment, django_assert_max_num_queries: Callable[..., object]
) -> None:
    environment(CISA_KEV_URL=f"{mirror.url}/kev.json")
    mirror.answers["/kev.json"] = body(catalogue([row(number) for number in range(120)]))
    call_command("poll_feed", "kev", stdout=io.StringIO())
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    with django_assert_max_num_queries(6):
        Client().get("/api/v1/iocs/search", {"page_size": "100"}, headers=token)


@pytest.mark.parametrize("size", ["0", "x", "-1", "501", "1.5", "", "\u0663"])
def test_a_page_size_that_is_none_is_said(size: str) -> None:
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    answer = Client().get("/api/v1/iocs/search", {"page_size": size}, headers=token)
    assert (answer.status_code, answer.json()["field"]) == (400, "page_size")


@pytest.mark.parametrize(("name", "word"), [("nope", "no feed named"), ("otx", "otx.alienvault.com is a public name")])
def test_poll_feed_refuses_with_the_reason(name: str, word: str) -> None:
    with pytest.raises(CommandError, match=word):
        call_command("poll_feed", name)


def test_poll_feed_fails_with_the_reason(mirror: Mirror, environment: Environment) -> None:
    environment(CISA_KEV_URL=f"{mirror.url}/missing.json")
    with pytest.raises(CommandError, match="HTTP 404"):
        call_command("poll_feed", "kev")


def test_poll_now_opens_a_run_and_sends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setattr(api.poll_task, "apply_async", lambda **options: sent.append(options))
    token = {"Authorization": f"Token {issue_token('alice', Role.OPERATOR, 1)}"}
    response = Client().post("/api/v1/threatintel/feeds/kev/poll", headers=token)
    assert response.status_code == 202
    run = FeedRun.objects.get(pk=response.json()["run"])
    assert response.json()["sent"] is True
    assert sent[0]["args"] == ("kev", run.slot)
    refused = Client().post("/api/v1/threatintel/feeds/otx/poll", headers=token)
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_poll")


def test_poll_now_without_a_broker_keeps_the_run_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real task and the real broker URL, with no server behind it."""
    from aisoc_admin.celery import app

    assert api.poll_task.app == app
    token = {"Authorization": f"Token {issue_token('alice', Role.OPERATOR, 1)}"}
    response = Client().post("/api/v1/threatintel/feeds/kev/poll", headers=token)
    assert (response.status_code, response.json()["sent"]) == (202, False)
    assert FeedRun.objects.get().state == "queued"


def test_recent_runs_are_newest_first() -> None:
    older, newer = ran("ok", 10), ran("failed", 1, "why")
    assert [run.pk for run in recent_runs("kev")] == [newer.pk, older.pk]
