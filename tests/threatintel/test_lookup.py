"""Looking up by the thousand gives what looking up one by one gives, and the networks around an address."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from tests.threatintel.records import page, record
from threatintel.lookup import lookup
from threatintel.models import IndicatorSource
from threatintel.queries import readings, search_indicators, view_of
from threatintel.specs import Tlp
from threatintel.store import store

pytestmark = pytest.mark.django_db(transaction=True)


def stored(feed: str, *values: str, **changes: object) -> None:
    with transaction.atomic():
        store(feed, page(*(record(value, external_id=f"{feed}--{value}", **changes) for value in values)))


def test_many_values_at_once_cost_a_handful_of_queries(django_assert_max_num_queries: Callable[..., object]) -> None:
    stored("a", *(f"h{number}.example" for number in range(3000)))
    asked = [("domain-name", f"h{number}.example") for number in range(0, 6000, 2)]
    with django_assert_max_num_queries(8):
        found = lookup(asked)
    assert set(found) == set(asked[:1500])


def test_a_lookup_and_a_search_show_the_same() -> None:
    stored("a", "x.example", labels=("one",), confidence=20)
    stored("b", "x.example", labels=("two",), confidence=70, valid_until=timezone.now() - timedelta(days=1))
    (view,) = lookup([("domain-name", "x.example")])[("domain-name", "x.example")]
    shown = view_of(search_indicators(value="x.example").get()).as_dict()
    by_feed = sorted(view.as_dict()["sources"], key=lambda source: source["feed"])
    assert {**view.as_dict(), "sources": by_feed} == shown


def test_sources_of_many_values_stay_with_their_own() -> None:
    """More of them than are read at once, of feeds that name them in turn; found in the order in which they are asked for."""
    names = [f"h{number}.example" for number in range(450)]
    for feed, step in (("c", 2), ("a", 1), ("b", 3)):
        stored(feed, *names[::step], labels=(feed, "z", feed))
    found = lookup([("domain-name", name) for name in reversed(names)])
    assert [value for _, value in found] == names[::-1]
    for number, name in enumerate(names):
        (view,) = found["domain-name", name]
        feeds = [feed for feed, step in (("a", 1), ("b", 3), ("c", 2)) if number % step == 0]
        assert [(source["feed"], source["external_id"]) for source in view.sources] == [(feed, f"{feed}--{name}") for feed in feeds]
        assert list(view.labels) == [*feeds, "z"]


def test_an_address_is_found_in_the_networks_that_contain_it_the_narrowest_first() -> None:
    for value in ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.2.0.0/16"):
        stored("a", value, type="ipv4-addr")
    stored("a", "2001:db8::/32", type="ipv6-addr")
    asked = [
        ("ipv4-addr", "10.1.2.3"),
        ("ipv4-addr", "10.9.9.9"),
        ("ipv4-addr", "192.0.2.1"),
        ("ipv6-addr", "2001:db8::1"),
        ("ipv4-addr", "10.1.0.0/16"),
    ]
    found = {value: [view.value for view in views] for (_, value), views in lookup(asked).items()}
    assert found == {
        "10.1.2.3": ["10.1.2.3", "10.1.0.0/16", "10.0.0.0/8"],
        "10.9.9.9": ["10.0.0.0/8"],
        "2001:db8::1": ["2001:db8::/32"],
        "10.1.0.0/16": ["10.1.0.0/16", "10.0.0.0/8"],
    }


def test_what_sources_name_as_context_alone_is_no_match() -> None:
    stored("a", "ctx.example", context=True)
    stored("a", "both.example", context=True)
    stored("b", "both.example")
    assert {value for _, value in lookup([("domain-name", "ctx.example"), ("domain-name", "both.example")])} == {"both.example"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, "active"), ({"revoked": True}, "revoked"), ({"valid_until": timezone.now() - timedelta(days=1)}, "expired")],
)
def test_a_retired_indicator_is_told_as_what_it_is(changes: dict[str, object], status: str) -> None:
    stored("a", "x.example", **changes)
    assert [view.status for view in lookup([("domain-name", "x.example")])[("domain-name", "x.example")]] == [status]


def test_one_active_source_makes_it_active_and_speaks_for_it() -> None:
    stored("a", "x.example", revoked=True, confidence=99, labels=("gone",))
    stored("b", "x.example", confidence=30, labels=("here",))
    (view,) = lookup([("domain-name", "x.example")])[("domain-name", "x.example")]
    assert (view.status, view.confidence, view.labels, len(view.sources)) == ("active", 30, ["here"], 2)


def test_nothing_asked_is_nothing_found() -> None:
    assert lookup([]) == {}
    assert not IndicatorSource.objects.exists()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("hxxp://Evil[.]example/a", {("url", "http://evil.example/a")}),
        ("EVIL.example.", {("domain-name", "evil.example"), ("file-name", "EVIL.example."), ("mutex", "EVIL.example.")}),
        ("cve-2024-0001", {("vulnerability", "CVE-2024-0001")}),
        ("198.51.100[.]7:443", {("ipv4-addr", "198.51.100.7")}),
        ("Invoice.EXE", {("domain-name", "invoice.exe"), ("file-name", "Invoice.EXE"), ("mutex", "Invoice.EXE")}),
        ("A" * 32, {("file-hash:md5", "a" * 32), ("file-hash:imphash", "a" * 32), ("mutex", "A" * 32)}),
    ],
)
def test_a_search_takes_a_value_in_any_form(text: str, pairs: set[tuple[str, str]]) -> None:
    assert readings(text) == pairs


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"status": "active"}, {"live.example"}),
        ({"status": "expired"}, {"old.example"}),
        ({"status": "revoked"}, {"gone.example"}),
        ({"tlp": "red"}, {"gone.example"}),
        ({"label": 'bot"net'}, {"live.example"}),
        ({"label": "bot"}, set()),
        ({"source": "b"}, {"gone.example"}),
        ({"source": "b", "status": "active"}, set()),
        ({"type": "url"}, set()),
        ({}, {"live.example", "old.example", "gone.example"}),
    ],
)
def test_filters(asked: dict[str, str], expected: set[str]) -> None:
    stored("a", "live.example", labels=('bot"net',))
    stored("a", "old.example", valid_until=timezone.now() - timedelta(days=1))
    stored("b", "gone.example", revoked=True, tlp=Tlp.RED)
    assert set(search_indicators(**asked).values_list("value", flat=True)) == expected
