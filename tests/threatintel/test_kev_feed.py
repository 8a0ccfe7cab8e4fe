"""The KEV feed: one conditional request, all or nothing, and every fault of a mirror ends as a reason."""

import gzip
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from airgap.models import EgressEvent
from airgap.policy import EgressPolicy
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body, redirect
from threatintel import poll as poll_module
from threatintel import runs
from threatintel.feeds import kev
from threatintel.models import FeedCursor, FeedRun, Indicator, IndicatorSource
from threatintel.poll import poll
from threatintel.registry import feed_named

pytestmark = pytest.mark.django_db(transaction=True)
Environment = Callable[..., object]


@pytest.fixture
def poll_kev(environment: Environment, mirror: Mirror) -> Callable[..., FeedRun]:
    """Polls the mirror's /kev.json once, under air gap, and returns the run."""
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL=f"{mirror.url}/kev.json")

    def once(*, retry: bool = False) -> FeedRun:
        spec = feed_named("kev")
        assert spec is not None
        slot = runs.manual_slot()
        runs.open_run("kev", slot)
        polled = poll(spec, slot, retry=retry)
        assert polled is not None
        return FeedRun.objects.get(slot=slot)

    return once


def serve(mirror: Mirror, content: bytes, **options: object) -> None:
    mirror.answers["/kev.json"] = body(content, **options)  # type: ignore[arg-type]


def test_a_catalogue_becomes_indicators(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0), row(1)]))
    run = poll_kev()
    assert (run.state, run.fetched, run.added, run.reason) == ("ok", 2, 2, "")
    source = IndicatorSource.objects.select_related("indicator").get(external_id="CVE-2024-10001")
    assert (source.indicator.type, source.indicator.value) == ("vulnerability", "CVE-2024-10001")
    assert (source.feed, source.confidence, source.tlp, source.labels) == ("kev", 100, "clear", ["kev", "exploited", "ransomware"])
    assert source.url == "https://nvd.nist.gov/vuln/detail/CVE-2024-10001"
    assert source.first_seen.isoformat() == "2024-05-01T00:00:00+00:00"
    assert json.loads(source.raw)["vendorProject"] == "Example"
    assert FeedCursor.objects.get().data_date.isoformat() == "2024-05-01T17:04:19.979600+00:00"


def test_the_real_catalogue_gives_1404_vulnerabilities(poll_kev: Callable[..., FeedRun], mirror: Mirror, shared_data: Path) -> None:
    serve(mirror, (shared_data / "kev.json").read_bytes())
    run = poll_kev()
    assert (run.state, run.added) == ("ok", 1404)
    assert Indicator.objects.filter(type="vulnerability").count() == 1404
    assert poll_kev().changed == 0


def test_the_second_poll_is_conditional_and_writes_nothing(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0)]), headers={"ETag": '"abc"', "Last-Modified": "Wed, 01 May 2024 17:04:19 GMT"})
    poll_kev()
    before = list(IndicatorSource.objects.values_list("pk", "updated_at"))
    mirror.answers["/kev.json"] = body(b"", status=304)
    run = poll_kev()
    assert (run.state, run.fetched, run.added, run.changed) == ("ok", 0, 0, 0)
    headers = mirror.requests[-1][2]
    assert (headers["if-none-match"], headers["if-modified-since"]) == ('"abc"', "Wed, 01 May 2024 17:04:19 GMT")
    assert list(IndicatorSource.objects.values_list("pk", "updated_at")) == before


def test_the_same_catalogue_again_writes_no_indicator(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0), row(1)]))
    poll_kev()
    before = list(IndicatorSource.objects.values_list("pk", "updated_at"))
    run = poll_kev()
    assert (run.fetched, run.added, run.changed, run.retired) == (2, 0, 0, 0)
    assert list(IndicatorSource.objects.values_list("pk", "updated_at")) == before


def test_changes_removals_and_returns_are_followed(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0), row(1), row(2)]))
    poll_kev()
    serve(mirror, catalogue([row(0), row(1, knownRansomwareCampaignUse="Unknown"), row(3)]))
    run = poll_kev()
    assert (run.added, run.changed, run.retired) == (1, 1, 1)
    assert IndicatorSource.objects.get(external_id="CVE-2024-10002").revoked
    assert IndicatorSource.objects.get(external_id="CVE-2024-10001").labels == ["kev", "exploited"]
    serve(mirror, catalogue([row(0), row(1), row(2)]))
    run = poll_kev()
    assert not IndicatorSource.objects.get(external_id="CVE-2024-10002").revoked
    assert (run.added, run.changed, run.retired) == (0, 2, 1)


def test_the_cursor_belongs_to_the_url(poll_kev: Callable[..., FeedRun], mirror: Mirror, environment: Environment) -> None:
    serve(mirror, catalogue([row(0)]), headers={"ETag": '"abc"'})
    poll_kev()
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL=f"{mirror.url}/other.json")
    mirror.answers["/other.json"] = body(catalogue([row(0)]))
    assert poll_kev().state == "ok"
    assert "if-none-match" not in mirror.requests[-1][2]


def test_gzip_is_read(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, gzip.compress(catalogue([row(0)])), headers={"Content-Encoding": "gzip"})
    assert poll_kev().state == "ok"


def drip(stop: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            handler.wfile.write(b" ")

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"vulnerabilities": [')
    while True:
        handler.wfile.write(b'{"cveID": "CVE-2024-12345"},' * 1000)


def silence(stop: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda _handler: stop.wait(30) and None


WHOLE = catalogue([row(0), row(1)])
FAULTS = {
    "500": (body(b"oops", status=500), "HTTP 500"),
    "404": (body(b"", status=404), "HTTP 404"),
    "401": (body(b"", status=401), "credentials"),
    "204": (body(b"", status=204), "HTTP 204"),
    "html": (body(b"<html>log in</html>", content_type="text/html"), "text/html, not JSON"),
    "html as json": (body(b"<html>log in</html>"), "JSON is not whole"),
    "empty": (body(b""), "JSON is not whole"),
    "truncated": (body(WHOLE[:-40]), "JSON is not whole"),
    "two documents": (body(WHOLE + WHOLE), "JSON is not whole"),
    "not utf-8": (body(WHOLE.replace(b"Example", b"\xff\xfe")), "JSON is not whole"),
    "another document": (body(b'{"hello": "world"}'), "no rows"),
    "a list": (body(b"[1, 2, 3]"), "no rows"),
    "no rows": (body(catalogue([])), "no rows"),
    "a part": (body(catalogue([row(0)], count=1404)), "says 1404 rows but has 1"),
    "no count": (body(catalogue([row(0)], count=None)), "rows"),
    "a row without an id": (body(catalogue([row(0), row(1, cveID="")])), "CVE id"),
    "a row with a script for an id": (body(catalogue([row(0, cveID="<script>")])), "CVE id"),
    "rows of another kind": (body(catalogue([1, 2])), "not an object"),  # type: ignore[list-item]
    "gzip bomb": (body(gzip.compress(b" " * 80_000_000), headers={"Content-Encoding": "gzip"}), "longer than"),
    "endless": (endless, "longer than"),
    "redirect loop": (redirect("/kev.json"), "too many redirects"),
    "304 to a first poll": (body(b"", status=304), "HTTP 304"),
    "a number without end": (body(b'{"count": ' + b"9" * 100_000 + b', "vulnerabilities": []}'), "JSON is not whole"),
    "deep nesting": (body(b'{"vulnerabilities": ' + b"[" * 100_000), "deep"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_answer_fails_the_run_with_its_reason_and_keeps_what_was_there(
    fault: str, poll_kev: Callable[..., FeedRun], mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault != "304 to a first poll":
        serve(mirror, WHOLE, headers={"ETag": '"good"'})
        poll_kev()
    sources = list(IndicatorSource.objects.order_by("pk").values())
    cursors = list(FeedCursor.objects.values("data", "data_date"))
    answer, word = FAULTS[fault]
    mirror.answers["/kev.json"] = answer
    monkeypatch.setattr(poll_module, "MAX_BYTES", 5_000_000)
    run = poll_kev()
    assert run.state == "failed"
    assert word in run.reason
    assert "\n" not in run.reason
    assert list(IndicatorSource.objects.order_by("pk").values()) == sources
    if fault != "304 to a first poll":
        assert list(FeedCursor.objects.values("data", "data_date")) == cursors
    serve(mirror, WHOLE)
    assert poll_kev().state == "ok", "the next poll works"


@pytest.mark.parametrize("how", ["drip", "silence", "refused"])
def test_a_mirror_that_does_not_answer_is_given_up_in_time(
    how: str, poll_kev: Callable[..., FeedRun], mirror: Mirror, monkeypatch: pytest.MonkeyPatch, environment: Environment
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(poll_module, "WAIT", 0.3)
    monkeypatch.setattr(poll_module, "DEADLINE", 0.6)
    if how == "refused":
        environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="http://127.0.0.1:9/kev.json")
    else:
        mirror.answers["/kev.json"] = drip(stop) if how == "drip" else silence(stop)
    run = poll_kev()
    stop.set()
    assert run.state == "failed"
    assert "no answer in time" in run.reason or "no connection" in run.reason
    assert (run.finished_at - run.started_at).total_seconds() < 10


def test_a_body_of_a_gigabyte_is_refused_at_its_announcement(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    def announce(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n")

    mirror.answers["/kev.json"] = announce
    run = poll_kev()
    assert (run.state, "1073741824 bytes" in run.reason) == ("failed", True)


def test_a_mirror_that_redirects_to_a_public_host_is_blocked_and_said_so(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    from airgap.drain import drain

    mirror.answers["/kev.json"] = redirect("https://www.cisa.gov/kev.json")
    run = poll_kev(retry=True)
    assert (run.state, run.rule) == ("failed", "public"), "a refusal is final: no retry"
    assert "www.cisa.gov" in run.reason
    drain()
    event = EgressEvent.objects.get()
    assert (event.host, event.purpose, event.layer) == ("www.cisa.gov", "feed.kev", "http")


def test_a_worker_under_a_stricter_policy_than_beat_refuses(
    poll_kev: Callable[..., FeedRun], mirror: Mirror, airgapped: Callable[..., EgressPolicy], environment: Environment
) -> None:
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="https://www.cisa.gov/kev.json")
    run = poll_kev()
    assert (run.state, run.rule) == ("refused", "public")
    assert mirror.requests == []


def test_a_failed_poll_is_queued_again_with_back_off_and_then_given_up(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    mirror.answers["/kev.json"] = body(b"", status=500)
    run = poll_kev(retry=True)
    assert (run.state, run.attempt, "HTTP 500" in run.reason) == ("queued", 1, True)
    assert 4 < (run.not_before - run.finished_at).total_seconds() < 6
    for attempt in range(2, runs.MAX_ATTEMPTS + 1):
        FeedRun.objects.filter(pk=run.pk).update(not_before=run.created_at, lease_until=run.created_at)
        spec = feed_named("kev")
        assert spec is not None
        poll(spec, run.slot)
        run.refresh_from_db()
        assert run.attempt == attempt
    assert run.state == "failed"


def test_an_unexpected_error_ends_the_run_with_a_reason_and_a_logged_traceback(
    poll_kev: Callable[..., FeedRun], mirror: Mirror, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve(mirror, WHOLE)

    def broken(*_args: object) -> None:
        raise ZeroDivisionError("planted-detail")

    monkeypatch.setattr(kev, "page_of", broken)
    run = poll_kev()
    assert (run.state, "ZeroDivisionError" in run.reason, "planted-detail" in run.reason) == ("failed", True, False)
    assert any(record.exc_info for record in caplog.records)


# ── Values that a hostile or broken mirror may plant ─────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "2500-01-01", "soon"])
def test_a_date_that_no_database_takes_is_left_out(date: str, poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0, dateAdded=date)], dateReleased=date))
    assert poll_kev().state == "ok"
    assert FeedCursor.objects.get().data_date is None
    assert IndicatorSource.objects.get().first_seen is None
    assert poll_kev().state == "ok"


@pytest.mark.parametrize("etag", [b"\xe9", b'"' + b"x" * 300 + b'"'])
def test_a_validator_that_cannot_be_sent_back_is_not_kept(etag: bytes, poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    content = catalogue([row(0)])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: " + etag + b"\r\nContent-Length: " + str(len(content)).encode()
        handler.wfile.write(head + b"\r\n\r\n" + content)

    mirror.answers["/kev.json"] = answer
    assert [poll_kev().state for _ in range(3)] == ["ok"] * 3
    assert "etag" not in FeedCursor.objects.get().data


def test_nul_characters_are_taken_out(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0, vulnerabilityName="a\0b", notes="x\0", cwes=["\0"])], catalogVersion="1\0"))
    assert poll_kev().state == "ok"
    assert IndicatorSource.objects.get().description == "ab"


def test_a_long_count_makes_no_long_reason(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    serve(mirror, catalogue([row(0)], count="x" * 1_000_000))
    assert len(poll_kev().reason) < 200


def test_a_row_of_millions_of_parts_is_refused_before_it_costs_memory(poll_kev: Callable[..., FeedRun], mirror: Mirror) -> None:
    parts = b"[" + b"[]," * 1_000_000 + b"[]]"
    serve(mirror, b'{"count": 1, "vulnerabilities": [{"cveID": "CVE-2024-10000", "cwes": ' + parts + b"}]}")
    run = poll_kev()
    assert (run.state, "parts" in run.reason) == ("failed", True)
