"""Bulk look-up and search over HTTP."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from tenants.accounts import issue_token
from tenants.roles import Role
from tests.threatintel.records import day, page, record
from threatintel.specs import Tlp
from threatintel.store import store

pytestmark = pytest.mark.django_db(transaction=True)
Ask = Callable[..., Any]


@pytest.fixture
def token() -> dict[str, str]:
    return {"Authorization": f"Token {issue_token('alice', Role.AUDITOR, 1)}"}


@pytest.fixture
def ask(token: dict[str, str]) -> Ask:
    def send(values: Any, *, raw: bytes | None = None) -> Any:
        content = raw if raw is not None else json.dumps({"values": values})
        return Client().post("/api/v1/iocs/lookup", data=content, content_type="application/json", headers=token)

    return send


def stored(*records: Any, feed: str = "misp") -> None:
    with transaction.atomic():
        store(feed, page(*records), run=1)


def test_values_in_any_form_find_what_is_stored(ask: Ask) -> None:
    stored(
        record("evil.example"),
        record("http://evil.example/a", type="url"),
        record("2001:db8::7", type="ipv6-addr"),
        record("evil.exe", type="file-name"),
        record("Global\\Evil", type="mutex"),
        record("a" * 64, type="file-hash:sha256"),
        record("b" * 32, type="file-hash:imphash"),
    )
    values = [
        "EVIL[.]example.",
        "hxxp://evil[.]example/a",
        "2001:DB8:0::7",
        "evil.exe",
        {"type": "mutex", "value": "Global\\Evil"},
        "A" * 64,
        "B" * 32,
        "unknown.example",
    ]
    answer = ask(values).json()
    assert list(answer) == ["matches", "checked", "hits", "unread"]
    assert [match["type"] for match in answer["matches"]] == [
        "domain-name",
        "url",
        "ipv6-addr",
        "file-name",
        "mutex",
        "file-hash:sha256",
        "file-hash:imphash",
    ]
    assert (answer["checked"], answer["unread"]) == (8, [])
    assert answer["hits"] == [{"index": place, "matches": [place]} for place in range(7)]


def test_an_indicator_comes_once_and_each_hit_says_which(ask: Ask) -> None:
    stored(record("198.51.100.0/24", type="ipv4-addr"), record("198.51.0.0/16", type="ipv4-addr"), record("198.51.100.7", type="ipv4-addr"))
    answer = ask(["198.51.100.7", "198.51.100[.]8", "198.51.9.9", "198.52.0.1", "198.51.100.7"]).json()
    assert [match["value"] for match in answer["matches"]] == ["198.51.100.7", "198.51.100.0/24", "198.51.0.0/16"]
    assert answer["hits"] == [
        {"index": 0, "matches": [0, 1, 2]},
        {"index": 1, "matches": [1, 2]},
        {"index": 2, "matches": [2]},
        {"index": 4, "matches": [0, 1, 2]},
    ]


def test_expired_and_revoked_are_said_and_context_does_not_match(ask: Ask) -> None:
    stored(record("old.example", valid_until=day(1)), record("gone.example", revoked=True), record("seen.example", context=True))
    answer = ask(["old.example", "gone.example", "seen.example"]).json()
    assert [(match["value"], match["status"]) for match in answer["matches"]] == [("old.example", "expired"), ("gone.example", "revoked")]
    assert [match["sources"][0]["status"] for match in answer["matches"]] == ["expired", "revoked"]


def test_a_match_is_what_search_shows(ask: Ask, token: dict[str, str]) -> None:
    stored(record("evil.example"), feed="a")
    stored(record("evil.example", external_id="other", tlp=Tlp.RED), feed="b")
    search = Client().get("/api/v1/iocs/search", {"value": "evil.example"}, headers=token).json()["results"]
    assert ask(["evil.example"]).json()["matches"] == search


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (["1.2.3.4"] * 10_001, "values"),
        (None, "values"),
        ("1.2.3.4", "values"),
        ({"0": "1.2.3.4"}, "values"),
        ([1], "values.0"),
        (["1.2.3.4", ["5.6.7.8"]], "values.1"),
        ([{"type": "nothing", "value": "x"}], "values.0.type"),
        ([{"type": "url", "value": 5}], "values.0"),
    ],
)
def test_what_is_no_list_of_values_is_400_and_names_the_place(values: Any, field: str, ask: Ask) -> None:
    response = ask(values)
    assert (response.status_code, response.json()["field"]) == (400, field)


def test_values_that_cannot_be_read_are_told_and_the_others_answered(ask: Ask) -> None:
    stored(record("evil.example"))
    answer = ask(["", " \t", "\0", "\ud800", "x" * 9000, {"type": "ipv4-addr", "value": "1.2.3"}, "evil.example", "evil.example\0"]).json()
    assert [one["index"] for one in answer["unread"]] == [0, 1, 2, 3, 4, 5, 7]
    assert (answer["checked"], answer["hits"]) == (1, [{"index": 6, "matches": [0]}])
    assert all(one["reason"].endswith(".") for one in answer["unread"])


def test_no_values_are_an_empty_answer(ask: Ask) -> None:
    assert ask([]).json() == {"matches": [], "checked": 0, "hits": [], "unread": []}


def test_a_body_past_its_bound_is_413(ask: Ask) -> None:
    assert ask(None, raw=b'{"values": ["' + b"x" * 4_200_000 + b'"]}').status_code == 413


@pytest.mark.parametrize("text", ["[", "evil[", "hxxp://", "a."])
def test_hostile_values_take_a_bounded_time(text: str, ask: Ask) -> None:
    begun = time.monotonic()
    response = ask([(text * 3500)[:3500] + str(number) for number in range(100)])
    assert response.status_code == 200
    assert time.monotonic() - begun < 5


def test_ten_thousand_plain_values_are_answered_at_alert_speed(ask: Ask) -> None:
    stored(*(record(f"evil{number}.example") for number in range(500)))
    values = [f"evil{number}.example" for number in range(10_000)]
    begun = time.monotonic()
    answer = ask(values).json()
    assert (len(answer["matches"]), answer["checked"]) == (500, 10_000)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "active"}, {"a.example", "both.example"}),
        ({"status": "expired"}, {"old.example"}),
        ({"status": "revoked"}, {"gone.example", "both.example"}),
        ({"tlp": "amber+strict"}, {"a.example"}),
        ({"label": "c2"}, {"a.example"}),
        ({"label": "c"}, set()),
        ({"label": 'say "hi" \\'}, {"old.example"}),
        ({"label": "c2", "status": "revoked"}, set()),
        ({"tlp": "green", "source": "other"}, {"both.example"}),
        ({"type": "domain-name", "status": "expired", "value": "OLD[.]example"}, {"old.example"}),
    ],
)
def test_search_filters(query: dict[str, str], found: set[str], token: dict[str, str]) -> None:
    stored(
        record("a.example", tlp=Tlp.AMBER_STRICT, labels=("c2", "x")),
        record("old.example", valid_until=day(1), labels=('say "hi" \\',)),
        record("gone.example", revoked=True),
        record("both.example", revoked=True),
    )
    stored(record("both.example"), feed="other")
    answer = Client().get("/api/v1/iocs/search", query, headers=token)
    assert {one["value"] for one in answer.json()["results"]} == found


@pytest.mark.parametrize("query", [{"status": "live"}, {"tlp": "pink"}, {"tlp": ""}, {"label": "\0"}, {"status": "Active"}])
def test_a_filter_that_means_nothing_is_400_and_named(query: dict[str, str], token: dict[str, str]) -> None:
    response = Client().get("/api/v1/iocs/search", query, headers=token)
    assert (response.status_code, response.json()["field"]) == (400, *query)
