"""Indicators: the list with its search, filters and paging, the page of one, and what hostile sources get of them."""

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console.shown import defanged, unlinked, visible
from tests.console.fixtures import text_of
from tests.console.intel import HOSTILE, SEEN, address_of, hostile, record, stored
from tests.console.test_references import tags_of
from threatintel.canonical import recognise
from threatintel.models import Indicator, IndicatorSource, SourceChange
from threatintel.specs import Tlp

URL = "/settings/indicators/"
MOST_QUERIES = 18 if connection.vendor == "postgresql" else 14  # the scope in which tenants are counted, for the navigation, is PostgreSQL's
Text = Callable[[Any], str]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed")]


def values(page: Any) -> list[str]:
    return [row.view.value for row in page.context["page"].found.rows]


@pytest.fixture
def some() -> None:
    """Three feeds: one value of two of them, one that ran out, one that was taken back, and a network."""
    old = timezone.now() - timedelta(days=9)
    stored(
        record(labels=("phishing", "apt1"), last_seen=SEEN, tlp=Tlp.GREEN),
        record("url", "http://evil.example/gate.php", "indicator--2", tlp=Tlp.RED),
        record("ipv4-addr", "198.51.100.7", "indicator--3", valid_until=old),
    )
    stored(record(external_id="event-1", confidence=30, tlp=Tlp.CLEAR), record("ipv4-addr", "198.51.100.0/24", "event-2"), feed="misp")
    stored(record("vulnerability", "CVE-2024-12345", "kev-1", revoked=True), feed="kev")


# ── List ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_empty_store_says_when_indicators_come(auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL))
    assert "No indicator is stored yet. They come with the first poll that succeeds, or with a file that is imported" in page
    assert "No feed has live indicators yet" in page


@pytest.mark.usefixtures("some")
def test_the_list_says_what_each_indicator_is_without_a_link_to_it(auditor: Client, text: Text) -> None:
    page = auditor.get(URL)
    assert "evil[.]example Details of evil[.]example domain-name active 80 green apt1, phishing misp, stix" in text(page)
    assert "hxxp://evil[.]example/gate.php" in text(page)
    assert "5 live, counted feed by feed: misp 2, stix 3" in text(page)
    assert "http://evil.example" not in page.content.decode()


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "evil[.]example"}, ["evil.example"]),
        ({"q": "hxxp://EVIL[.]example:80/gate.php"}, ["http://evil.example/gate.php"]),
        ({"q": "cve-2024-12345"}, ["CVE-2024-12345"]),
        ({"q": "198.51.100.7"}, ["198.51.100.7"]),
        ({"q": "evil.example", "feed": "kev"}, []),
        ({"q": "evil.example", "type": "url"}, []),
        ({"q": "nothing.example"}, []),
        ({"type": "url"}, ["http://evil.example/gate.php"]),
        ({"feed": "misp", "type": "domain-name"}, ["evil.example"]),
        ({"status": "expired"}, ["198.51.100.7"]),
        ({"status": "revoked"}, ["CVE-2024-12345"]),
        ({"tlp": "red"}, ["http://evil.example/gate.php"]),
        ({"label": "apt1"}, ["evil.example"]),
        ({"label": "apt"}, []),
        ({"label": "apt1", "feed": "misp"}, []),
    ],
)
def test_search_and_filters_keep_what_was_asked_for(query: dict[str, str], found: list[str], auditor: Client) -> None:
    page = auditor.get(URL, query)
    assert values(page) == found
    assert page.context["page"].asked.problems == ()


@pytest.mark.usefixtures("some")
def test_a_search_of_an_address_shows_the_networks_that_contain_it(auditor: Client, text: Text) -> None:
    page = auditor.get(URL, {"q": "198.51.100[.]9"})
    assert values(page) == []
    assert [row.view.value for row in page.context["page"].networks] == ["198.51.100.0/24"]
    assert "Nothing is known of this value. That is no clearance" in text(page)
    assert "Networks that contain it" in text(page)


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("type=nonsense", "Type: 'nonsense' is not one of the list. It is not used."),
        ("feed=gone", "Feed: 'gone' is not one of the list."),
        ("status=alive", "Status: 'alive' is not one of the list."),
        ("tlp=WHITE", "TLP: 'WHITE' is not one of the list."),
        ("label=%00", "Label: '\\x00' is none: at most 200 printable characters."),
        ("q=a%00b", "Value: at most 8,192 characters, on one line."),
        ("q=a%0Ab", "Value: at most 8,192 characters, on one line."),
        ("cursor=rubbish", "cursor: this is no place in the list that this deployment gave."),
    ],
)
def test_rubbish_is_named_and_the_page_comes_all_the_same(query: str, problem: str, auditor: Client, text: Text) -> None:
    page = auditor.get(f"{URL}?{query}")
    assert page.status_code == 200
    assert problem in text(page)
    assert len(values(page)) == 5


@pytest.mark.parametrize(
    "query", [*(f"q={text}&label={text}" for text in HOSTILE), "q=%ff%fe", "label=%25", "q=" + "a" * 9000, "x=y", "type=url&type="]
)
def test_hostile_queries_are_harmless(query: str, auditor: Client) -> None:
    page = auditor.get(f"{URL}?{query}")
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()
    assert "onerror=alert(1)>" not in page.content.decode().replace("&gt;", "")


def test_pages_follow_one_another_without_a_gap_or_a_repeat(auditor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(*(record(value=f"h{number}.example", external_id=f"indicator--{number}") for number in range(130)))
    for query in ("", "?type=domain-name", "?label=none"):
        monkeypatch.setattr("console.indicators.WINDOW", 40)
        seen: list[str] = []
        url, pages = URL + query, 0
        while url:
            page = auditor.get(url)
            seen += values(page)
            url, pages = (URL + page.context["page"].older) if page.context["page"].older else "", pages + 1
        assert len(seen) == len(set(seen)) == (0 if "label" in query else 130)
        assert pages == (1 if "label" in query else 3)


def test_a_rare_filter_ends_at_its_time_and_goes_on_from_there(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.indicators.WINDOW", 40)
    monkeypatch.setattr("console.indicators.SECONDS", 0)
    stored(record(value="first.example", external_id="rare", labels=("rare",)))
    stored(*(record(value=f"h{number}.example", external_id=f"indicator--{number}") for number in range(90)))
    Indicator.objects.filter(value="first.example").update(created_at=timezone.now() - timedelta(days=1))
    url, told = f"{URL}?label=rare", 0
    while True:
        page = auditor.get(url)
        if not page.context["page"].older:
            break
        told += "None so far matches this filter" in text(page) and "Look further" in text(page)
        url = URL + page.context["page"].older
    assert told == 2
    assert values(page) == ["first.example"]


@pytest.mark.parametrize("query", ["", "?feed=stix&label=a", "?q=h3.example", "?q=198.51.100.7"])
def test_the_list_asks_few_questions_whatever_the_store_holds(query: str, auditor: Client) -> None:
    stored(*(record(value=f"h{number}.example", external_id=f"indicator--{number}", labels=("a",)) for number in range(120)))
    with CaptureQueriesContext(connection) as queries:
        assert auditor.get(URL + query).status_code == 200
    assert len(queries) <= MOST_QUERIES
    assert not [one["sql"] for one in queries if "COUNT(" in one["sql"] and "threatintel_indicator" in one["sql"]], "nothing counts the store"


def test_a_database_that_goes_away_gives_the_calm_page(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("console.indicators.listed", gone)
    monkeypatch.setattr("console.indicator_views.indicator_page", gone)
    monkeypatch.setattr("console.bulk.lookup", gone)
    for answer in (auditor.get(URL), auditor.get(address_of()), auditor.post(f"{URL}many/", {"values": "evil.example"})):
        assert answer.status_code == 503
        assert "The database is away" in text(answer)


# ── One indicator ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("some")
def test_an_indicator_shows_what_each_source_says(auditor: Client, text: Text) -> None:
    stored(
        record(
            external_id="report--9",
            description="Seen in a campaign.",
            references=("https://misp.intel.corp/events/77", "https://evil.example/report"),
            url="https://misp.intel.corp/events/77",
            labels=("c2",),
            context=True,
        ),
        feed="otx",
    )
    page = text(auditor.get(address_of()))
    assert "Statusactive" in page
    assert "AlienVault OTX report--9 Statusactive · context: it names the value, and asks for no detection" in page
    assert "Saysconfidence 30, TLP clear" in page
    assert page.count("hxxps://misp.intel.corp/events/77") == 2  # and in its Markdown
    assert "hxxps://misp.intel.corp/events/77hxxps://evil.example/report" in page
    assert "2026-11-20 14:03:11Z" in page
    assert "No source has changed what it says since it was first stored." in page


@pytest.mark.usefixtures("some")
def test_history_says_what_a_source_said_before(auditor: Client, text: Text) -> None:
    now = timezone.now()
    stored(record(labels=("apt1",), confidence=20, tlp=Tlp.RED, modified=now, external_id="indicator--1"))
    change = SourceChange.objects.get()
    page = text(auditor.get(address_of()))
    assert change.confidence == 80
    assert "changed stixindicator--1 80 green" in page
    assert "phishing, apt1 not said" in page


def test_history_and_sources_are_paged(auditor: Client, text: Text) -> None:
    stored(*(record(external_id=f"indicator--{number:03}", raw='{"a":1}') for number in range(45)))
    source = IndicatorSource.objects.first()
    SourceChange.objects.bulk_create(
        SourceChange(source=source, at=SEEN, run=number, what="changed", confidence=1, tlp="clear", revoked=False) for number in range(70)
    )
    first = auditor.get(address_of())
    assert "Page 1 of 3; 45 in all." in text(first)
    assert len(first.context["page"].sources) == 20
    third = auditor.get(address_of(), {"page": "3"}).context["page"]
    assert [row.source.external_id for row in third.sources] == [f"indicator--{number:03}" for number in range(40, 45)]
    seen = [one.pk for one in first.context["page"].changes]
    older = first.context["page"].older
    while older:
        page = auditor.get(address_of(), {"before": older}).context["page"]
        seen += [one.pk for one in page.changes]
        older = page.older
    assert len(seen) == len(set(seen)) == 70


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "before=-1", "before=9999999999999999999999", "raw=x", "raw=00000000000000000000000000000000", "page=٣"]
)
def test_places_that_are_none_are_named(query: str, auditor: Client) -> None:
    stored(record())
    page = auditor.get(f"{address_of()}?{query}")
    assert page.status_code == 200
    assert 'role="alert"' in page.content.decode()


def test_the_object_is_shown_on_request_alone_and_as_text(auditor: Client, text: Text) -> None:
    stored(record(raw='{"name": "<script>alert(1)</script> https://evil.example/x", "a": [1]}'))
    source = IndicatorSource.objects.get()
    assert "&lt;script&gt;" not in auditor.get(address_of()).content.decode()
    page = auditor.get(address_of(), {"raw": source.pk.hex})
    assert '"name": "<script>alert(1)</script> hxxps://evil.example/x"' in text(page)
    assert "<script>alert" not in page.content.decode()


def test_an_object_of_another_indicator_is_not_shown(auditor: Client) -> None:
    stored(record(), record(value="other.example", external_id="indicator--2", raw='{"secret": 1}'))
    other = IndicatorSource.objects.get(external_id="indicator--2")
    assert "secret" not in auditor.get(address_of(), {"raw": other.pk.hex}).content.decode()


def test_an_indicator_whose_sources_are_gone_says_so(auditor: Client, text: Text) -> None:
    stored(record())
    IndicatorSource.objects.all().delete()
    assert "No source names this value any more" in text(auditor.get(address_of()))


@pytest.mark.parametrize("path", ["00000000-0000-0000-0000-000000000000/", "nothing/", "00000000-0000-0000-0000-000000000000/indicator.md"])
def test_an_unknown_indicator_is_404(path: str, auditor: Client) -> None:
    assert auditor.get(URL + path).status_code == 404


def test_markdown_is_one_line_a_source_and_holds_no_live_link(auditor: Client) -> None:
    stored(record(references=("https://evil.example/a|b",), labels=("x|y",)))
    body = auditor.get(f"{address_of()}indicator.md").content.decode()
    assert body.startswith("# evil\\[.]example")
    assert "| stix | indicator--1 | active | 80 | amber | x\\|y |" in body
    assert "https:" not in body


def test_the_page_of_one_asks_few_questions_whatever_its_sources(auditor: Client) -> None:
    stored(*(record(external_id=f"indicator--{number}", labels=("a",)) for number in range(60)))
    with CaptureQueriesContext(connection) as queries:
        assert auditor.get(address_of()).status_code == 200
    assert len(queries) <= MOST_QUERIES


# ── Hostile sources ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_source_says_is_never_markup_and_never_a_link(text: str, auditor: Client) -> None:
    one = hostile(text, 1)
    stored(one)
    stored(hostile(text, 2), feed="misp")
    SourceChange.objects.create(
        source=IndicatorSource.objects.filter(feed="stix").get(),
        at=SEEN,
        run=1,
        what="changed",
        confidence=1,
        tlp="clear",
        labels=[text],
        revoked=False,
    )
    address = address_of("file-name", one.value)
    raw = IndicatorSource.objects.filter(feed="stix").get().pk.hex
    bulk = {"values": f"{text}\nevil.example"}
    answers = [auditor.get(URL), auditor.get(address), auditor.get(address, {"raw": raw}), auditor.post(f"{URL}many/", bulk)]
    for answer in answers:
        assert answer.status_code == 200
        body = answer.content.decode()
        for tag, attributes in tags_of(answer.content).tags:
            assert tag != "img"
            assert not [name for name in attributes if name.startswith("on")], attributes
            assert tag != "script" or attributes["src"].startswith("/static/")
            link = unquote(attributes.get("href", "/"))
            assert re.match(r"/(?!/)|#|\?", link), link
        pasted = answer.content.decode().partition("</textarea>")[2].encode() or answer.content
        assert "\u202e" not in text_of(SimpleNamespace(content=pasted)), "only who pasted it sees it as it is"
        assert "add:7 }}{% csrf" not in body or "{{ 7|add:7 }}" in body, "templates do not read it"


@pytest.mark.parametrize(
    "value",
    ["1.2.3.4", "10.0.0.0/8", "2001:db8::1", "evil.example.com", "http://evil.example.com/a.b?c=http://x.y/", "https://1.2.3.4:8080/x",
     "ftp://evil.example/x", "http://[2001:db8::1]/x", "bad.guy@evil.example", "CVE-2024-12345", "d41d8cd98f00b204e9800998ecf8427e"],
)  # fmt: skip
def test_a_value_as_it_is_shown_is_read_as_what_it_was(value: str) -> None:
    pair = recognise(value)
    assert pair is not None
    shown = defanged(*pair)
    assert recognise(shown) == pair
    assert not re.search(r"https?:|evil\.example/|\d\.\d+\.\d", shown.split("?")[0])


def test_what_cannot_be_seen_is_written_out() -> None:
    assert visible("a\u202eb\x00\u200b\n\tc é 😀") == "a\\u202eb\\u0000\\u200b\n\tc é 😀"
    assert unlinked("see HTTPS://x.example") == "see HxxPS://x.example"
