"""The trail as an auditor reads it: summed, filtered, paged, exported."""

import csv
import io
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client

from airgap import queries
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.airgap.trail import START, drained, event

pytestmark = pytest.mark.django_db
KEYS = [
    "minute", "service", "process", "host", "port", "path", "rule", "reason", "layer", "purpose", "tenant", "caller", "count", "first_seen", "last_seen",
]  # fmt: skip


def row(minutes: int, host: str = "api.openai.com", count: int = 1, **fields: Any) -> None:
    drained(event(minutes, host, count, **fields))


@pytest.fixture
def get() -> Any:
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}

    def ask(suffix: str = "", **query: str) -> Any:
        return Client().get(f"/api/v1/airgap/events{suffix}", query, headers=token)

    return ask


def test_rows_of_one_minute_and_process_are_summed(get: Any) -> None:
    row(0, count=3)
    row(0, count=4, last_seen=START + timedelta(seconds=50))
    row(0, count=9, process="vm:2")
    first, second = get().json()["results"]
    assert list(first) == KEYS
    assert (first["count"], first["last_seen"], second["count"]) == (7, "2026-01-31T12:00:50Z", 9)
    assert (first["minute"], first["tenant"], first["reason"]) == ("2026-01-31T12:00:00Z", None, "why")


def test_a_port_that_is_not_known_is_null(get: Any) -> None:
    row(0, port=0)
    assert get().json()["results"][0]["port"] is None


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ({"host": "b.example"}, ["b.example"]),
        ({"rule": "malformed"}, ["c.example"]),
        ({"layer": "dns"}, ["d.example"]),
        ({"tenant": "acme"}, ["e.example"]),
        ({"since": "2026-01-31T12:03:00Z"}, ["e.example", "d.example"]),
        ({"until": "2026-01-31T12:01:00+00:00"}, ["b.example"]),
        ({"since": "2026-01-31T13:01:00+01:00", "until": "2026-01-31T12:02:00Z"}, ["c.example"]),
        ({"purpose": "none"}, []),
        ({"layer": "http", "rule": "public", "host": "b.example"}, ["b.example"]),
        ({"layer": "http", "rule": "malformed", "host": "b.example"}, []),
        ({"service": "api", "since": "2026-01-31T12:01:30Z"}, ["e.example", "d.example"]),
    ],
)
def test_filters(query: dict[str, str], hosts: list[str], get: Any) -> None:
    row(0, "b.example")
    row(1, "c.example", rule="malformed")
    row(3, "d.example", layer="dns")
    row(4, "e.example", tenant="acme")
    assert [event["host"] for event in get(**query).json()["results"]] == hosts


@pytest.mark.parametrize("window", [1, 3, 7, 1000])
def test_pages_hold_every_record_once_and_new_rows_disturb_nothing(window: int, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FIRST_WINDOW", window)
    monkeypatch.setattr(queries, "LAST_WINDOW", 2 * window)
    for minute in range(6):
        for host in range(5):
            row(minute, f"h{host}.example")
            row(minute, f"h{host}.example")
    seen: list[tuple[str, str]] = []
    page = get(page_size="4").json()
    while True:
        seen += [(event["minute"], event["host"]) for event in page["results"]]
        assert all(event["count"] == 2 for event in page["results"])
        row(100 + len(seen), "new.example")
        if page["next"] is None:
            break
        page = get(**dict(parse_qsl(urlsplit(page["next"]).query))).json()
    assert len(seen) == len(set(seen)) == 30
    assert [minute for minute, _host in seen] == sorted((minute for minute, _host in seen), reverse=True)


def test_csv_and_json_lines_hold_the_same(get: Any) -> None:
    row(0, "=cmd|x", count=2)
    row(1, "b.example", tenant="acme")
    table = list(csv.reader(io.StringIO(b"".join(get(".csv").streaming_content).decode())))
    assert table[0] == KEYS
    assert [line[3] for line in table[1:]] == ["b.example", "'=cmd|x"]
    lines = [json.loads(line) for line in b"".join(get(".jsonl").streaming_content).splitlines()]
    assert lines == get().json()["results"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since", "yesterday"),
        ("until", "0001-01-01T00:00:00+14:00"),
        ("until", "2026-01-31T12:00:00"),
        ("since", "2026-13-01T00:00:00Z"),
        ("host", ""),
        ("page_size", "0"),
        ("page_size", "x"),
        ("tenant", "\0"),
    ],
)
def test_bad_queries_are_named(name: str, value: str, get: Any) -> None:
    response = get(**{name: value})
    assert (response.status_code, response.json()["field"]) == (400, name)


def test_a_made_up_cursor_is_404(get: Any) -> None:
    assert get(cursor="rubbish").status_code == 404


def test_a_page_takes_a_few_queries_however_long_the_trail(get: Any, django_assert_max_num_queries: Any) -> None:
    drained(*(event(0, f"h{number}.example") for number in range(520)))
    with django_assert_max_num_queries(8):
        assert len(get(page_size="500").json()["results"]) == 500


def test_a_host_with_another_filter_walks_no_minutes(get: Any, django_assert_max_num_queries: Any) -> None:
    drained(*(event(minute) for minute in range(0, 600, 2)))
    with django_assert_max_num_queries(8):
        assert get(host="nope.example.com", rule="public").json()["results"] == []
    with django_assert_max_num_queries(30):
        assert get(tenant="nobody", rule="public").json()["results"] == []
