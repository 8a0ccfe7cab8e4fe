"""Pages as rows: nothing lost, nothing twice, nothing written that did not change."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.threatintel.records import day, page, record
from threatintel.identity import indicator_id, source_id
from threatintel.models import Indicator, IndicatorSource, SourceChange
from threatintel.specs import FeedError, Page, Record, Tally, Tlp, Unread
from threatintel.store import OLDER, Counts, store

pytestmark = pytest.mark.django_db(transaction=True)


def stored(feed: str, one: Page) -> Counts:
    with transaction.atomic():
        return store(feed, one, run=7)


def summary(counts: Counts) -> tuple[int, int, int, int]:
    return counts.fetched, counts.added, counts.changed, counts.retired


def test_every_field_comes_back_as_it_was() -> None:
    full = record(
        "10.0.0.0/8",
        type="ipv4-addr",
        labels=("a", "b \"quoted\" \\ 'x'"),
        description="tab\there, newline\nthere, back\\slash, “quotes”, 🐍",
        url="https://x.example/1",
        references=("https://x.example/2",),
        first_seen=day(1),
        last_seen=day(2),
        valid_until=day(3),
        context=True,
        tlp=Tlp.AMBER_STRICT,
        raw='{"pattern":"[ipv4-addr:value = \'10.0.0.0/8\']","n":null,"t":"\\\\N\\t"}',
    )
    stored("a", page(full))
    row = IndicatorSource.objects.select_related("indicator").get()
    assert (row.indicator.type, row.indicator.value, row.indicator.prefix) == ("ipv4-addr", "10.0.0.0/8", 8)
    assert (row.pk.hex, row.indicator_id.hex) == (source_id("a", full.external_id, row.indicator_id.hex), indicator_id("ipv4-addr", "10.0.0.0/8"))
    assert (tuple(row.labels), tuple(row.references), row.tlp) == (full.labels, full.references, "amber+strict")
    for name in (
        "description",
        "url",
        "first_seen",
        "last_seen",
        "valid_until",
        "modified",
        "context",
        "revoked",
        "confidence",
        "raw",
        "external_id",
    ):
        assert getattr(row, name) == getattr(full, name), name


def test_the_same_page_again_writes_nothing() -> None:
    assert summary(stored("a", page(record("x.example"), record("y.example")))) == (2, 2, 0, 0)
    before = list(IndicatorSource.objects.values())
    with CaptureQueriesContext(connection) as asked:
        assert summary(stored("a", page(record("x.example"), record("y.example")))) == (2, 0, 0, 0)
    assert list(IndicatorSource.objects.values()) == before
    assert [query["sql"] for query in asked if query["sql"].startswith(("UPDATE", "DELETE", "COPY"))] == []


def test_the_same_value_from_two_feeds_is_one_indicator_with_two_sources() -> None:
    stored("a", page(record("x.example")))
    stored("b", page(record("x.example", confidence=90)))
    assert Indicator.objects.count() == 1
    assert set(Indicator.objects.get().sources.values_list("feed", "confidence")) == {("a", 50), ("b", 90)}


def test_one_object_may_state_several_values_and_what_it_no_longer_states_is_retired() -> None:
    def of(*values: str, modified: datetime) -> Page:
        return page(*(record(value, external_id="indicator--1", modified=modified) for value in values))

    stored("a", of("x.example", "y.example", modified=day(0)))
    assert summary(stored("a", of("y.example", "z.example", modified=day(1)))) == (2, 1, 1, 1)
    assert dict(IndicatorSource.objects.values_list("indicator__value", "revoked")) == {"x.example": True, "y.example": False, "z.example": False}


def test_an_older_version_of_an_object_changes_nothing() -> None:
    stored("a", page(record("new.example", external_id="indicator--1", modified=day(5))))
    before = list(IndicatorSource.objects.values())
    counts = stored("a", page(record("old.example", external_id="indicator--1", modified=day(4))))
    assert summary(counts) == (1, 0, 0, 0)
    assert counts.skips == {OLDER: 1}
    assert list(IndicatorSource.objects.values()) == before


def test_of_two_versions_in_one_page_the_newer_counts_whatever_their_order() -> None:
    versions = [record("x.example", confidence=confidence, modified=day(confidence)) for confidence in (1, 3, 2)]
    stored("a", page(*versions))
    assert IndicatorSource.objects.get().confidence == 3


def test_what_the_source_takes_back_is_retired_and_may_return() -> None:
    stored("a", page(record("x.example"), record("y.example")))
    assert summary(stored("a", page(withdrawn=("indicator--x.example",)))) == (0, 0, 0, 1)
    assert IndicatorSource.objects.get(external_id="indicator--x.example").revoked
    assert summary(stored("a", page(withdrawn=("indicator--x.example",)))) == (0, 0, 0, 0)
    assert summary(stored("a", page(record("x.example")))) == (1, 0, 1, 0)
    assert not IndicatorSource.objects.get(external_id="indicator--x.example").revoked


def test_another_feeds_records_under_the_same_id_are_left_alone() -> None:
    stored("a", page(record("x.example", external_id="indicator--1")))
    stored("b", page(record("y.example", external_id="indicator--1")))
    assert not IndicatorSource.objects.filter(revoked=True).exists()


def test_a_change_leaves_what_was_said_before() -> None:
    stored("a", page(record("x.example", confidence=40, labels=("old",))))
    stored("a", page(record("x.example", confidence=80)))
    stored("a", page(withdrawn=("indicator--x.example",)))
    changes = SourceChange.objects.order_by("id").values_list("what", "run", "confidence", "labels", "revoked")
    assert list(changes) == [("changed", 7, 40, ["old"], False), ("retired", 7, 80, [], False)]


def test_a_page_that_breaks_off_stores_nothing() -> None:
    def breaking() -> Any:
        yield record("x.example")
        raise FeedError("cut off")

    with pytest.raises(FeedError):
        stored("a", Page(records=breaking(), cursor={}))
    assert not Indicator.objects.exists()


def test_skips_are_told() -> None:
    tally = Tally()

    def reading() -> Any:
        tally.skip("malware is no indicator", 2)
        yield record("x.example")

    assert stored("a", Page(records=reading(), cursor={}, tally=tally)).skips == {"malware is no indicator": 2}


def test_an_update_costs_no_query_a_row() -> None:
    stored("a", page(*(record(f"h{number}.example") for number in range(200))))
    with CaptureQueriesContext(connection) as few:
        stored("a", page(*(record(f"h{number}.example", confidence=60) for number in range(2))))
    with CaptureQueriesContext(connection) as many:
        stored("a", page(*(record(f"h{number}.example", confidence=70) for number in range(200))))
    grouped = {query["sql"][:40] for query in many}
    assert len(grouped) <= len({query["sql"][:40] for query in few}) + 2


def unread(*values: str, version: int = 0, reads: list[str]) -> Unread:
    def read() -> list[Record]:
        reads.append(values[0] if values else "")
        return [record(value, external_id="indicator--1", modified=day(version)) for value in values]

    return Unread("indicator--1", f"{values}{version}", read)


def test_an_object_that_is_stored_as_it_stands_is_not_read_again() -> None:
    reads: list[str] = []
    assert summary(stored("a", page(unread("x.example", "y.example", reads=reads)))) == (2, 2, 0, 0)
    assert summary(stored("a", page(unread("x.example", "y.example", reads=reads)))) == (2, 0, 0, 0)
    assert reads == ["x.example"]
    assert summary(stored("a", page(unread("y.example", version=1, reads=reads)))) == (1, 0, 1, 1)
    assert summary(stored("a", page(unread("y.example", version=1, reads=reads)))) == (1, 0, 0, 0)
    assert reads == ["x.example", "y.example"]


@pytest.mark.parametrize("value", ["x.example", "y.example"])
def test_an_object_of_which_a_part_is_stored_otherwise_is_read(value: str) -> None:
    reads: list[str] = []
    stored("a", page(unread("x.example", "y.example", reads=reads)))
    expected = sorted(IndicatorSource.objects.values_list("indicator__value", "digest"))
    IndicatorSource.objects.filter(indicator__value=value).update(digest="0" * 32)
    assert summary(stored("a", page(unread("x.example", "y.example", reads=reads)))) == (2, 0, 1, 0)
    assert len(reads) == 2
    assert sorted(IndicatorSource.objects.values_list("indicator__value", "digest")) == expected


def test_an_object_that_was_taken_back_or_states_nothing_any_more_is_read() -> None:
    reads: list[str] = []
    stored("a", page(unread("x.example", reads=reads)))
    stored("a", page(withdrawn=("indicator--1",)))
    assert summary(stored("a", page(unread("x.example", reads=reads)))) == (1, 0, 1, 0)
    assert summary(stored("a", page(unread(version=1, reads=reads)))) == (0, 0, 0, 1)
    assert IndicatorSource.objects.get().revoked


def test_two_versions_of_one_object_in_a_page_are_both_read_and_the_newer_counts() -> None:
    reads: list[str] = []
    stored("a", page(unread("new.example", version=2, reads=reads), unread("old.example", version=1, reads=reads)))
    assert list(Indicator.objects.values_list("value", flat=True)) == ["new.example"]


_VALUES = st.sampled_from(["a.example", "b.example", "c.example"])
_RECORDS = st.builds(
    lambda value, owner, version, confidence, revoked: record(
        value, external_id=f"indicator--{owner}", modified=day(version), confidence=confidence, revoked=revoked
    ),
    _VALUES,
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 3),
    st.booleans(),
)


class Oracle:
    """The same rules, one row at a time, in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Record] = {}
        self.retired: set[tuple[str, str]] = set()

    def store(self, records: list[Record]) -> None:
        """An object at a time: its newest version in the page, unless a newer one is held."""
        for owner in {one.external_id for one in records}:
            newest = max(one.modified for one in records if one.external_id == owner)  # type: ignore[type-var]
            held = [row.modified for (of, _), row in self.rows.items() if of == owner]
            if held and newest < max(held):  # type: ignore[type-var, operator]
                continue
            stated = {(owner, one.value): one for one in records if one.external_id == owner and one.modified == newest}
            self.retired |= {key for key in self.rows if key[0] == owner}
            self.retired -= set(stated)
            self.rows |= stated

    def state(self) -> dict[tuple[str, str], tuple[int, bool]]:
        return {key: (one.confidence, one.revoked or key in self.retired) for key, one in self.rows.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_RECORDS, max_size=5), max_size=5))
def test_any_sequence_of_pages_gives_what_one_row_at_a_time_gives(pages: list[list[Record]]) -> None:
    Indicator.objects.all().delete()
    oracle = Oracle()
    for records in pages:
        stored("a", page(*records))
        oracle.store(records)
    rows = IndicatorSource.objects.values_list("external_id", "indicator__value", "confidence", "revoked")
    assert {(owner, value): (confidence, revoked) for owner, value, confidence, revoked in rows} == oracle.state()


def test_feeds_that_bring_the_same_values_at_once_wait_for_each_other() -> None:
    names = [f"h{number}.example" for number in range(300)]

    def bring(feed: str, values: list[str]) -> tuple[int, int, int, int]:
        try:
            return summary(stored(feed, page(*map(record, values))))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(bring, "abc", (names, names[::-1], names)))
    assert results == [(300, 300, 0, 0)] * 3
    assert (Indicator.objects.count(), IndicatorSource.objects.count()) == (300, 900)
