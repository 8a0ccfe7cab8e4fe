"""Blocked egress: states, filters, groups with what to do, events, and the same in other forms."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from airgap.models import ProcessBeat
from airgap.queries import MAX_GROUPS, Span
from tests.airgap.trail import drained, event

URL = "/settings/egress/"
MOST_QUERIES = 25 if connection.vendor == "postgresql" else 17  # the scope in which tenants are counted, for the navigation, is PostgreSQL's
Text = Callable[[Any], str]
Heard = Callable[..., ProcessBeat]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("healthy", "agreeing")]


@pytest.fixture(autouse=True)
def _enforcing(guarded: Callable[..., None]) -> None:
    guarded("enforce")


def ago(**span: float) -> datetime:
    return (timezone.now() - timedelta(**span)).replace(second=0, microsecond=0)


def badge(page: Any) -> str:
    return str(page.context["page"].banner.verdict)


def hosts(page: Any) -> list[str]:
    return [row.group.host for row in page.context["page"].trail.groups]


# ── States ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_none_on_all_processes_is_ok_and_says_on_how_many(auditor: Client, text: Text) -> None:
    page = auditor.get(URL)
    assert badge(page) == "OK"
    assert "OK No blocked attempt in the last 24 h on 4 of 4 processes." in text(page)
    assert "Within seconds of an attempt there is a row here for its caller and host" in text(page)
    assert page.content.decode().count('class="axis"') == 1, "an empty chart has its axis"
    assert "From 20" in text(page)


def test_attempts_need_attention_and_are_counted(auditor: Client, text: Text) -> None:
    drained(
        event(minute=ago(hours=2), count=11, caller="a"),
        event(minute=ago(hours=1), host="slack.com", count=2, caller="b"),
        event(minute=ago(minutes=2), host="134744072", count=1, caller="c"),
    )
    page = auditor.get(URL)
    assert badge(page) == "ATTENTION"
    assert (
        "14 attempts to 3 hosts by 3 callers in the last 24 h. Under steady load this should be 0: each caller below still tries to leave."
        in text(page)
    )
    assert "Blocked egress 14 in 24 h" in text(page)


def test_a_silent_process_makes_none_unknown(auditor: Client, text: Text, heard: Heard) -> None:
    heard("worker-8:1", seconds_ago=600)
    page = auditor.get(URL)
    assert badge(page) == "UNKNOWN"
    assert "No blocked attempt of the last 24 h is on record, but worker-8:1 (api web) is silent." in text(page)


def test_without_any_heartbeat_none_is_unknown(auditor: Client, text: Text) -> None:
    ProcessBeat.objects.all().delete()
    page = auditor.get(URL)
    assert badge(page) == "UNKNOWN"
    assert "This process has no heartbeat on record yet." in text(page)


def test_a_spool_that_is_not_in_order_is_told(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisoc_admin.health._health.checks", {"database": "ok", "broker": "ok", "spool": "3 segments wait: the drain failed"})
    page = auditor.get(URL)
    assert badge(page) == "UNKNOWN"
    assert "The spool of this process: 3 segments wait: the drain failed." in text(page)


@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_guard_that_stops_nothing_needs_attention_here_too(mode: str, auditor: Client, text: Text, guarded: Callable[..., None]) -> None:
    guarded(mode)
    page = auditor.get(URL)
    assert badge(page) == "ATTENTION"
    assert f"Guard: {mode} in " in text(page)
    assert ("were let through there and only reported" in text(page)) is (mode == "report")


def test_with_the_air_gap_off_it_is_off_and_past_rows_are_shown(auditor: Client, text: Text, environment: Callable[..., object]) -> None:
    drained(event(minute=ago(hours=1), count=3))
    environment()
    page = auditor.get(URL)
    assert badge(page) == "OFF"
    assert "nothing is refused here, so nothing is recorded. 3 attempts to 1 host by 1 caller of the last 24 h are on record" in text(page)
    assert hosts(page) == ["api.openai.com"]


def test_a_database_that_went_away_is_503_and_says_what_is_kept(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("console.egress.overview", gone)
    page = auditor.get(URL)
    assert (page.status_code, badge(page)) == (503, "UNKNOWN")
    assert "The blocked attempts could not be read: the database is away." in text(page)
    assert "By caller and host" not in text(page)
    assert json.loads(auditor.get(f"{URL}egress.json").content)["verdict"] == "UNKNOWN"
    assert auditor.get(f"{URL}egress.json").status_code == auditor.get(f"{URL}egress.md").status_code == 503


# ── Filters ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def trail(agreeing: None) -> None:
    drained(
        event(minute=ago(minutes=5), host="a.example", purpose="feed.kev", tenant="acme", process="worker-1:9"),
        event(minute=ago(hours=3), host="b.example", purpose="guard", rule="malformed", process="worker-2:9"),
        event(minute=ago(days=3), host="c.example", purpose="feed.kev"),
        event(minute=ago(days=20), host="d.example", purpose="feed.old"),
    )


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["a.example", "b.example"]),
        ({"span": "1h"}, ["a.example"]),
        ({"span": "7d"}, ["a.example", "b.example", "c.example"]),
        ({"span": "30d"}, ["a.example", "b.example", "c.example", "d.example"]),
        ({"purpose": "feed.kev", "span": "7d"}, ["a.example", "c.example"]),
        ({"node": "worker-2"}, ["b.example"]),
        ({"rule": "malformed"}, ["b.example"]),
        ({"tenant": "acme"}, ["a.example"]),
        ({"host": "https://B.example:443/x"}, ["b.example"]),
        ({"purpose": "nothing"}, []),
    ],
)
def test_filters_keep_what_was_asked_for_in_groups_and_events(query: dict[str, str], found: list[str], auditor: Client) -> None:
    page = auditor.get(URL, query)
    assert sorted(hosts(page)) == found
    assert sorted(one["host"] for one in page.context["page"].trail.events) == found


@pytest.mark.usefixtures("trail")
def test_a_filter_is_said_in_the_sentence_and_stays_chosen(auditor: Client, text: Text) -> None:
    page = auditor.get(URL, {"purpose": "feed.gone", "node": "worker-1"})
    assert "ATTENTION No blocked attempt in the last 24 h matches the filter (node worker-1, purpose feed.gone); without it there are " in text(page)
    assert "<option selected>feed.gone</option>" in page.content.decode()
    assert "<option>feed.kev</option>" in page.content.decode()
    assert "No blocked attempt in the last 24 h matches this filter. Show all" in text(page)


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("span=yesterday", "span: 'yesterday' is not one of 1h, 24h, 7d, 30d. The last 24 h are shown."),
        ("node=%00", "node: '\\x00' is not one"),
        ("cursor=1:2:3", "cursor: this is no place in the list"),
        ("span=%3Cscript%3E&host=%3Cscript%3Ealert(1)", "span: '<script>' is not one"),
    ],
)
def test_rubbish_is_named_and_the_page_comes_all_the_same(query: str, problem: str, auditor: Client, text: Text) -> None:
    page = auditor.get(f"{URL}?{query}")
    assert page.status_code == 200
    assert problem in text(page)
    assert "<script>" not in page.content.decode()
    assert page.context["page"].asked.span.word == "24h"


@pytest.mark.parametrize(
    "query", ["rule='%22%3E%3Cimg", "host=%F0%9F%92%A9", "tenant=%ff%fe", "purpose=%25s{{x}}", "span=24h&span=7d", "cursor=", "x=y"]
)
def test_hostile_queries_are_harmless(query: str, auditor: Client) -> None:
    for form in ("", "egress.json", "egress.md"):
        page = auditor.get(f"{URL}{form}?{query}")
        assert page.status_code == 200
        assert form or "<img" not in page.content.decode()


@pytest.mark.usefixtures("trail")
def test_the_downloads_take_the_filters_along_and_the_node_that_cannot_go_is_told(auditor: Client, text: Text) -> None:
    page = auditor.get(URL, {"span": "7d", "node": "vm", "purpose": "feed.kev"})
    links = page.context["page"]
    assert links.csv.startswith("/api/v1/airgap/events.csv?since=20")
    assert links.csv.endswith("T00:00:00Z&purpose=feed.kev") or ":00:00Z&purpose=feed.kev" in links.csv
    assert "CSV, JSON lines and the command below hold every node" in text(page)
    assert "hold every node" not in text(auditor.get(URL))
    lines = b"".join(auditor.get(links.jsonl).streaming_content).decode().splitlines()
    assert [json.loads(line)["host"] for line in lines] == ["a.example", "c.example"]
    assert b"".join(auditor.get(links.csv).streaming_content).decode().count("feed.kev") == 2
    assert [one["host"] for one in auditor.get(links.api).json()["results"]] == ["a.example", "c.example"]


def test_the_address_and_the_curl_line_are_absolute_and_carry_the_filters(auditor: Client, settings: Any, text: Text) -> None:
    settings.ALLOWED_HOSTS = ["soc.corp"]
    page = auditor.get(URL, {"span": "1h", "rule": "public"}, headers={"host": "soc.corp:8443"}, secure=True)
    assert 'data-copy="https://soc.corp:8443/settings/egress/?span=1h&amp;rule=public"' in page.content.decode()
    assert 'curl -s -H "Authorization: Token $TOKEN" \'https://soc.corp:8443/api/v1/airgap/events?since=20' in text(page)


# ── Groups ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def group(page: Any, host: str) -> str:
    """The HTML of one group and what opens beneath it."""
    body: str = page.content.decode()
    return next(part for part in body.split("<tbody>")[1:] if f">{host}" in part.split("</th>")[0])


def test_a_group_gives_the_gates_own_reason_and_what_to_do(auditor: Client) -> None:
    why = "api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST."
    drained(
        event(minute=ago(hours=5), reason="An older reason."), event(minute=ago(hours=2), reason=why), event(minute=ago(hours=2), host="b.example")
    )
    row = group(auditor.get(URL), "api.openai.com:443")
    assert why in row
    assert "The feed kev asked: point CISA_KEV_URL at the mirror inside and restart." in row
    assert 'data-copy="CISA_KEV_URL"' in row
    assert 'data-copy="api.openai.com:443"' in row
    assert "for every process, not for this caller alone" in row


def test_a_group_without_its_rows_still_says_what_its_rule_means(auditor: Client) -> None:
    from airgap.models import EgressTotal

    minute = ago(hours=2)
    fields = {"port": 443, "rule": "public", "layer": "http", "service": "api", "node": "vm", "count": 2, "first_seen": minute, "last_seen": minute}
    EgressTotal.objects.create(span="hour", start=minute.replace(minute=0), key="k", host="z.example", **fields)
    assert "This is a public name or address, and not on AISOC_AIRGAP_ALLOWLIST." in group(auditor.get(URL), "z.example:443")


def test_a_disguised_address_offers_no_allowlist_entry(auditor: Client) -> None:
    drained(event(minute=ago(hours=1), host="134744072", port=80, rule="malformed", purpose="feed.otx"))
    row = group(auditor.get(URL), "134744072:80")
    assert "look here first" in row
    assert "Or allow it" not in row


def test_what_is_listed_by_now_is_told_instead_of_offered(auditor: Client) -> None:
    drained(event(minute=ago(hours=1), host="misp.intel.corp", rule="private_name_public_answer"))
    row = group(auditor.get(URL), "misp.intel.corp:443")
    assert "It is on AISOC_AIRGAP_ALLOWLIST of this process by now" in row
    assert "Or allow it" not in row


def test_what_is_beyond_the_bounds_is_only_counted(auditor: Client) -> None:
    drained(event(minute=ago(hours=1), host="(other)", port=0, purpose="", caller="", count=900))
    row = group(auditor.get(URL), "(other)")
    assert "they are counted, their details are not kept" in row
    assert "Or allow it" not in row


def test_where_is_the_node_or_several(auditor: Client, text: Text) -> None:
    drained(
        event(minute=ago(minutes=2), process="w-1:1"), event(minute=ago(minutes=2), process="w-2:1"), event(minute=ago(minutes=2), process="w-2:2")
    )
    drained(event(minute=ago(minutes=2), host="b.example", process="w-2:1"))
    where = {row.group.host: row.where for row in auditor.get(URL).context["page"].trail.groups}
    assert where == {"api.openai.com": "several", "b.example": "w-2"}
    assert auditor.get(URL, {"host": "b.example"}).context["page"].trail.groups[0].where == "w-2"


def test_the_most_frequent_groups_are_shown_and_more_are_told(auditor: Client, text: Text) -> None:
    drained(*(event(minute=ago(hours=1), host=f"h{number}.example") for number in range(MAX_GROUPS + 1)))
    page = auditor.get(URL)
    assert len(hosts(page)) == MAX_GROUPS
    assert f"The {MAX_GROUPS} most frequent; there are more: filter, or take the CSV" in text(page)


def test_hostile_words_of_a_caller_are_shown_as_text(auditor: Client) -> None:
    drained(event(minute=ago(hours=1), host="<img src=x>", path="/</pre><script>", caller="<b>", reason="<i>&", rule="malformed"))
    for form in ("", "?span=1h"):
        body = auditor.get(URL + form).content.decode()
        for words in ("<img", "<script>", "<b>.", "<i>", "</pre><"):
            assert words not in body


# ── Chart ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_chart_and_table_give_the_same_numbers_with_marks(auditor: Client, heard: Heard) -> None:
    drained(event(minute=ago(hours=2), count=1204))
    heard("old:1", service="x", started_at=ago(days=2), ended_at=timezone.now(), digest="aaa")
    heard("new:1", service="x", started_at=ago(hours=2), digest="bbb")
    heard("new:2", service="x", role="pool", started_at=ago(hours=2), digest="bbb")
    page = auditor.get(URL)
    begin = ago(hours=2).replace(minute=0)
    assert f"<title>{begin:%Y-%m-%d %H:%MZ}: 1,204 attempts</title>" in page.content.decode()
    assert f"<title>{begin:%Y-%m-%d %H:%MZ}: 1 process started</title>" in page.content.decode()
    assert f"<title>{begin:%Y-%m-%d %H:%MZ}: policy changed in 1 process</title>" in page.content.decode()
    assert '<td class="number">1,204</td><td class="why">1 process started; policy changed in 1 process</td>' in page.content.decode()
    assert "style=" not in page.content.decode()


def test_a_node_has_its_own_marks(auditor: Client, heard: Heard) -> None:
    heard("new:1", service="x", started_at=ago(hours=2))
    assert 'class="flag start"' in auditor.get(URL, {"node": "new"}).content.decode()
    assert 'class="flag start"' not in auditor.get(URL, {"node": "worker-1"}).content.decode()


# ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_events_come_newest_first_fifty_a_page_with_older_and_newest(auditor: Client, text: Text) -> None:
    drained(*(event(minute=ago(minutes=number), host=f"h{number}.example") for number in range(1, 56)))
    page = auditor.get(URL)
    shown = page.context["page"].trail
    assert [one["host"] for one in shown.events] == [f"h{number}.example" for number in range(1, 51)]
    older = page.context["page"].older
    assert f'href="{older.replace("&", "&amp;")}#events">Older</a>' in page.content.decode()
    assert ">Newest</a>" not in page.content.decode()
    page = auditor.get(URL + older)
    assert [one["host"] for one in page.context["page"].trail.events] == [f"h{number}.example" for number in range(51, 56)]
    assert 'href="?span=24h#events">Newest</a>' in page.content.decode()
    assert "Older events" in text(page)
    assert page.context["page"].older == ""


def test_an_event_gives_process_path_rule_layer_count_and_caller(auditor: Client, text: Text) -> None:
    drained(
        event(minute=ago(hours=1), host="2606:4700::1111", path="/v1", layer="connect", caller="sdk.ping", count=3, process="w:7", purpose="guard")
    )
    assert "w:7 [2606:4700::1111]:443/v1 publicconnect guardsdk.ping 3" in text(auditor.get(URL))


# ── The same in other forms ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("trail")
def test_json_is_the_snapshot_of_the_page(auditor: Client) -> None:
    response = auditor.get(f"{URL}egress.json", {"span": "7d", "purpose": "feed.kev"})
    assert response.headers["Content-Disposition"] == 'attachment; filename="egress.json"'
    body = json.loads(response.content)
    assert (body["verdict"], body["attempts"], body["hosts"], body["callers"]) == ("ATTENTION", 2, 2, 1)
    assert body["filter"]["purpose"] == "feed.kev"
    assert sum(bar["attempts"] for bar in body["bars"]) == 2
    assert [one["host"] for one in body["groups"]] == ["a.example", "c.example"]
    assert body["groups"][0]["allowlist_entry"] == "a.example:443"
    assert set(body["events"][0]) == set(auditor.get("/api/v1/airgap/events").json()["results"][0])
    assert body["seen_by"]["guard"]["mode"] == "enforce"


@pytest.mark.usefixtures("trail")
def test_markdown_gives_verdict_groups_steps_and_events_unescaped(auditor: Client) -> None:
    body = auditor.get(f"{URL}egress.md", {"span": "7d", "purpose": "feed.kev"}).content.decode()
    assert body.startswith("# Blocked egress\n\n**ATTENTION** 2 attempts to 2 hosts by 1 caller in the last 7 days.")
    assert "Filtered: purpose feed.kev." in body
    assert "| 1 | a.example:443 | public | http | feed.kev | x | acme | worker-1 |" in body
    assert "## Attempts per 6 hours" in body
    assert "| worker-1:9 | feed.kev | a.example:443 | /v1 | public | http | 1 | x |" in body
    assert "Source: http://testserver/settings/egress/?span=7d&purpose=feed.kev" in body


# ── What it costs ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("query", ["", "?span=1h", "?span=30d", "?host=h3.example", "?purpose=feed.none"])
def test_the_page_asks_few_questions_whatever_the_trail_holds(query: str, auditor: Client) -> None:
    for hour in range(4):
        drained(*(event(minute=ago(hours=hour, minutes=2), host=f"h{number}.example", count=number + 1) for number in range(60)))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert auditor.get(URL + query).status_code == 200
    assert len(queries) <= MOST_QUERIES


def test_a_filter_that_matches_once_an_hour_costs_two_questions_an_hour_shown(auditor: Client) -> None:
    drained(*(event(minute=ago(hours=hour), purpose="feed.rare") for hour in range(1, 700, 5)))
    with CaptureQueriesContext(connection) as queries:
        page = auditor.get(URL, {"span": "30d", "purpose": "feed.rare"})
    assert len(page.context["page"].trail.events) == 50
    assert len(queries) <= MOST_QUERIES + 2 * 51


@pytest.mark.usefixtures("trail")
def test_spans_begin_on_the_clock(auditor: Client) -> None:
    shown = auditor.get(URL, {"span": "7d"}).context["page"]
    span: Span = shown.asked.span
    assert shown.since == span.since(shown.now)
    assert len(shown.trail.chart.rows) == span.bars
