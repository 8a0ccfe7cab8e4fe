"""Questions that look understood and are not: what is no name is no condition, and what is left out is among the words not understood."""

import pytest

from llm.capabilities.nl_query.reader import literals, negates, read
from llm.capabilities.nl_query.render import Dialect, render

FAILED = 'event.category == "authentication" AND event.outcome == "failure"'


def where(question: str) -> str:
    """The conditions of the question beside its time, in ES|QL."""
    text = render(read(question).query, Dialect.ESQL)
    return text.removeprefix("FROM logs-* | WHERE @timestamp >= NOW() - 24 hours AND ").split(" | ")[0]


@pytest.mark.parametrize(
    ("question", "unread"),
    [
        ("failed logins on Monday", "Monday"),
        ("failed logins at 3am", "3am"),
        ("failed logins from 9am to 5pm", "9am"),
        ("failed logins at night", "night"),
        ("failed logins by service accounts", "service"),
        ("failed logins for privileged users", "privileged"),
        ("failed logins on linux servers", "linux"),
        ("failed logins to azure portal", "azure"),
        ("failed logins for multiple users", "multiple"),
        ("failed logins from 10.0.0.1-10.0.0.20", "10.0.0.1-10.0.0.20"),
        ("failed logins in the last 2 days but before yesterday", "yesterday"),
        ("failed logins yesterday and today", "today"),
        ("failed logins on web-1 and on web-2", "web-2"),  # no event is on both
        ("user added to administrators", "added"),
        ("accounts locked by policy", "locked"),
        ("processes started from C:\\Temp", "started"),
        ("blocked connections to Russia or China", "Russia"),
        ("files with hash d41d8cd98f00", "d41d8cd98f00"),
    ],
)
def test_what_is_no_name_is_named_as_not_understood(question: str, unread: str) -> None:
    assert unread in read(question).unread
    assert f'"{unread}"' not in where(question)


@pytest.mark.parametrize(
    ("question", "conditions"),
    [
        ("failed logins for james on web", f'{FAILED} AND user.name == "james" AND host.name == "web"'),
        ("failed logins not for alice and not on web-1", f'{FAILED} AND NOT (user.name == "alice") AND NOT (host.name == "web-1")'),
        ("failed logins except for bob", f'{FAILED} AND NOT (user.name == "bob")'),
        ("failed logins from the United States or France", f'{FAILED} AND source.geo.country_name IN ("United States", "France")'),
        ('emails where subject contains "a"', 'event.category == "email" AND TO_LOWER(email.subject) LIKE "*a*"'),
        ("emails received by bob@a.example", 'event.category == "email" AND email.to.address == "bob@a.example"'),
        ("connections from web-1 to db-1", 'event.category == "network" AND host.name == "web-1" AND destination.domain == "db-1"'),
        ("dns queries for evil[.]example", 'network.protocol == "dns" AND dns.question.name == "evil.example"'),
        ("dns queries to *.onion", 'network.protocol == "dns" AND TO_LOWER(dns.question.name) LIKE "*.onion"'),
        ("web requests to hxxp://evil.example/a?b=1", 'event.category == "web" AND url.full == "http://evil.example/a?b=1"'),
        ("web requests to /admin", 'event.category == "web" AND TO_LOWER(url.full) LIKE "*/admin*"'),
        ("processes in C:\\Temp", 'event.category == "process" AND TO_LOWER(process.executable) LIKE "c:\\\\\\\\temp*"'),
        ("process path C:\\a.exe", 'event.category == "process" AND process.executable == "C:\\\\a.exe"'),
        ("processes with hash " + "a" * 32, f'event.category == "process" AND process.hash.md5 == "{"a" * 32}"'),
        ("files with sha1 " + "b" * 40, f'event.category == "file" AND file.hash.sha1 == "{"b" * 40}"'),
    ],
)
def test_a_question_means_what_it_says(question: str, conditions: str) -> None:
    assert where(question) == conditions
    assert read(question).whole, read(question).unread


@pytest.mark.parametrize(
    ("time", "begin", "end"),
    [
        ("between 2026-11-01 and 2026-11-03", "2026-11-01T00:00:00Z", "2026-11-04T00:00:00Z"),  # the last day is a day of them
        ("from 2026-11-01 through 2026-11-03", "2026-11-01T00:00:00Z", "2026-11-04T00:00:00Z"),
        ("between 2026-11-01 09:00 and 2026-11-01T17:30", "2026-11-01T09:00:00Z", "2026-11-01T17:30:00Z"),
        ("after 2026-11-03", "2026-11-04T00:00:00Z", None),
        ("since 2026-11-03 10:00", "2026-11-03T10:00:00Z", None),
    ],
)
def test_dates_are_whole_days_and_times_are_moments(time: str, begin: str, end: str | None) -> None:
    reading = read(f"failed logins {time}")
    assert reading.whole
    wanted = f'WHERE @timestamp >= "{begin}"' + (f' AND @timestamp < "{end}"' if end else "") + " AND event.category"
    assert wanted in render(reading.query, Dialect.ESQL)


def test_the_top_by_a_number_of_events_and_a_limit_are_read() -> None:
    assert "LIMIT 5" in render(read("top 5 hosts by number of alerts").query, Dialect.ESQL)
    assert "number" not in render(read("top 5 hosts by number of alerts").query, Dialect.ESQL)
    assert "LIMIT 5" in render(read("failed logins by alice limit 5").query, Dialect.ESQL)


def test_different_ones_of_each_are_counted() -> None:
    assert "STATS unique = COUNT_DISTINCT(user.name) BY host.name" in render(read("distinct users per host").query, Dialect.ESQL)


def test_what_no_query_may_leave_out() -> None:
    assert literals("odd logins on port 3389 in the last 7 days to evil.example") == ["3389", "evil.example"]
    assert negates("logins except from web-1")
    assert not negates("logins with 'not' in it")
