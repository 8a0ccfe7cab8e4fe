"""Servers that would fill the memory or hold the worker: with the limits as they are, each poll ends as a failed run with its reason, and soon."""

import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Answer, Mirror, body
from threatintel import poll as poll_module
from threatintel import runs
from threatintel.models import FeedCursor, FeedRun, IndicatorSource
from threatintel.poll import poll
from threatintel.registry import feed_named

pytestmark = pytest.mark.django_db(transaction=True)
MIB = 2**20
GIGABYTE = 2**30
MOST_MEMORY = 200 * MIB  # by which a poll may grow the process
MOST_SECONDS = 30
# Feed -> the path of its data and the array in it.
FEEDS = {
    "kev": ("/kev.json", "vulnerabilities"),
    "taxii:indicators": ("/intel/collections/indicators/objects/", "objects"),
    "otx": ("/api/v1/pulses/subscribed", "results"),
}
# What is within the array, over and over.
FILLERS = {
    "spaces": b" " * 1024,
    "one long text": b"x" * 1024,
    "objects of many parts": b'{"cveID": "CVE-2024-10000", "a": [' + b"[]," * 10_000 + b"[]]},",
}


@pytest.fixture
def server(mirror: Mirror, environment: Callable[..., object]) -> Mirror:
    environment(
        AISOC_AIRGAPPED="1",
        CISA_KEV_URL=f"{mirror.url}/kev.json",
        TAXII_URL=f"{mirror.url}/intel/",
        TAXII_COLLECTION_IDS="indicators",
        OTX_BASE_URL=mirror.url,
        OTX_API_KEY="planted-key",
    )
    mirror.answers["/intel/"] = body(b'{"title": "x", "versions": ["application/taxii+json;version=2.1"]}')
    return mirror


def polled(feed: str, *, retry: bool = False) -> FeedRun:
    spec = feed_named(feed)
    assert spec is not None
    slot = runs.manual_slot()
    runs.open_run(feed, slot)
    assert poll(spec, slot, retry=retry) is not None
    return FeedRun.objects.get(slot=slot)


def opening(feed: str, filler: str) -> bytes:
    return b'{"%s": [' % FEEDS[feed][1].encode() + (b'{"id": "' if filler == "one long text" else b"")


def lazily(head: bytes, filler: bytes) -> Answer:
    """A gigabyte without its length, made while it is sent."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + head)
        piece = filler * (MIB // len(filler))
        for _ in range(GIGABYTE // len(piece)):
            handler.wfile.write(piece)

    return answer


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A gigabyte of spaces in a megabyte of gzip."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([packer.compress(b'{"a": 1, '), *(packer.compress(b" " * MIB) for _ in range(GIGABYTE // MIB)), packer.flush()])


@pytest.fixture
def grown() -> Callable[[], int]:
    """By how many bytes this process has been larger than it was at the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak; proc(5)
        before = _memory("VmRSS")
    except OSError:
        pytest.skip("This system does not tell a process its peak memory.")
    return lambda: _memory("VmHWM") - before


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("feed", FEEDS)
def test_a_body_of_a_gigabyte_costs_neither_memory_nor_time(feed: str, filler: str, server: Mirror, grown: Callable[[], int]) -> None:
    server.answers[FEEDS[feed][0]] = lazily(opening(feed, filler), FILLERS[filler])
    began = time.monotonic()
    run = polled(feed)
    assert run.state == "failed"
    assert any(word in run.reason for word in ("longer than", "more than", "is not an object")), run.reason
    assert time.monotonic() - began < MOST_SECONDS
    assert grown() < MOST_MEMORY
    assert not FeedCursor.objects.exclude(data={}).exists()
    assert not IndicatorSource.objects.exists()


@pytest.mark.parametrize("feed", FEEDS)
def test_a_gzip_bomb_costs_neither_memory_nor_time(feed: str, bomb: bytes, server: Mirror, grown: Callable[[], int]) -> None:
    server.answers[FEEDS[feed][0]] = body(bomb, headers={"Content-Encoding": "gzip"})
    began = time.monotonic()
    run = polled(feed)
    assert (run.state, "more than" in run.reason or "longer than" in run.reason) == ("failed", True), run.reason
    assert time.monotonic() - began < MOST_SECONDS
    assert grown() < MOST_MEMORY
    assert not FeedCursor.objects.exclude(data={}).exists()


@pytest.mark.parametrize("feed", FEEDS)
def test_a_body_that_drips_is_given_up_in_time(feed: str, server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
        while not stop.wait(0.05):
            handler.wfile.write(b" ")

    monkeypatch.setattr(poll_module, "WAIT", 0.3)
    monkeypatch.setattr(poll_module, "DEADLINE", 0.5)
    server.answers[FEEDS[feed][0]] = drip
    began = time.monotonic()
    run = polled(feed)
    stop.set()
    assert (run.state, "no answer in time" in run.reason) == ("failed", True), run.reason
    assert time.monotonic() - began < 5
    assert not FeedCursor.objects.exclude(data={}).exists()


@pytest.mark.parametrize("feed", ["taxii:indicators", "otx"])
@pytest.mark.parametrize(
    "answer",
    [
        body(b"", status=500),
        body(b'{"objects": [{"id": "x"}, ', content_type="application/json"),
        body(b"<html></html>", content_type="text/html"),
        body(b"{}", headers={"Content-Encoding": "br"}),
    ],
    ids=["HTTP 500", "truncated", "content type", "an encoding that was not asked for"],
)
def test_a_failing_feed_leaves_the_others_alone(feed: str, answer: Answer, server: Mirror) -> None:
    server.answers["/kev.json"] = body(catalogue([row(0), row(1)]))
    assert polled("kev").added == 2
    kept = list(IndicatorSource.objects.order_by("pk").values()), list(FeedCursor.objects.filter(feed="kev").values())
    server.answers[FEEDS[feed][0]] = answer
    run = polled(feed, retry=True)
    assert (run.state, bool(run.reason), run.not_before > run.finished_at) == ("queued", True, True), "it is tried again, later"
    assert (list(IndicatorSource.objects.order_by("pk").values()), list(FeedCursor.objects.filter(feed="kev").values())) == kept
    assert not FeedCursor.objects.filter(feed=feed).exclude(data={}).exists()
    assert polled("kev").state == "ok"
