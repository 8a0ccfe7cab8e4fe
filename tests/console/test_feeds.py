"""Threat-intel feeds: states, filters, details, and the one button."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from threatintel.models import FeedRun, SchedulerLease

URL = "/settings/feeds/"
Text = Callable[[Any], str]
Ran = Callable[..., FeedRun]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed")]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Messages to the worker, instead of a broker."""
    out: list[tuple[str, str]] = []
    monkeypatch.setattr("threatintel.api.poll_task.apply_async", lambda args, **_: out.append(args))
    return out


def row(page: Any, name: str) -> str:
    """The HTML of one feed's row and what opens beneath it."""
    body: str = page.content.decode()
    return body.split(f'<tbody id="feed-{name}">')[1].split("\n</tbody>")[0]


def states(page: Any) -> list[str]:
    return [one.snapshot.state.value for one in page.context["page"].rows]


# ── States ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_refused_feed_is_listed_calmly_with_reason_rule_and_text_to_file(auditor: Client, text: Text) -> None:
    page = auditor.get(URL)
    assert "REFUSED otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST. never never registered – – 0" in text(page)
    assert "never: it is not registered with the scheduler" in text(page)
    assert "- Rule: public" in row(page, "otx")
    assert "Copy refusal as Markdown" in row(page, "otx")


def test_a_feed_that_never_ran_is_unknown(auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL))
    assert "UNKNOWN Never polled yet; the first poll comes within 30 seconds of the scheduler's start. never never – –every 24 h 0" in page


def test_a_feed_with_a_fresh_success_is_ok_with_counts(auditor: Client, ran: Ran, indicators: Callable[[str, int], None], text: Text) -> None:
    indicators("kev", 1404)
    ran("kev", "ok", minutes_ago=4, fetched=1404, added=3)
    page = text(auditor.get(URL))
    assert "OK 1 registered · 1 refused at registration · 3 off." in page
    assert "every 24 h 1,404+3 records, new in the last successful poll" in page


def test_a_failed_poll_over_fresh_data_needs_attention(auditor: Client, ran: Ran, text: Text) -> None:
    ran("kev", "ok", minutes_ago=60)
    ran("kev", "failed", minutes_ago=1, reason="kev-mirror.internal: HTTP 500.")
    page = text(auditor.get(URL))
    assert "ATTENTION 1 registered, 1 of them needs attention · 1 refused" in page
    assert "ATTENTION kev-mirror.internal: HTTP 500. 60 min ago" in page


def test_stale_data_is_failing(auditor: Client, ran: Ran) -> None:
    ran("kev", "ok", minutes_ago=4 * 24 * 60)
    ran("kev", "failed", minutes_ago=1, reason="kev-mirror.internal: HTTP 500.")
    page = auditor.get(URL)
    assert states(page) == ["FAILING", "OFF", "OFF", "REFUSED", "OFF"]
    assert 'class="banner failing"' in page.content.decode()


def test_an_unconfigured_feed_is_off_and_says_what_to_set(auditor: Client, environment: Callable[..., object], text: Text) -> None:
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="http://kev-mirror.internal/feed.json")
    page = text(auditor.get(URL))
    assert "OFF Not configured. Set OTX_API_KEY, and OTX_BASE_URL for a mirror." in page
    assert "0 refused" in page


def test_only_refused_feeds_give_a_calm_verdict(auditor: Client, environment: Callable[..., object], text: Text) -> None:
    environment(AISOC_AIRGAPPED="1")
    page = auditor.get(URL)
    assert states(page) == ["REFUSED", "OFF", "OFF", "OFF", "OFF"]
    assert "REFUSED 0 registered · 1 refused at registration · 4 off." in text(page)


# ── What opens ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_details_name_each_variable_as_set_unset_or_default_and_never_a_value(auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL))
    for words in ("CISA_KEV_URL set", "CISA_KEV_POLL_INTERVAL default", "OTX_API_KEY set", "OTX_BASE_URL default"):
        assert words in page
    assert "otx-planted-8888" not in auditor.get(URL).content.decode()


def test_an_unset_variable_is_called_unset(auditor: Client, environment: Callable[..., object], text: Text) -> None:
    environment(AISOC_AIRGAPPED="1")
    assert "OTX_API_KEY unset" in text(auditor.get(URL))


def test_details_list_the_last_twenty_runs_newest_first(auditor: Client, ran: Ran) -> None:
    for number in range(25):
        ran("kev", "ok", minutes_ago=100 - number, fetched=number)
    page = auditor.get(URL)
    runs = page.context["page"].rows[0].runs
    assert [run.fetched for run in runs] == list(range(24, 4, -1))
    assert "Last 20 runs of CISA KEV, newest first" in row(page, "kev")


def test_a_failed_run_shows_its_reason_as_text(auditor: Client, ran: Ran) -> None:
    ran("kev", "failed", reason="<b>The catalogue is JSON is not whole</b>")
    page = auditor.get(URL)
    assert "&lt;b&gt;The catalogue is JSON is not whole&lt;/b&gt;" in row(page, "kev")
    assert "<b>The catalogue" not in page.content.decode(), "nor in the Markdown that the page holds for copying"
    assert "<b>The catalogue" in auditor.get(f"{URL}feeds.md").content.decode()


def test_times_are_relative_and_absolute_in_a_time_element(auditor: Client, ran: Ran) -> None:
    run = ran("kev", "ok", minutes_ago=4)
    assert run.finished_at is not None
    absolute = f"{run.finished_at:%Y-%m-%dT%H:%M:%SZ}"
    assert f'<time datetime="{absolute}"><span class="ago">4 min ago</span>' in row(auditor.get(URL), "kev")


@pytest.mark.parametrize(
    ("holder", "ahead", "words"),
    [("", 0, "No scheduler has started yet"), ("beat-1:7", 10, "Scheduler beat-1:7, running"), ("beat-1:7", -10, "beat-1:7, not running")],
)
def test_the_scheduler_is_named(holder: str, ahead: int, words: str, auditor: Client, text: Text) -> None:
    SchedulerLease.objects.create(name="beat", holder=holder, expires_at=timezone.now() + timezone.timedelta(seconds=ahead))
    assert words in text(auditor.get(URL))


# ── Filter ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["kev", "taxii", "misp", "otx", "stix"]),
        ({"state": "REFUSED"}, ["otx"]),
        ({"state": "OK"}, []),
        ({"state": "nonsense"}, ["kev", "taxii", "misp", "otx", "stix"]),
        ({"q": "cisa"}, ["kev"]),
        ({"q": "ALIENVAULT.com"}, ["otx"]),
        ({"state": "REFUSED", "q": "kev"}, []),
        ({"q": "\0"}, []),
    ],
)
def test_the_filter_keeps_what_was_asked_for(query: dict[str, str], names: list[str], auditor: Client) -> None:
    page = auditor.get(URL, query)
    assert page.status_code == 200
    assert [one.snapshot.name for one in page.context["page"].rows] == names


def test_an_empty_answer_says_so_and_offers_all(auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL, {"q": "no such feed"}))
    assert "No feed matches this filter. Show all 5 feeds" in page
    assert "State all (5) OK (0) ATTENTION (0) FAILING (0) REFUSED (1) OFF (3) UNKNOWN (1)" in page


# ── The same in other forms ──────────────────────────────────────────────────────────────────────────────────────────
def test_json_gives_the_fields_of_the_api_with_runs(auditor: Client, ran: Ran) -> None:
    ran("kev", "ok", minutes_ago=1)
    body = json.loads(auditor.get(f"{URL}feeds.json").content)
    api = auditor.get("/api/v1/threatintel/feeds").json()["results"]
    assert [set(one) - {"runs"} for one in body["results"]] == [set(one) for one in api]
    assert [one["state"] for one in body["results"]] == [one["state"] for one in api] == ["OK", "OFF", "OFF", "REFUSED", "OFF"]
    assert body["results"][0]["runs"][0]["state"] == "ok"


def test_every_form_names_its_witness(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.process.socket.gethostname", lambda: "api-2")
    seen_by = json.loads(auditor.get(f"{URL}feeds.json").content)["seen_by"]
    assert seen_by["node"] == "api-2"
    for body in (text(auditor.get(URL)), auditor.get(f"{URL}feeds.md").content.decode()):
        assert "Seen by node api-2; other processes may differ" in body
        assert f"policy {seen_by['digest']}" in body


def test_markdown_is_a_table_of_all_feeds(auditor: Client) -> None:
    body = auditor.get(f"{URL}feeds.md").content.decode()
    assert (
        "| AlienVault OTX | REFUSED | otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST. | otx.alienvault.com | never |" in body
    )


# ── Poll now ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_operator_polls_and_is_told_so(operator: Client, sent: list[tuple[str, str]], text: Text) -> None:
    response = operator.post(f"{URL}kev/poll/", {"state": "UNKNOWN", "q": "kev"})
    assert response.headers["Location"] == f"{URL}?state=UNKNOWN&q=kev"
    run = FeedRun.objects.get()
    assert sent == [("kev", run.slot)]
    assert f"Done Poll of CISA KEV asked for (run {run.pk})." in text(operator.get(response.headers["Location"]))


def test_an_auditor_sees_no_button_and_is_refused(auditor: Client, sent: list[tuple[str, str]], text: Text) -> None:
    assert "Poll now" not in text(auditor.get(URL))
    response = auditor.post(f"{URL}kev/poll/")
    assert response.status_code == 403
    assert "Your role does not allow this." in text(response)
    assert sent == []
    assert not FeedRun.objects.exists()


def test_an_anonymous_poll_goes_to_the_login_page(sent: list[tuple[str, str]]) -> None:
    response = Client().post(f"{URL}kev/poll/")
    assert response.headers["Location"] == "/login/?next=/"
    assert sent == []


def test_a_poll_without_a_token_is_refused_with_a_calm_page(sent: list[tuple[str, str]], operator: Client, text: Text) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    response = strict.post(f"{URL}kev/poll/")
    assert response.status_code == 403
    assert "This form is too old, or cookies are blocked." in text(response)
    assert sent == []


def test_a_get_of_the_poll_address_polls_nothing(operator: Client, sent: list[tuple[str, str]]) -> None:
    assert operator.get(f"{URL}kev/poll/").headers["Location"] == URL
    assert sent == []


def test_a_refused_feed_has_no_button_and_its_poll_gives_the_reason(operator: Client, sent: list[tuple[str, str]], text: Text) -> None:
    assert "Poll now" not in row(operator.get(URL), "otx")
    assert "Poll now" in row(operator.get(URL), "kev")
    response = operator.post(f"{URL}otx/poll/", follow=True)
    assert "Not done AlienVault OTX was not polled: otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST." in text(response)
    assert sent == []


def test_an_unknown_feed_is_404(operator: Client) -> None:
    assert operator.post(f"{URL}nothing/poll/").status_code == 404


def test_a_broker_that_is_away_is_told_and_the_run_is_kept(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu.exceptions import OperationalError

    def fail(**_: Any) -> None:
        raise OperationalError("no broker")

    monkeypatch.setattr("threatintel.api.poll_task.apply_async", fail)
    response = operator.post(f"{URL}kev/poll/")
    told = [str(message) for message in get_messages(response.wsgi_request)]
    assert told == ["The poll of CISA KEV is queued, but the broker did not answer. The scheduler sends it again; see the runs of this feed."]
    assert FeedRun.objects.get().state == "queued"
