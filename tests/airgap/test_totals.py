"""Totals always equal the rows they stand for, and are bounded."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Sum

from airgap import queries, totals
from airgap.models import EgressEvent, EgressTotal
from airgap.queries import SPANS, EventFilter, attempts_lately, choices, overview
from airgap.segments import OTHER
from airgap.trail_items import attempts_since
from tests.airgap.trail import START, drained, event

pytestmark = pytest.mark.django_db
HOUR, DAY = SPANS[0], SPANS[1]


def sums(span: str, **where: Any) -> int:
    return EgressTotal.objects.filter(span=span, **where).aggregate(n=Sum("count"))["n"] or 0


def test_hours_and_days_sum_up_to_the_rows() -> None:
    drained(event(0, count=3), event(1, count=4), event(61, count=5), event(0, "b.example", count=6))
    drained(event(2, count=7), event(60 * 13, count=8))
    assert sums("hour") == sums("day") == EgressEvent.objects.aggregate(n=Sum("count"))["n"] == 33
    assert list(EgressTotal.objects.filter(span="hour", host="api.openai.com").order_by("start").values_list("start__hour", "count")) == [
        (12, 14), (13, 5), (1, 8),
    ]  # fmt: skip
    assert EgressTotal.objects.filter(span="day").count() == 3
    total = EgressTotal.objects.get(span="hour", start=START, host="api.openai.com")
    assert (total.first_seen, total.last_seen) == (START, START + timedelta(minutes=2, seconds=5))


def test_a_flood_of_targets_is_folded_and_nothing_but_the_target_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_TARGETS", 5)
    for batch in range(4):
        drained(*(event(batch, f"h{batch}-{number}.example", rule=("public", "malformed")[number % 2], tenant="acme") for number in range(10)))
    drained(event(9, "h0-0.example", rule="public", tenant="acme", count=100))
    assert sums("hour") == 140
    assert sums("hour", tenant="acme") == 140
    assert EgressTotal.objects.filter(span="hour").count() == 5 + 2
    assert {total.rule: (total.port, total.caller) for total in EgressTotal.objects.filter(span="hour", host=OTHER)} == {
        "public": (0, ""), "malformed": (0, ""),
    }  # fmt: skip
    assert sums("hour", host="h0-0.example") == 101, "who has a total keeps it"


def test_a_flood_does_not_crowd_out_who_calls_often_nor_further_targets_of_a_host_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_TARGETS", 3)
    drained(*(event(0, f"r{number}.example") for number in range(9)), event(0, "often.example", count=50))
    drained(*(event(1, "often.example", tenant=f"t{number}") for number in range(9)))
    assert sums("hour", host="often.example") == 50 + 2, "up to twice the bound, the folded one counted"
    assert sums("hour") == 9 + 50 + 9
    assert sums("hour", tenant="t8") == 1


def test_a_drain_that_fails_changes_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    drained(event(0))
    monkeypatch.setattr(totals, "_store", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError):
        drained(event(0))
    assert (sums("hour"), EgressEvent.objects.count()) == (1, 1)


# ── Overviews ────────────────────────────────────────────────────────────────────────────────────────────────────────
NOW = START + timedelta(hours=5, minutes=30, seconds=7)


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.word)
def test_an_overview_counts_what_its_span_holds(span: queries.Span) -> None:
    inside, outside = span.since(NOW), span.since(NOW) - timedelta(minutes=1)
    for moment, count in ((inside, 3), (outside, 50), (NOW - timedelta(seconds=60), 4)):
        drained(event(minute=moment.replace(second=0), count=count))
    found = overview(EventFilter(), span, NOW)
    assert found.attempts == 7
    assert len(found.bars) == span.bars
    assert (found.bars[0], sum(count for _start, count in found.bars)) == ((inside, 3), 7)
    assert found.bars[-1][0] <= NOW < found.bars[-1][0] + span.step


@pytest.mark.parametrize(("number", "length"), [(0, timedelta(hours=1)), (1, timedelta(days=1)), (2, timedelta(days=7)), (3, timedelta(days=30))])
def test_no_attempt_of_the_whole_span_is_left_out_as_none_is_of_the_checklist(number: int, length: timedelta) -> None:
    """Also at the end of an hour: what was refused 23 h 59 min ago is of the last 24 h."""
    span = SPANS[number]
    for now in (NOW, NOW.replace(minute=59, second=59)):
        first = (now - length).replace(second=0) + timedelta(minutes=1)
        before = overview(EventFilter(), span, now).attempts
        drained(event(minute=first, count=3), now=now)
        assert overview(EventFilter(), span, now).attempts == before + 3
        assert attempts_since(now - length, now).aggregate(n=Sum("count"))["n"] >= 3


def test_groups_are_callers_and_hosts_with_the_most_frequent_first() -> None:
    drained(
        event(0, "a.example", count=2, caller="vendor.sdk"),
        event(1, "a.example", count=1, caller="vendor.sdk", process="vm:2"),
        event(1, "a.example", count=9, caller="vendor.sdk", process="other:2"),
        event(0, "b.example", count=5, port=0),
    )
    found = overview(EventFilter(), DAY, NOW)
    assert [(group.host, group.port, group.caller, group.count, group.where) for group in found.groups] == [
        ("a.example", 443, "vendor.sdk", 12, ""),
        ("b.example", None, "x", 5, "vm"),
    ]
    assert (found.attempts, found.hosts, found.callers, found.more_groups) == (17, 2, 2, False)
    only_b = overview(EventFilter(host="b.example"), DAY, NOW)
    assert (only_b.attempts, [group.where for group in only_b.groups]) == (5, ["vm"])
    assert overview(EventFilter(node="other"), DAY, NOW).attempts == overview(EventFilter(node="other"), SPANS[2], NOW).attempts == 9


def test_a_host_that_is_folded_in_the_totals_is_read_from_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_TARGETS", 1)
    drained(event(0, "a.example", count=2))
    drained(event(1, "b.example", count=5), event(90, "b.example", count=4))
    found = overview(EventFilter(host="b.example"), DAY, NOW)
    assert (found.attempts, [(group.host, group.count, group.where) for group in found.groups]) == (9, [("b.example", 9, "vm:1")])
    assert overview(EventFilter(), DAY, NOW).attempts == 11


def test_more_groups_than_are_shown_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_GROUPS", 3)
    drained(*(event(0, f"h{number}.example") for number in range(5)))
    found = overview(EventFilter(), DAY, NOW)
    assert (len(found.groups), found.more_groups, found.attempts) == (3, True, 5)


def test_choices_and_the_count_of_the_last_day() -> None:
    drained(event(0, tenant="acme"), event(0, rule="malformed", purpose="guard", process="w:1", count=4), event(-60 * 24 * 3, purpose="old"))
    found = choices(DAY, NOW)
    assert (found.node, found.purpose, found.rule, found.tenant) == (("vm", "w"), ("feed.kev", "guard"), ("malformed", "public"), ("acme",))
    assert attempts_lately(NOW) == 5
