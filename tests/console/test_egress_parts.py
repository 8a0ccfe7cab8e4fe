"""The pure parts of Blocked egress: what to do, the chart, the marks, the filter, the verdict."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict

from airgap.policy import EgressPolicy
from airgap.queries import SPANS, Overview, Position
from airgap.snapshot import GuardSnapshot
from console.advice import Target, advise, allowlist_entry, host_port, why
from console.chart import axis, chart, label, short
from console.egress_filter import Asked, cursor_of, host_in
from console.egress_verdict import egress_banner
from console.fleet import Fleet, State
from console.marks import Marks, Start, marks_of
from tests.console.test_processes import BROKEN, ENFORCE, OFF_HERE, REPORT, SILENT, UNHEARD_HERE, A, B
from threatintel.snapshot import Verdict

NOW = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
HOUR, DAY, WEEK, MONTH = SPANS
FEEDS = {"kev": ("CISA_KEV_URL",), "otx": ("OTX_BASE_URL",)}


# ── What to do ───────────────────────────────────────────────────────────────────────────────────────────────────────
def target(**fields: Any) -> Target:
    return Target(**{"host": "api.example.com", "port": 443, "rule": "public", "layer": "http", **fields})


@pytest.mark.parametrize(
    ("fields", "words", "variables", "entry"),
    [
        ({"purpose": "feed.kev"}, "point CISA_KEV_URL at the mirror inside", ("CISA_KEV_URL",), "api.example.com:443"),
        ({"purpose": "feed.gone"}, "The feed gone asked: point it at the mirror inside", (), "api.example.com:443"),
        ({"purpose": "llm.explain"}, "point LLM_BASE_URL at a model inside", ("LLM_BASE_URL",), "api.example.com:443"),
        ({"purpose": "llm.explain", "tenant": "acme"}, "The tenant acme has an LLM address of its own", (), "api.example.com:443"),
        ({"layer": "llm"}, "point LLM_BASE_URL at a model inside", ("LLM_BASE_URL",), "api.example.com:443"),
        ({"purpose": "mail", "layer": "mail", "port": 587}, "point EMAIL_URL at the relay", ("EMAIL_URL",), "api.example.com:587"),
        ({"purpose": "actions.slack"}, "point SLACK_WEBHOOK_URL at the relay", ("SLACK_WEBHOOK_URL",), "api.example.com:443"),
        ({"purpose": "actions.smoke"}, "point the URL of that channel at the relay", (), "api.example.com:443"),
        ({"purpose": "guard", "caller": "sdk.ping"}, "A client that this product did not write asked, in module sdk.ping", (), "api.example.com:443"),
        ({"purpose": "guard", "layer": "proxy"}, "look at AISOC_EGRESS_PROXY", ("AISOC_EGRESS_PROXY",), "api.example.com:443"),
        ({"caller": "x.y"}, "Find where x.y has this address from", (), "api.example.com:443"),
        ({"host": "134744072", "rule": "malformed", "purpose": "feed.otx"}, "look here first", ("OTX_BASE_URL",), ""),
        ({"host": "(malformed)", "port": None, "rule": "malformed"}, "look here first", (), ""),
        ({"host": "(proxy)", "port": None, "rule": "malformed", "layer": "proxy"}, "AISOC_EGRESS_PROXY", ("AISOC_EGRESS_PROXY",), ""),
        ({"host": "misp.corp", "rule": "private_name_public_answer"}, "check what the DNS says of misp.corp", (), "misp.corp:443"),
        ({"host": "(other)", "port": None}, "they are counted, their details are not kept", (), ""),
        ({"host": "(raw socket)", "port": None, "purpose": "guard"}, "remove it, or point it inside", (), ""),
    ],
)
def test_what_to_do_follows_rule_purpose_and_layer(fields: dict[str, Any], words: str, variables: tuple[str, ...], entry: str) -> None:
    advice = advise(target(**fields), FEEDS)
    assert words in " ".join(advice.steps)
    assert (advice.variables, advice.entry) == (variables, entry)


def test_a_disguised_address_is_looked_at_before_its_purpose() -> None:
    assert (
        advise(target(rule="malformed", purpose="feed.kev"), FEEDS).steps[0]
        == "A disguised or damaged address, perhaps behind a redirect: look here first."
    )


@pytest.mark.parametrize(
    ("host", "port", "entry"),
    [
        ("api.example.com", 443, "api.example.com:443"),
        ("API.Example.com.", None, "api.example.com"),
        ("8.8.8.8", 53, "8.8.8.8:53"),
        ("2606:4700::1111", 443, "[2606:4700::1111]:443"),
        ("2606:4700::1111", None, "2606:4700::1111"),
    ],
)
def test_an_allowlist_entry_lets_exactly_its_target_through(host: str, port: int | None, entry: str) -> None:
    assert allowlist_entry(target(host=host, port=port)) == entry
    assert not EgressPolicy.from_text("1", "").decide_host(host, port).allowed
    assert EgressPolicy.from_text("1", entry).decide_host(host, port).allowed
    if port:
        assert not EgressPolicy.from_text("1", entry).decide_host(host, 8443).allowed


@pytest.mark.parametrize("rule", ["malformed", "tenant_metadata", "tenant_loopback", "some_rule_to_come"])
def test_a_rule_that_no_entry_overrules_offers_none(rule: str) -> None:
    assert allowlist_entry(target(rule=rule)) == ""


def test_a_name_that_asks_the_dns_root_is_offered_no_entry() -> None:
    """`ollama` on the list is the service of that name; `ollama.` stays refused."""
    assert allowlist_entry(target(host="ollama.", port=11434)) == ""


def test_why_is_what_the_gate_said_else_what_the_rule_means() -> None:
    assert why(target(), "Because.") == "Because."
    assert why(target(), "") == "This is a public name or address, and not on AISOC_AIRGAP_ALLOWLIST."
    assert why(target(rule="some_rule_to_come"), "") == "The policy of that process refused it."


@pytest.mark.parametrize(("host", "port", "words"), [("a.b", None, "a.b"), ("a.b", 80, "a.b:80"), ("::1", None, "::1"), ("::1", 80, "[::1]:80")])
def test_a_target_is_written_as_host_and_port(host: str, port: int | None, words: str) -> None:
    assert host_port(host, port) == words


# ── The chart ────────────────────────────────────────────────────────────────────────────────────────────────────────
AXES = {
    0: (0, 1),
    1: (0, 1),
    2: (0, 1, 2),
    6: (0, 3, 6),
    7: (0, 4, 8),
    14: (0, 8, 16),
    17: (0, 10, 20),
    101: (0, 60, 120),
    1_234_567: (0, 800_000, 1_600_000),
}


@pytest.mark.parametrize(("most", "ticks"), AXES.items())
def test_the_axis_has_round_ticks_that_hold_the_highest_bar(most: int, ticks: tuple[int, ...]) -> None:
    assert axis(most) == ticks


@pytest.mark.parametrize(("number", "words"), [(0, "0"), (9999, "9,999"), (10_000, "10 k"), (80_000, "80 k"), (1_600_000, "1.6 M")])
def test_large_ticks_are_short(number: int, words: str) -> None:
    assert short(number) == words


def bars(span: Any, **counts: int) -> list[tuple[datetime, int]]:
    return [(span.since(NOW) + span.step * number, counts.get(f"at{number}", 0)) for number in range(span.bars)]


def test_bars_are_as_high_as_their_numbers_and_say_them() -> None:
    drawn = chart(DAY, bars(DAY, at4=6, at24=3), {})
    assert [bar.height for bar in drawn.bars if bar.height != "0.0"] == ["184.0", "92.0"]
    assert drawn.bars[4].title == "2026-01-30 16:00Z: 6 attempts"
    assert drawn.bars[5].title == "2026-01-30 17:00Z: 0 attempts"
    assert [row.attempts for row in drawn.rows] == [0, 0, 0, 0, 6, *[0] * 19, 3]
    assert drawn.description == (
        "From 2026-01-30 12:00Z to now: 9 attempts in all, the most (6) in the hour from 2026-01-30 16:00Z. "
        "Marks: none. The same numbers are in the table below."
    )


def test_one_attempt_beside_ten_thousand_is_seen() -> None:
    assert float(chart(DAY, bars(DAY, at3=10_000, at4=1), {}).bars[4].height) >= 2


def test_nothing_is_drawn_as_an_empty_chart_with_its_axis() -> None:
    drawn = chart(MONTH, bars(MONTH), {})
    assert {bar.height for bar in drawn.bars} == {"0.0"}
    assert [tick.text for tick in drawn.ticks] == ["0", "1"]
    assert "No attempt." in drawn.description


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (HOUR, ["11:30", "11:40", "11:50", "12:00", "12:10", "12:20"]),
        (DAY, ["12:00", "15:00", "18:00", "21:00", "31 Jan", "03:00", "06:00", "09:00"]),
        (WEEK, ["25 Jan", "26 Jan", "27 Jan", "28 Jan", "29 Jan", "30 Jan", "31 Jan"]),
        (MONTH, ["2 Jan", "7 Jan", "12 Jan", "17 Jan", "22 Jan", "27 Jan"]),
    ],
)
def test_the_labels_of_each_span_leave_room_for_now(span: Any, labels: list[str]) -> None:
    assert [one.text for one in chart(span, bars(span), {}).labels] == labels


def test_a_midnight_is_labelled_with_its_day() -> None:
    assert label(DAY, datetime(2026, 2, 1, tzinfo=UTC), 3) == "1 Feb"


# ── Marks ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def start(minutes: int, digest: str = "aaa", service: str = "api", role: str = "web") -> Start:
    return Start(NOW + timedelta(minutes=minutes), service, role, digest)


def test_starts_are_grouped_by_step_and_a_new_digest_is_a_change() -> None:
    marks = marks_of([start(-200), start(-100), start(-95), start(-10, "bbb"), start(-9, "bbb"), start(-8, "ccc", role="beat")], DAY, NOW)
    assert marks == {NOW.replace(hour=9, minute=0): Marks(1), NOW.replace(hour=10, minute=0): Marks(2), NOW.replace(minute=0): Marks(3, 1)}
    assert marks[NOW.replace(minute=0)].words == "3 processes started; policy changed in 1 process"


def test_the_policy_before_the_span_counts() -> None:
    assert marks_of([start(-60 * 48), start(-5, "bbb")], DAY, NOW) == {NOW.replace(minute=0): Marks(1, 1)}


def test_two_marks_of_one_step_stand_side_by_side_and_say_their_numbers() -> None:
    first = bars(DAY)[6][0]
    drawn = chart(DAY, bars(DAY), {first: Marks(2, 1), bars(DAY)[10][0]: Marks(1)})
    assert [mark.kind for mark in drawn.marks] == ["start", "change", "start"]
    assert float(drawn.marks[1].x) - float(drawn.marks[0].x) == pytest.approx(12, abs=0.1)
    assert drawn.marks[0].title == "2026-01-30 18:00Z: 2 processes started"
    assert drawn.rows[6].marks == "2 processes started; policy changed in 1 process"
    assert "Marks: 3 processes started; policy changed in 1 process." in drawn.description


# ── Filter ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def read(query: str) -> Asked:
    return Asked.read(QueryDict(query))


@pytest.mark.parametrize(
    ("query", "span", "words"),
    [
        ("", "24h", {}),
        ("span=7d&node=vm&purpose=feed.kev&rule=public&tenant=acme", "7d", {"node": "vm", "purpose": "feed.kev", "rule": "public", "tenant": "acme"}),
        ("node=&host=+api.example.com+", "24h", {"host": "api.example.com"}),
        ("host=https://u:p@API.Example.com:8443/x%3Fy", "24h", {"host": "api.example.com"}),
        ("host=api.example.com:443", "24h", {"host": "api.example.com"}),
        ("host=[2606:4700::1111]:443", "24h", {"host": "2606:4700::1111"}),
        ("host=2606:4700::1111", "24h", {"host": "2606:4700::1111"}),
        ("host=(other)", "24h", {"host": "(other)"}),
        ("host=134744072", "24h", {"host": "134744072"}),
    ],
)
def test_a_filter_is_read(query: str, span: str, words: dict[str, str]) -> None:
    asked = read(query)
    assert (asked.span.word, asked.words, asked.problems) == (span, words, ())


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("span=2h", "span: '2h' is not one of 1h, 24h, 7d, 30d. The last 24 h are shown."),
        ("span=", "span: '' is not one of"),
        ("span=%00%F0%9F%92%A9", "span: '\\x00\\U0001f4a9' is not one of"),
        ("node=a%00b", "node: 'a\\x00b' is not one"),
        ("purpose=" + "x" * 65, "purpose: 'xxxxx"),
        ("host=" + "x" * 5000, "host: 'xxxxx"),
        ("host=a%0Ab", "host: 'a\\nb' is not one"),
        ("cursor=W10:1:2", "cursor: this is no place in the list that this deployment gave."),
    ],
)
def test_rubbish_is_named_by_its_field_and_not_used(query: str, problem: str) -> None:
    asked = read(query)
    assert (asked.span, asked.words, asked.after) == (DAY, {}, None)
    assert len(asked.problems) == 1
    assert asked.problems[0].startswith(problem)


def test_a_cursor_comes_back_as_it_went() -> None:
    position = Position(NOW, 17)
    assert read(f"cursor={cursor_of(position)}").after == position


def test_addresses_carry_the_filters_and_the_api_gets_since_in_full_and_no_node() -> None:
    asked = read("span=1h&node=vm&host=a.example&rule=public")
    assert asked.query() == "?span=1h&node=vm&rule=public&host=a.example"
    assert asked.api_query(NOW) == "?since=2026-01-31T11:30:00Z&rule=public&host=a.example"
    assert read(asked.query()[1:]).words == asked.words


def test_a_host_that_is_no_url_stays_as_it_was_typed() -> None:
    assert host_in("Weird:thing") == "Weird:thing"


# ── Verdict ──────────────────────────────────────────────────────────────────────────────────────────────────────────
NONE, SOME = Overview(0, 0, 0, (), (), False), Overview(14, 3, 1, (), (), False)
REPORTING = GuardSnapshot("report", active=True, selftest=True)


def banner(found: Overview | None, rows: list[Any], **fields: Any) -> Any:
    values = {
        "in_all": found.attempts if found else 0,
        "lately": "last 24 h",
        "filtered": "",
        "airgapped": True,
        "guard": ENFORCE,
        "spool": "ok",
        **fields,
    }
    return egress_banner(found, fleet=Fleet(tuple(rows)), **values)


@pytest.mark.parametrize(
    ("found", "rows", "fields", "verdict", "sentence", "points"),
    [
        (NONE, [A, B], {}, "OK", "No blocked attempt in the last 24 h on 2 of 2 processes.", 0),
        (NONE, [A], {"filtered": "rule public"}, "OK", "No blocked attempt in the last 24 h on 1 of 1 process. Filtered: rule public.", 0),
        (
            NONE,
            [A],
            {"filtered": "rule public", "in_all": 5},
            "ATTENTION",
            "No blocked attempt in the last 24 h matches the filter (rule public); without it there are 5.",
            0,
        ),
        (SOME, [A, B], {}, "ATTENTION", "14 attempts to 3 hosts by 1 caller in the last 24 h. Under steady load this should be 0", 0),
        (SOME, [A, SILENT], {"spool": "away"}, "ATTENTION", "14 attempts", 2),
        (SOME, [A, REPORT], {"guard": REPORTING}, "ATTENTION", "14 attempts", 1),
        (NONE, [A, SILENT], {}, "UNKNOWN", "No blocked attempt of the last 24 h is on record, but d:4 (api web) is silent.", 1),
        (
            NONE,
            [A, B],
            {"spool": "3 segments wait"},
            "UNKNOWN",
            "No blocked attempt of the last 24 h is on record, but the record may not be whole.",
            1,
        ),
        (NONE, [UNHEARD_HERE], {}, "UNKNOWN", "No blocked attempt", 1),
        (NONE, [], {}, "UNKNOWN", "No blocked attempt", 1),
        (NONE, [A, OFF_HERE], {}, "UNKNOWN", "No blocked attempt", 1),
        (NONE, [A, B], {"guard": REPORTING}, "ATTENTION", "No blocked attempt in the last 24 h on 2 of 2 processes.", 1),
        (NONE, [A, B], {"guard": BROKEN}, "ATTENTION", "No blocked attempt in the last 24 h on 2 of 2 processes.", 1),
        (NONE, [A, B], {"open_until": NOW}, "ATTENTION", "No blocked attempt in the last 24 h on 2 of 2 processes.", 1),
        (NONE, [A, B], {"airgapped": False}, "OFF", "Air-gap mode is off in this process: nothing is refused here, so nothing is recorded.", 0),
        (SOME, [A, B], {"airgapped": False}, "OFF", "Air-gap mode is off in this process", 0),
        (None, [A, B], {}, "UNKNOWN", "The blocked attempts could not be read: the database is away.", 1),
    ],
)
def test_the_verdict_of_the_page(found: Overview | None, rows: list[Any], fields: Any, verdict: str, sentence: str, points: int) -> None:
    made = banner(found, rows, **fields)
    assert (made.verdict, len(made.points)) == (verdict, points)
    assert made.sentence.startswith(sentence)


def test_each_doubt_is_a_point() -> None:
    points = banner(NONE, [A, SILENT, OFF_HERE, UNHEARD_HERE], spool="full").points
    assert points == (
        "Silent: d:4 (api web). What it tries is not known.",
        "This process has no heartbeat on record yet.",
        "Not air-gapped: c:3 (api web). Nothing is refused there, so nothing is recorded.",
        "The spool of this process: full.",
    )


def test_a_guard_that_only_reports_makes_its_numbers_reports() -> None:
    reporting = replace(REPORT, guard="report", guard_verdict=Verdict.ATTENTION)
    (point,) = banner(SOME, [A, reporting]).points
    assert point.startswith("Guard: report in e:5 (api web). Attempts with purpose guard were let through there and only reported")
    off = replace(REPORT, guard="off", guard_verdict=Verdict.ATTENTION)
    (point,) = banner(SOME, [A, off]).points
    assert point == "Guard: off in e:5 (api web). Attempts of clients that this product did not write are neither refused nor recorded there."
    silent = replace(off, state=State.SILENT)
    assert banner(SOME, [A, silent]).points == ("Silent: e:5 (api web). What it tries is not known.",)
