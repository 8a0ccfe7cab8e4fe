"""AlienVault OTX: paging, the change date as cursor, and the key to nobody but the configured server."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airgap.drain import drain
from airgap.models import EgressEvent
from airgap.transport import gated_client
from tests.plugins.mirror import Mirror, body, redirect
from threatintel import poll as poll_module
from threatintel import runs
from threatintel.feeds import otx
from threatintel.models import FeedCursor, FeedRun, IndicatorSource
from threatintel.poll import poll
from threatintel.registry import feed_named
from threatintel.specs import FeedError

pytestmark = pytest.mark.django_db(transaction=True)
KEY = "planted-otx-key-0123456789"
Pager = Callable[[dict[str, str]], dict[str, Any]]


def observed(value: str = "evil.example", kind: str = "domain", **changes: Any) -> dict[str, Any]:
    """An indicator as OTX lists it."""
    return {
        "id": 1,
        "indicator": value,
        "type": kind,
        "created": "2026-01-02T03:04:05",
        "content": "",
        "title": "",
        "description": "",
        "expiration": None,
        "is_active": 1,
        "role": None,
        **changes,
    }


def pulse(number: int = 1, *indicators: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{number:024x}",
        "name": f"Pulse {number}",
        "description": "What was seen.",
        "author_name": "somebody",
        "modified": f"2026-02-01T00:00:{number % 60:02}.000000",
        "created": "2026-01-01T00:00:00.000000",
        "revision": 1,
        "TLP": "green",
        "public": 1,
        "adversary": "",
        "indicators": list(indicators) or [observed(f"host-{number}.evil.example")],
        "tags": ["apt"],
        "targeted_countries": [],
        "malware_families": [{"id": "X", "display_name": "Evil Family"}],
        "attack_ids": [{"id": "T1059", "name": "Scripting", "display_name": "T1059 - Scripting"}],
        "references": ["https://vendor.example/report", "not a link"],
        **changes,
    }


@pytest.fixture
def server(mirror: Mirror, environment: Callable[..., object]) -> Mirror:
    environment(AISOC_AIRGAPPED="1", OTX_BASE_URL=mirror.url, OTX_API_KEY=KEY)
    return mirror


def paged(mirror: Mirror, pager: Pager) -> None:
    mirror.answers[otx.PATH] = lambda handler: body(json.dumps(pager(query(handler.path))).encode())(handler)


def serve(mirror: Mirror, *pulses: Any, **more: Any) -> None:
    paged(mirror, lambda _given: {"results": list(pulses), "count": len(pulses), "previous": None, "next": None, **more})


def query(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def asked(mirror: Mirror) -> list[dict[str, str]]:
    return [query(path) for _, path, _ in mirror.requests]


def polled(*, retry: bool = False) -> FeedRun:
    spec = feed_named("otx")
    assert spec is not None
    slot = runs.manual_slot()
    runs.open_run("otx", slot)
    assert poll(spec, slot, retry=retry) is not None
    return FeedRun.objects.get(slot=slot)


def cursor() -> dict[str, str]:
    return dict(FeedCursor.objects.get(feed="otx").data)


def sources() -> list[dict[str, Any]]:
    return list(IndicatorSource.objects.order_by("pk").values())


def pages_of(count: int, *, base: str = "https://otx.alienvault.com", later: tuple[dict[str, Any], ...] = ()) -> Pager:
    """`count` pages of one pulse, newest first, as OTX pages: `next` names the vendor's own host."""
    pulses = [*later, *(pulse(number) for number in range(count, 0, -1))]

    def answer(given: dict[str, str]) -> dict[str, Any]:
        number = int(given["page"])
        found = [one for one in pulses if one["modified"] > given.get("modified_since", "")]
        more = number < len(found)
        return {"results": found[number - 1 : number], "count": len(found), "next": f"{base}{otx.PATH}?limit=1&page={number + 1}" if more else None}

    return answer


def test_a_pulse_becomes_indicators(server: Mirror) -> None:
    hashes = [observed("aa" * 16, "FileHash-MD5"), observed("BB" * 32, "FileHash-SHA256"), observed("198.51.100.0/24", "CIDR")]
    serve(server, pulse(1, observed("Evil.Example."), observed("cve-2021-44228", "CVE"), *hashes, observed("x", "YARA"), observed("x", "IPv4"), 7))
    run = polled()
    assert (run.state, run.added, run.skips) == (
        "ok",
        5,
        {"OTX type YARA is no indicator": 1, "a value that is no ipv4-addr": 1, "something that is no indicator": 1},
    )
    values = IndicatorSource.objects.values_list("indicator__type", "indicator__value")
    assert set(values) == {
        ("domain-name", "evil.example"),
        ("vulnerability", "CVE-2021-44228"),
        ("file-hash:md5", "aa" * 16),
        ("file-hash:sha256", "bb" * 32),
        ("ipv4-addr", "198.51.100.0/24"),
    }
    source = IndicatorSource.objects.get(indicator__type="domain-name")
    assert (source.confidence, source.tlp, source.external_id) == (50, "green", pulse(1)["id"])
    assert source.labels == ["apt", "Evil Family", "T1059 - Scripting"]
    assert source.references == ["https://vendor.example/report"]
    assert source.first_seen == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert source.modified == datetime(2026, 2, 1, 0, 0, 1, tzinfo=UTC)
    assert json.loads(source.raw)["pulse"]["name"] == "Pulse 1"


@pytest.mark.parametrize(
    ("said", "tlp"), [("white", "clear"), ("GREEN", "green"), ("amber", "amber"), ("TLP:RED", "red"), ("", "amber"), ("x", "red")]
)
def test_the_tlp_of_a_pulse_is_read_and_amber_without_one(said: str, tlp: str, server: Mirror) -> None:
    serve(server, pulse(1, TLP=said))
    polled()
    assert IndicatorSource.objects.get().tlp == tlp


def test_expired_and_inactive_indicators_are_retired(server: Mirror) -> None:
    past, inactive = observed("past.example", expiration="2020-01-01T00:00:00"), observed("off.example", is_active=0)
    serve(server, pulse(1, past, inactive, observed("live.example")))
    assert polled().added == 3
    found = {source.indicator.value: source for source in IndicatorSource.objects.select_related("indicator")}
    assert found["past.example"].valid_until == datetime(2020, 1, 1, tzinfo=UTC)
    assert {value: source.revoked for value, source in found.items()} == {"past.example": False, "off.example": True, "live.example": False}


def test_what_leaves_a_pulse_is_retired(server: Mirror) -> None:
    serve(server, pulse(1, observed("a.example"), observed("b.example")), pulse(2))
    polled()
    serve(server, pulse(1, observed("a.example"), modified="2026-02-02T00:00:00"))
    assert polled().retired == 1
    assert list(IndicatorSource.objects.filter(revoked=True).values_list("indicator__value", flat=True)) == ["b.example"]


def test_every_page_is_read_from_the_configured_server_whatever_next_names(server: Mirror) -> None:
    paged(server, pages_of(4))
    run = polled()
    assert (run.state, run.added) == ("ok", 4)
    assert [given["page"] for given in asked(server)] == ["1", "2", "3", "4"]
    assert {headers["x-otx-api-key"] for _, _, headers in server.requests} == {KEY}
    assert EgressEvent.objects.count() == 0


def test_the_second_poll_sends_modified_since_and_writes_nothing(server: Mirror) -> None:
    paged(server, pages_of(3))
    polled()
    assert cursor() == {"modified_since": "2026-02-01T00:00:03.000000"}
    before = sources()
    run = polled()
    assert (run.state, run.fetched, run.added, run.changed) == ("ok", 0, 0, 0)
    assert asked(server)[-1]["modified_since"] == "2026-02-01T00:00:03.000000"
    assert sources() == before
    paged(server, pages_of(3, later=(pulse(9),)))
    assert (polled().added, cursor()) == (1, {"modified_since": "2026-02-01T00:00:09.000000"})


def test_a_server_that_ignores_modified_since_writes_nothing_either(server: Mirror) -> None:
    serve(server, pulse(1), pulse(2))
    polled()
    before = sources()
    run = polled()
    assert (run.fetched, run.added, run.changed) == (2, 0, 0)
    assert sources() == before


def test_a_run_that_breaks_off_goes_on_a_page_before_and_loses_nothing(server: Mirror) -> None:
    whole = pages_of(5)

    def breaks(handler: BaseHTTPRequestHandler) -> None:
        given = query(handler.path)
        (body(b"", status=502) if int(given["page"]) >= 4 else body(json.dumps(whole(given)).encode()))(handler)

    server.answers[otx.PATH] = breaks
    assert polled().state == "failed"
    assert cursor() == {"page": "4", "newest": "2026-02-01T00:00:05.000000"}
    paged(server, pages_of(5, later=(pulse(9),)))
    server.requests.clear()
    assert polled().state == "ok"
    assert [given["page"] for given in asked(server)] == ["3", "4", "5", "6"]
    assert cursor() == {"modified_since": "2026-02-01T00:00:05.000000"}
    assert polled().added == 1, "what came meanwhile is the next poll's"
    assert IndicatorSource.objects.count() == 6


def test_a_run_that_may_take_no_more_goes_on_where_it_was(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    paged(server, pages_of(4))
    spec = feed_named("otx")
    assert spec is not None
    place: dict[str, str] = {}
    numbers = []
    with gated_client(purpose="test", headers=dict(spec.headers)) as client:
        for _run in range(3):
            for page in islice(otx.fetch(client, spec, place), 2):
                place = dict(page.cursor or {})
                numbers.append(place.get("page", "end"))
    assert numbers == ["2", "3", "3", "4", "4", "end"]
    monkeypatch.setattr(poll_module, "BUDGET", -1.0)
    assert polled().reason == poll_module.MORE


def test_large_pulses_are_stored_in_several_transactions_and_the_cursor_after_the_last(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otx, "MAX_RECORDS", 10)
    serve(server, *(pulse(number, *(observed(f"h{n}.p{number}.example") for n in range(8))) for number in range(1, 6)))
    spec = feed_named("otx")
    assert spec is not None
    with gated_client(purpose="test", headers=dict(spec.headers)) as client:
        pages = list(otx.fetch(client, spec, {}))
    assert [len(list(page.records)) for page in pages] == [16, 16, 8]
    assert [page.cursor for page in pages] == [None, None, {"modified_since": "2026-02-01T00:00:05.000000"}]
    assert polled().added == 40


def test_a_date_that_lies_ahead_is_no_cursor(server: Mirror) -> None:
    serve(server, pulse(1), pulse(2, modified="2199-01-01T00:00:00"))
    polled()
    assert cursor() == {"modified_since": "2026-02-01T00:00:01.000000"}


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────
FAULTS: dict[str, tuple[Any, str]] = {
    "500": (body(b"", status=500), "HTTP 500"),
    "403": (body(b'{"detail": "Invalid key"}', status=403), "credentials"),
    "429": (body(b"", status=429), "HTTP 429"),
    "html": (body(b"<html>log in</html>", content_type="text/html"), "not JSON"),
    "truncated": (body(json.dumps({"results": [pulse(1), pulse(2)]}).encode()[:-60]), "not whole"),
    "empty": (body(b""), "not whole"),
    "two documents": (body(b'{"results": []}{"results": []}'), "not whole"),
    "deep": (body(b'{"results": ' + b"[" * 10_000), "deep"),
    "too many parts": (body(b'{"results": [{"indicators": [' + b"[]," * 60_000 + b"[]]}]}"), "parts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_answer_fails_the_run_and_moves_no_cursor(fault: str, server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otx, "MAX_PARTS", 100_000)
    serve(server, pulse(1))
    assert polled().state == "ok"
    kept, place = sources(), cursor()
    server.answers[otx.PATH], word = FAULTS[fault]
    run = polled()
    assert (run.state, word in run.reason) == ("failed", True), run.reason
    assert KEY not in run.reason
    assert (sources(), cursor()) == (kept, place)
    serve(server, pulse(2))
    assert polled().added == 1


@pytest.mark.parametrize(
    "thing", [None, 7, "x", {}, {"id": 7}, {"id": "<script>"}, {"id": "a", "indicators": {"a": 1}}, {"id": "b", "tags": 7, "references": {}}]
)
def test_a_thing_that_is_no_pulse_stops_nobody(thing: Any, server: Mirror) -> None:
    serve(server, thing, pulse(1))
    run = polled()
    assert (run.state, run.added) == ("ok", 1)


def test_text_that_no_database_takes_is_cleaned(server: Mirror) -> None:
    hostile = pulse(1, observed("evil.example", title="\0"), name="a\0\ud800", tags=["\0", "b\0"], references=["https://x.example/\0"], modified="\0")
    serve(server, hostile)
    run = polled()
    assert (run.state, run.added) == ("ok", 1)
    source = IndicatorSource.objects.get()
    assert (source.description, source.labels[0], source.references) == ("a?", "b", [])


def endless(**changes: Any) -> Pager:
    numbers = iter(range(1, 10**9))
    return lambda _given: {"results": [pulse(next(numbers), modified="2026-02-01T00:00:00")], "next": "https://x.example/?page=2", **changes}


@pytest.mark.parametrize(
    ("pager", "word", "state"),
    [
        (endless(results=[pulse(1)]), "repeats a page", "failed"),
        (endless(), "more than 6 pages", "failed"),
        (endless(results=[]), "", "ok"),
    ],
    ids=["the same page", "always new ones", "always empty"],
)
def test_endless_paging_ends(pager: Pager, word: str, state: str, server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otx, "MAX_PAGES", 6)
    paged(server, pager)
    run = polled()
    assert (run.state, word in run.reason) == (state, True), run.reason
    assert len(server.requests) <= 6


def test_endless_paging_does_not_outlast_its_limit_by_being_cut_into_runs(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otx, "MAX_PAGES", 6)
    paged(server, endless())
    spec = feed_named("otx")
    assert spec is not None
    place: dict[str, str] = {}
    with gated_client(purpose="test") as client, pytest.raises(FeedError, match="more than 6 pages"):
        for _run in range(9):
            for page in islice(otx.fetch(client, spec, place), 2):
                place = dict(page.cursor or {})


# ── Where the key goes ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def other() -> Iterator[Mirror]:
    elsewhere = Mirror()
    elsewhere.answers[otx.PATH] = body(json.dumps({"results": [pulse(7)], "next": None}).encode())
    yield elsewhere
    elsewhere.close()


def test_a_next_on_another_server_is_never_asked(server: Mirror, other: Mirror) -> None:
    paged(server, pages_of(3, base=other.url))
    assert polled().added == 3
    assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_server_is_not_followed_with_the_key(status: int, server: Mirror, other: Mirror) -> None:
    server.answers[otx.PATH] = redirect(f"{other.url}{otx.PATH}", status)
    run = polled()
    assert (run.state, "credentials" in run.reason) == ("failed", True), run.reason
    assert other.requests == []


def test_a_redirect_on_the_same_server_is_followed(server: Mirror) -> None:
    server.answers[otx.PATH] = redirect("/elsewhere")
    server.answers["/elsewhere"] = body(json.dumps({"results": [pulse(1)], "next": None}).encode())
    assert polled().added == 1


def test_a_redirect_to_a_public_host_is_blocked_and_said_so(server: Mirror) -> None:
    server.answers[otx.PATH] = redirect(f"https://otx.alienvault.com{otx.PATH}")
    run = polled(retry=True)
    assert (run.state, run.rule) == ("failed", "public"), "a refusal is final: no retry"
    drain()
    event = EgressEvent.objects.get()
    assert (event.host, event.purpose, event.layer) == ("otx.alienvault.com", "feed.otx", "http")


def test_the_vendors_own_server_is_refused_under_air_gap(environment: Callable[..., object]) -> None:
    environment(AISOC_AIRGAPPED="1", OTX_API_KEY=KEY)
    run = polled()
    assert (run.state, run.rule) == ("refused", "public")


@pytest.mark.parametrize("fault", [*FAULTS, "redirect"])
def test_the_key_is_in_no_reason_row_log_or_repr(
    fault: str, server: Mirror, other: Mirror, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otx, "MAX_PARTS", 100_000)
    caplog.set_level("DEBUG")
    server.answers[otx.PATH] = FAULTS[fault][0] if fault in FAULTS else redirect(f"{other.url}/?key={KEY}")
    run = polled()
    rows = f"{list(FeedRun.objects.values())} {list(FeedCursor.objects.values())}"
    assert run.state == "failed"
    assert KEY not in f"{run.reason} {rows} {caplog.text} {feed_named('otx')!r}"
