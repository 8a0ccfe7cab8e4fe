"""TAXII 2.1 against a real server, 2.0 and every fault against one of our own: no object lost, none twice, the password to nobody else."""

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airgap.drain import drain
from airgap.models import EgressEvent
from airgap.transport import gated_client
from tests.plugins.mirror import Mirror, body, redirect
from tests.plugins.taxii_server import GROWS, LARGEST_PAGE, LOCKED, PASSWORD, REPORT, USERNAME, TaxiiServer, stix_id, stix_indicator
from threatintel import poll as poll_module
from threatintel import runs
from threatintel.feeds import taxii
from threatintel.models import FeedCursor, FeedRun, IndicatorSource
from threatintel.poll import poll
from threatintel.registry import feed_named
from threatintel.specs import FeedError

pytestmark = pytest.mark.django_db(transaction=True)
Environment = Callable[..., object]
Poll = Callable[..., FeedRun]
BASIC = f"Basic {base64.b64encode(f'{USERNAME}:{PASSWORD}'.encode()).decode()}"
PLANTED = PASSWORD


@pytest.fixture
def configured(environment: Environment) -> Callable[..., None]:
    def configure(url: str, collection: str = GROWS, **more: str) -> None:
        environment(
            AISOC_AIRGAPPED="1",
            TAXII_URL=url,
            TAXII_COLLECTION_IDS=collection,
            **{"TAXII_USERNAME": USERNAME, "TAXII_PASSWORD": PASSWORD, **more},
        )

    return configure


def polled(collection: str = GROWS, *, retry: bool = False) -> FeedRun:
    """One poll, now."""
    spec = feed_named(f"taxii:{collection}")
    assert spec is not None
    slot = runs.manual_slot()
    runs.open_run(spec.name, slot)
    assert poll(spec, slot, retry=retry) is not None
    return FeedRun.objects.get(slot=slot)


def cursor(collection: str = GROWS) -> dict[str, str]:
    return dict(FeedCursor.objects.get(feed=f"taxii:{collection}").data)


def sources() -> list[dict[str, Any]]:
    return list(IndicatorSource.objects.order_by("pk").values())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The query of each request for objects, as it is sent."""
    sent: list[dict[str, str]] = []
    get = taxii._get

    def spy(client: Any, url: str, accept: str, **options: Any) -> Any:
        if url.endswith("/objects/"):
            sent.append(dict(options.get("params") or {}))
        return get(client, url, accept, **options)

    monkeypatch.setattr(taxii, "_get", spy)
    return sent


# ── A real server ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_first_poll_reads_every_page_of_a_real_collection(configured: Callable[..., None], taxii_server: TaxiiServer, asked: list[Any]) -> None:
    configured(taxii_server.url, REPORT)
    run = polled(REPORT)
    assert (run.state, run.reason) == ("ok", "")
    assert len(asked) == -(-len(taxii_server.objects) // LARGEST_PAGE) > 2
    stated = set(IndicatorSource.objects.values_list("external_id", flat=True))
    assert stated == {one["id"] for one in taxii_server.indicators}
    kinds = {one["type"] for one in taxii_server.objects} - {"indicator"}
    assert {f"{kind} is no indicator" for kind in kinds} <= set(run.skips)
    assert run.skips["relationship is no indicator"] == sum(one["type"] == "relationship" for one in taxii_server.objects)
    assert run.skipped >= len(taxii_server.objects) - len(taxii_server.indicators)


def test_the_second_poll_sends_added_after_and_writes_nothing(configured: Callable[..., None], taxii_server: TaxiiServer, asked: list[Any]) -> None:
    configured(taxii_server.url, REPORT)
    assert polled(REPORT).added
    before = sources()
    asked.clear()
    run = polled(REPORT)
    assert (run.state, run.fetched, run.added, run.changed, run.retired) == ("ok", 0, 0, 0, 0)
    assert [query["added_after"] for query in asked] == [cursor(REPORT)["added_after"]]
    assert sources() == before


def test_what_is_added_later_is_read_and_what_was_read_is_not(configured: Callable[..., None], taxii_server: TaxiiServer) -> None:
    configured(taxii_server.url)
    taxii_server.add(stix_indicator("one"), stix_indicator("two"))
    assert (polled().added, polled().fetched) == (2, 0)
    taxii_server.add(
        stix_indicator("three"),
        stix_indicator("one", modified="2026-02-01T00:00:00.000Z", revoked=True),
    )
    run = polled()
    assert (run.fetched, run.added, run.changed) == (2, 1, 1)
    assert IndicatorSource.objects.get(external_id=stix_id("indicator", "one")).revoked
    assert FeedCursor.objects.get().data_date is not None


def test_a_marking_that_came_with_an_earlier_poll_is_asked_for(configured: Callable[..., None], taxii_server: TaxiiServer) -> None:
    """A collection gives a definition once. Without it the new version of a TLP:RED object would be amber."""
    red = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": stix_id("marking-definition", "red"),
        "created": "2026-01-01T00:00:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": "For three people."},
        "name": "TLP:RED",
    }
    configured(taxii_server.url)
    taxii_server.add(red, stix_indicator("marked", object_marking_refs=[red["id"]]))
    assert polled().state == "ok"
    taxii_server.add(
        stix_indicator("marked", modified="2026-03-01T00:00:00.000Z", object_marking_refs=[red["id"]]),
        stix_indicator("later", object_marking_refs=[red["id"]]),
        stix_indicator("never", object_marking_refs=[stix_id("marking-definition", "that nobody has")]),
    )
    run = polled()
    assert (run.state, run.skips["a marking whose definition did not come with it"]) == ("ok", 1)
    marked = dict(IndicatorSource.objects.values_list("external_id", "tlp"))
    assert [marked[stix_id("indicator", name)] for name in ("marked", "later", "never")] == ["red", "red", "amber"]


def test_a_poll_that_breaks_off_between_pages_loses_nothing(
    configured: Callable[..., None], taxii_server: TaxiiServer, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This server keeps the place itself: a page that was asked for and not stored is not given again under its `next`."""
    configured(taxii_server.url, REPORT)
    read = taxii._objects
    pages = 0

    def broken(*args: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise FeedError("The line went dead.")
        return read(*args)

    monkeypatch.setattr(taxii, "_objects", broken)
    assert polled(REPORT).state == "failed"
    assert len(asked) == 2
    assert polled(REPORT).state == "ok"
    assert set(IndicatorSource.objects.values_list("external_id", flat=True)) == {one["id"] for one in taxii_server.indicators}


@pytest.mark.parametrize(
    ("changes", "collection", "word"),
    [
        ({"TAXII_PASSWORD": "another"}, REPORT, "TAXII_PASSWORD"),
        ({"TAXII_USERNAME": ""}, REPORT, "TAXII_PASSWORD"),
        ({}, LOCKED, "403"),
        ({}, "unknown", "TAXII_COLLECTION_IDS"),
        ({"TAXII_API_ROOT": "elsewhere"}, REPORT, "TAXII_API_ROOT"),
    ],
)
def test_a_wrong_setting_is_a_reason_that_names_it(
    changes: dict[str, str], collection: str, word: str, configured: Callable[..., None], taxii_server: TaxiiServer
) -> None:
    configured(taxii_server.url, collection, **changes)
    run = polled(collection)
    assert (run.state, word in run.reason, "another" in run.reason) == ("failed", True, False)
    assert not FeedCursor.objects.exclude(data={}).exists()


@pytest.mark.parametrize("named", ["intel", "/intel/", "{root}", ""])
def test_the_api_root_may_be_a_name_a_path_a_url_or_the_servers_own(
    named: str, configured: Callable[..., None], taxii_server: TaxiiServer, airgapped: Callable[..., object]
) -> None:
    airgapped()
    with gated_client(purpose="test", auth=(USERNAME, PASSWORD)) as client:
        found = list(taxii.collections(client, taxii_server.url, named.format(root=taxii_server.root)))
    assert [(one.id, one.can_read) for one in found] == [(REPORT, True), (GROWS, True), (LOCKED, False)]


def test_a_url_that_is_an_api_root_needs_no_discovery(configured: Callable[..., None], taxii_server: TaxiiServer) -> None:
    configured(taxii_server.root, REPORT)
    assert polled(REPORT).state == "ok"


# ── A server of our own, for what no real one would do ───────────────────────────────────────────────────────────────
OBJECTS_21 = f"/intel/collections/{GROWS}/objects/"
Pager = Callable[[dict[str, str]], dict[str, Any]]


def says(document: Any, content_type: str = taxii.TAXII_21, **options: Any) -> Callable[[BaseHTTPRequestHandler], None]:
    return body(json.dumps(document).encode(), content_type=content_type, **options)


def query(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


@pytest.fixture
def server(mirror: Mirror, configured: Callable[..., None]) -> Mirror:
    """A TAXII 2.1 server whose objects a test decides."""
    mirror.answers["/taxii2/"] = says({"title": "x", "default": f"{mirror.url}/intel/"})
    configured(f"{mirror.url}/taxii2/")
    return mirror


def paged(mirror: Mirror, pager: Pager) -> None:
    mirror.answers[OBJECTS_21] = lambda handler: says(**pager(query(handler.path)))(handler)


def objects_asked(mirror: Mirror) -> list[dict[str, str]]:
    return [query(path) for _, path, _ in mirror.requests if path.startswith(OBJECTS_21)]


def envelope(*names: object, last: str = "", **more: Any) -> dict[str, Any]:
    headers = {"X-TAXII-Date-Added-Last": last} if last else {}
    return {"document": {"objects": [stix_indicator(name) for name in names], **more}, "headers": headers}


def three_pages(given: dict[str, str]) -> dict[str, Any]:
    place = int(given.get("next", "p1")[1:])
    more = {"more": True, "next": f"p{place + 1}"} if place < 3 else {"more": False}
    return envelope(f"{place}a", f"{place}b", last=f"2026-03-0{place}T00:00:00.000000Z", **more)


def test_a_next_that_changes_is_where_the_next_run_goes_on(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_module, "BUDGET", -1.0)  # one page a run
    paged(server, three_pages)
    assert polled().reason == poll_module.MORE
    assert cursor() == {"added_after": "2026-02-28T23:59:59.999000Z"}, "one page does not show whether `next` names a place"
    monkeypatch.setattr(poll_module, "BUDGET", 60.0)
    paged(server, lambda given: three_pages(given) if given.get("next") != "p3" else {"document": {}, "status": 500})
    assert polled().state == "failed"
    assert cursor() == {"added_after": "2026-02-28T23:59:59.999000Z", "next": "p3", "last": "2026-03-02T00:00:00.000000Z", "pages": "2"}
    paged(server, three_pages)
    assert polled().state == "ok"
    assert [given.get("next", "") for given in objects_asked(server)] == ["", "", "p2", "p3", "p3"]
    assert cursor() == {"added_after": "2026-03-03T00:00:00.000000Z"}
    assert IndicatorSource.objects.count() == 6


def test_a_next_that_the_server_has_forgotten_has_the_run_begin_again(server: Mirror) -> None:
    paged(server, lambda given: three_pages(given) if given.get("next") != "p3" else {"document": {}, "status": 500})
    assert polled().state == "failed"
    assert cursor()["next"] == "p3"
    paged(server, lambda given: three_pages(given) if given.get("next") != "p3" or len(server.requests) > 8 else {"document": {}, "status": 400})
    assert polled().state == "ok"
    assert IndicatorSource.objects.count() == 6


def test_a_server_that_pages_by_date_alone_is_read_to_its_end(server: Mirror) -> None:
    def by_date(given: dict[str, str]) -> dict[str, Any]:
        after = given.get("added_after", "")
        days = [day for day in (1, 2, 3) if f"2026-03-0{day}T00:00:00Z" > after]
        return envelope(days[0], last=f"2026-03-0{days[0]}T00:00:00Z", more=len(days) > 1) if days else {"document": {}}

    paged(server, by_date)
    assert polled().added == 3
    assert cursor() == {"added_after": "2026-03-03T00:00:00Z"}
    assert polled().fetched == 0


def test_a_date_that_lies_ahead_is_no_cursor(server: Mirror) -> None:
    paged(server, lambda _given: envelope(1, last="2150-01-01T00:00:00Z"))
    assert polled().state == "ok"
    assert cursor() == {}
    paged(server, lambda given: envelope(1, 2) if not given.get("added_after") else {"document": {}})
    assert polled().added == 1


def test_a_marking_is_known_to_what_stands_before_it(server: Mirror) -> None:
    marking = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": stix_id("marking-definition", "ours"),
        "created": "2026-01-01T00:00:00.000Z",
        "definition_type": "tlp",
        "definition": {"tlp": "red"},
    }
    marked = stix_indicator(1, object_marking_refs=[marking["id"]])
    paged(server, lambda _given: {"document": {"objects": [marked, marking]}})
    assert polled().skipped == 0
    assert IndicatorSource.objects.get().tlp == "red"


BAD_PAGES: dict[str, tuple[Callable[[BaseHTTPRequestHandler], None], str]] = {
    "500": (says({}, status=500), "HTTP 500"),
    "429": (says({}, status=429, headers={"Retry-After": "3600"}), "HTTP 429"),
    "401": (says({}, status=401), "TAXII_PASSWORD"),
    "406": (says({}, status=406), "neither TAXII 2.1 nor 2.0"),
    "html": (body(b"<html>log in</html>", content_type="text/html"), "not JSON"),
    "truncated": (body(json.dumps({"objects": [stix_indicator(8), stix_indicator(9)]}).encode()[:-40], content_type=taxii.TAXII_21), "not whole"),
    "too many objects": (body(b'{"objects": [' + b"{}," * 10_000 + b"{}]}", content_type=taxii.TAXII_21), "more than 10000 objects"),
    "too many parts": (body(b'{"objects": [' + (b"[" + b"[]," * 20_000 + b"[]],") * 60 + b"1]}", content_type=taxii.TAXII_21), "parts"),
    "more of nothing": (says({"more": True}), "not how to get it"),
    "a next of a million": (says({"objects": [stix_indicator(9)], "more": True, "next": "x" * 1_000_000}), "cannot be sent back"),
    "a next that is no text": (says({"objects": [stix_indicator(9)], "more": True, "next": "a\0b"}), "cannot be sent back"),
    "empty": (body(b"", content_type=taxii.TAXII_21), "not whole"),
}


@pytest.mark.parametrize("fault", BAD_PAGES)
def test_a_faulty_page_fails_the_run_and_moves_no_cursor(fault: str, server: Mirror) -> None:
    paged(server, lambda _given: envelope(1, last="2026-03-01T00:00:00Z"))
    assert polled().state == "ok"
    kept, place = sources(), cursor()
    server.answers[OBJECTS_21], word = BAD_PAGES[fault]
    run = polled()
    assert (run.state, word in run.reason) == ("failed", True), run.reason
    assert len(run.reason) < 200
    assert PLANTED not in run.reason
    assert sources() == kept
    assert cursor() == place
    paged(server, lambda _given: envelope(1, 2, last="2026-03-02T00:00:00Z"))
    assert (polled().added, cursor()["added_after"]) == (1, "2026-03-02T00:00:00Z")


def test_the_cursor_stands_where_the_data_ends_when_a_later_page_fails(server: Mirror) -> None:
    def second_breaks(given: dict[str, str]) -> dict[str, Any]:
        return three_pages(given) if "next" not in given else {"document": {}, "status": 500}

    paged(server, second_breaks)
    assert polled().state == "failed"
    assert IndicatorSource.objects.count() == 2
    assert cursor() == {"added_after": "2026-02-28T23:59:59.999000Z"}


@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [
        (429, "600", 600),
        (503, "Fri, 01 Jan 2100 00:00:00 GMT", 3600),
        (503, "99999999999", 3600),
        (429, "soon", 5),
        (429, "-7", 5),
        (429, "", 5),
    ],
)
def test_a_busy_server_is_left_alone_as_long_as_it_asks_an_hour_at_most(status: int, said: str, seconds: int, server: Mirror) -> None:
    server.answers[OBJECTS_21] = says({}, status=status, headers={"Retry-After": said} if said else {})
    run = polled(retry=True)
    assert (run.state, run.attempt) == ("queued", 1)
    assert run.finished_at is not None
    assert abs((run.not_before - run.finished_at).total_seconds() - seconds) < 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_too_busy_for_a_marking_is_asked_again_before_what_it_marks_is_stored(status: int, server: Mirror) -> None:
    red = {"type": "marking-definition", "id": stix_id("marking-definition", "red"), "name": "TLP:RED"}
    server.answers[OBJECTS_21] = says({"objects": [stix_indicator("marked", object_marking_refs=[red["id"]])]})
    server.answers[f"{OBJECTS_21}{red['id']}/"] = says({}, status=status, headers={"Retry-After": "60"})
    assert (polled(retry=True).state, sources()) == ("queued", [])
    server.answers[f"{OBJECTS_21}{red['id']}/"] = says({"objects": [red]})
    assert polled().state == "ok"
    assert IndicatorSource.objects.get().tlp == "red"


@pytest.mark.parametrize(
    "answer", [says({}, status=404), says({}, status=500), says({}, headers={"Content-Encoding": "gzip"}), body(b"<html>", content_type="text/html")]
)
def test_a_server_that_does_not_give_markings_costs_no_more_than_them(answer: Callable[[BaseHTTPRequestHandler], None], server: Mirror) -> None:
    mark = stix_id("marking-definition", "ours")
    server.answers[OBJECTS_21] = says({"objects": [stix_indicator("marked", object_marking_refs=[mark])]})
    server.answers[f"{OBJECTS_21}{mark}/"] = answer
    assert polled().state == "ok"
    assert IndicatorSource.objects.get().tlp == "amber"


def test_an_exported_collection_has_each_definition_before_what_it_marks(server: Mirror) -> None:
    """The server lists it later than the object, or never; whoever imports the file has to know it by then."""
    red = {"type": "marking-definition", "id": stix_id("marking-definition", "red"), "name": "TLP:RED"}
    marked = stix_indicator("marked", object_marking_refs=[red["id"]])
    server.answers[OBJECTS_21] = says({"objects": [marked]})
    server.answers[f"{OBJECTS_21}{red['id']}/"] = says({"objects": [red]})
    spec = feed_named(f"taxii:{GROWS}")
    assert spec is not None
    kept: list[Any] = []
    with gated_client(purpose="test", auth=spec.auth) as client:
        assert [page.tally.skipped for page in taxii.fetch(client, spec, {}, kept.append)] == [{}]
    assert kept == [red, marked]


def endless_same(_given: dict[str, str]) -> dict[str, Any]:
    return envelope(1, more=True, next="again", last="2026-03-01T00:00:00Z")


def endless_renamed() -> Pager:
    numbers = iter(range(10**9))
    return lambda _given: envelope(1, more=True, next=f"n{next(numbers)}", last="2026-03-01T00:00:00Z")


def endless_fresh() -> Pager:
    numbers = iter(range(10**9))
    return lambda _given: envelope(number := next(numbers), more=True, next=f"n{number}", last="2026-03-01T00:00:00Z")


def endless_empty() -> Pager:
    numbers = iter(range(10**9))
    return lambda _given: {"document": {"more": True, "next": f"n{next(numbers)}"}}


def endless_by_date() -> Pager:
    return lambda _given: envelope(1, more=True, last="2026-03-01T00:00:00Z")


@pytest.mark.parametrize(
    ("pager", "word"),
    [
        (endless_same, "repeats a page"),
        (endless_renamed(), "repeats a page"),
        (endless_fresh(), "more than 8 pages"),
        (endless_empty(), "more than 8 pages"),
        (endless_by_date(), "not how to get it"),
    ],
    ids=["same next", "same objects", "new objects", "no objects", "same date"],
)
def test_endless_paging_ends_as_a_reason(pager: Pager, word: str, server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taxii, "MAX_PAGES", 8)
    paged(server, pager)
    run = polled()
    assert (run.state, word in run.reason) == ("failed", True), run.reason
    assert len(objects_asked(server)) <= 9


def test_endless_paging_does_not_outlast_its_limit_by_being_cut_into_runs(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taxii, "MAX_PAGES", 10)
    paged(server, endless_fresh())
    spec = feed_named(f"taxii:{GROWS}")
    assert spec is not None
    place: dict[str, str] = {}
    with gated_client(purpose="test") as client, pytest.raises(FeedError, match="more than 10 pages"):
        for _run in range(5):
            for page in islice(taxii.fetch(client, spec, place), 3):
                place = dict(page.cursor or {})


# ── TAXII 2.0 ────────────────────────────────────────────────────────────────────────────────────────────────────────
class Old:
    """A TAXII 2.0 server: another media type, a STIX 2.0 bundle, pages by Range."""

    def __init__(self, mirror: Mirror, count: int) -> None:
        self.count = count
        self.ranges: list[str] = []
        self.queries: list[dict[str, str]] = []
        mirror.answers["/taxii2/"] = self._only_old({"title": "x", "api_roots": [f"{mirror.url}/intel/"]})
        mirror.answers[OBJECTS_21] = self.objects

    @staticmethod
    def _only_old(document: Any) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            if "vnd.oasis.taxii" in handler.headers["Accept"]:
                says(document, "application/vnd.oasis.taxii+json; version=2.0")(handler)
            else:
                says({}, status=406)(handler)

        return answer

    def objects(self, handler: BaseHTTPRequestHandler) -> None:
        assert handler.headers["Accept"] == taxii.STIX_20
        self.ranges.append(handler.headers["Range"])
        self.queries.append(query(handler.path))
        first, last = (int(part) for part in handler.headers["Range"].removeprefix("items ").split("-"))
        after = int(query(handler.path).get("added_after", "2026-03-01T00:00:00Z")[17:19])
        numbers = range(after, self.count)
        if first >= len(numbers):
            says({}, STIX, status=416 if numbers else 404)(handler)
            return
        page = numbers[first : last + 1]
        says(
            {"type": "bundle", "id": stix_id("bundle", 1), "spec_version": "2.0", "objects": [old_indicator(number) for number in page]},
            STIX,
            status=206 if len(page) < len(numbers) else 200,
            headers={
                "Content-Range": f"items {first}-{first + len(page) - 1}/{len(numbers)}",
                "X-TAXII-Date-Added-Last": f"2026-03-01T00:00:{page[-1] + 1:02}Z",
            },
        )(handler)


STIX = "application/vnd.oasis.stix+json; version=2.0"


def old_indicator(number: int) -> dict[str, Any]:
    indicator = stix_indicator(number, labels=["malicious-activity"])
    del indicator["spec_version"], indicator["pattern_type"]
    return indicator


@pytest.fixture
def old(mirror: Mirror, configured: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Old:
    monkeypatch.setattr(taxii, "LIMIT", 10)
    configured(f"{mirror.url}/taxii2/")
    return Old(mirror, 25)


def test_taxii_20_is_spoken_by_media_type_and_paged_by_range(old: Old) -> None:
    run = polled()
    assert (run.state, run.added) == ("ok", 25)
    assert old.ranges == ["items 0-9", "items 10-19", "items 20-29"]
    assert cursor() == {"added_after": "2026-03-01T00:00:25Z"}
    assert (polled().state, old.queries[-1]) == ("ok", {"added_after": "2026-03-01T00:00:25Z"})
    old.count = 27
    assert polled().added == 2


def test_a_run_of_taxii_20_that_breaks_off_goes_on_a_page_before(old: Old, mirror: Mirror) -> None:
    def third_breaks(handler: BaseHTTPRequestHandler) -> None:
        says({}, STIX, status=500)(handler) if handler.headers["Range"] == "items 20-29" else old.objects(handler)

    mirror.answers[OBJECTS_21] = third_breaks
    assert polled().state == "failed"
    assert cursor() == {"items": "20", "last": "2026-03-01T00:00:20Z"}
    mirror.answers[OBJECTS_21] = old.objects
    old.ranges.clear()
    assert polled().added == 5
    assert old.ranges == ["items 10-19", "items 20-29"]
    assert cursor() == {"added_after": "2026-03-01T00:00:25Z"}


def test_a_collection_that_shrank_meanwhile_is_read_from_its_start(old: Old, mirror: Mirror) -> None:
    assert polled().added == 25
    FeedCursor.objects.update(data={"items": "20"})
    old.count = 5
    old.ranges.clear()
    assert polled().state == "ok"
    assert old.ranges == ["items 10-19", "items 0-9"]
    assert cursor() == {"added_after": "2026-03-01T00:00:05Z"}


@pytest.mark.parametrize(
    ("span", "word"),
    [("items 0-9/25", "another Range"), ("", "something else"), ("bytes 10-19/25", "another Range"), ("items 10-19/99999999999999", "another Range")],
)
def test_a_server_that_ignores_the_range_is_not_read_as_if_it_had_not(span: str, word: str, old: Old, mirror: Mirror) -> None:
    def second_is_wrong(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers["Range"] == "items 0-9":
            old.objects(handler)
        else:
            headers = {"Content-Range": span} if span else {}
            says({"objects": [old_indicator(number) for number in range(10)]}, STIX, status=206, headers=headers)(handler)

    mirror.answers[OBJECTS_21] = second_is_wrong
    run = polled()
    assert (run.state, word in run.reason) == ("failed", True), run.reason
    assert cursor()["items"] == "10"


def test_a_range_of_unknown_length_is_read_until_nothing_comes(old: Old, mirror: Mirror) -> None:
    def unknown(handler: BaseHTTPRequestHandler) -> None:
        first = int(handler.headers["Range"].removeprefix("items ").split("-")[0])
        page = range(first, min(first + 10, 25))
        if not page:
            says({}, STIX, status=416)(handler)
            return
        headers = {"Content-Range": f"items {first}-{page[-1]}/*", "X-TAXII-Date-Added-Last": "2026-03-01T00:00:25Z"}
        says({"objects": [old_indicator(number) for number in page]}, STIX, status=206, headers=headers)(handler)

    mirror.answers[OBJECTS_21] = unknown
    assert polled().added == 25
    assert cursor() == {"added_after": "2026-03-01T00:00:25Z"}


def test_a_server_that_speaks_neither_version_says_which_setting_to_check(mirror: Mirror, configured: Callable[..., None]) -> None:
    mirror.answers["/taxii2/"] = says({}, status=406)
    configured(f"{mirror.url}/taxii2/")
    run = polled()
    assert (run.state, "TAXII_URL" in run.reason) == ("failed", True)


# ── Where the password goes ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def other() -> Iterator[Mirror]:
    server = Mirror()
    server.answers["/intel/"] = says({"title": "x", "versions": [taxii.TAXII_21]})
    server.answers[OBJECTS_21] = says(document={"objects": [stix_indicator("theirs")]})
    yield server
    server.close()


def authorized(mirror: Mirror) -> list[str]:
    return [path for _, path, headers in mirror.requests if "authorization" in headers]


@pytest.mark.parametrize(
    "where", ["{url}/intel/", "//{host}/intel/", "http://aisoc@{host}/intel/", "http:{host}", "http://[bad", "https://www.example.com/"]
)
def test_an_api_root_on_another_server_is_refused(where: str, server: Mirror, other: Mirror) -> None:
    host = other.url.removeprefix("http://")
    server.answers["/taxii2/"] = says({"title": "x", "api_roots": [where.format(url=other.url, host=host)]})
    run = polled()
    assert (run.state, "API root" in run.reason or "HTTP 404" in run.reason) == ("failed", True), run.reason
    assert other.requests == []


def test_an_api_root_that_is_configured_on_another_server_is_refused(server: Mirror, other: Mirror, configured: Callable[..., None]) -> None:
    configured(f"{server.url}/taxii2/", TAXII_API_ROOT=f"{other.url}/intel/")
    run = polled()
    assert (run.state, "TAXII_URL" in run.reason) == ("failed", True)
    assert other.requests == []


def test_the_same_origin_in_other_words_is_the_same(server: Mirror) -> None:
    server.answers["/taxii2/"] = says({"title": "x", "default": f"HTTP://127.0.0.1:{server.port}/intel"})
    paged(server, lambda _given: envelope(1))
    assert polled().state == "ok"
    assert set(authorized(server)) == {path for _, path, _ in server.requests}


def test_a_redirect_to_another_server_goes_without_the_password(server: Mirror, other: Mirror) -> None:
    server.answers[OBJECTS_21] = redirect(f"{other.url}{OBJECTS_21}")
    polled()
    assert len(other.requests) == 1
    assert authorized(other) == []
    assert BASIC in {headers.get("authorization") for _, _, headers in server.requests}


def test_a_redirect_on_the_same_server_is_followed(server: Mirror, configured: Callable[..., None]) -> None:
    server.answers["/taxii2"] = redirect("/taxii2/", 308)
    paged(server, lambda _given: envelope(1))
    configured(f"{server.url}/taxii2")
    assert polled().added == 1
    assert len(authorized(server)) == len(server.requests)


@pytest.mark.parametrize("path", ["/taxii2/", OBJECTS_21])
def test_a_redirect_to_a_public_host_is_blocked_and_said_so(path: str, server: Mirror) -> None:
    server.answers[path] = redirect("https://taxii.example.com/taxii2/")
    run = polled(retry=True)
    assert (run.state, run.rule) == ("failed", "public"), "a refusal is final: no retry"
    assert "taxii.example.com" in run.reason
    drain()
    event = EgressEvent.objects.get()
    assert (event.host, event.purpose, event.layer) == ("taxii.example.com", f"feed.taxii:{GROWS}", "http")
    assert not FeedCursor.objects.exclude(data={}).exists()


def test_the_password_is_in_no_reason_log_or_repr(server: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server.answers[OBJECTS_21] = says({}, status=401)
    run = polled()
    spec = feed_named(f"taxii:{GROWS}")
    said = f"{run.reason} {caplog.text} {spec!r} {list(FeedRun.objects.values())} {list(FeedCursor.objects.values())}"
    assert PLANTED not in said
    assert BASIC.removeprefix("Basic ") not in said
