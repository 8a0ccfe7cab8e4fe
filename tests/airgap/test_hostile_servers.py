"""What a hostile mirror or a planted file can do to the gate and to the trail: nothing that lasts."""

import gzip
import os
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from django.db.models import Sum

from airgap import chain, events, segments
from airgap import spool as spool_module
from airgap.active import deployment_key
from airgap.drain import drain, drain_quietly, hand_over
from airgap.models import EgressEvent
from airgap.policy import EgressPolicy, Rule
from airgap.segments import OTHER, unreadable, waiting_segments
from airgap.spool import MAX_KEYS, Spool
from airgap.transport import AirgapBlocked, BodyTooLarge, RedirectRefused, gated_client
from tests.plugins.mirror import Mirror, body, redirect

Policy = Callable[..., EgressPolicy]
NOW = 1_750_000_020.0


def total() -> int:
    return EgressEvent.objects.aggregate(n=Sum("count"))["n"] or 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("port", ["-5", "0", "65536", "2147483648", "99999999999999999", "9" * 25, "9" * 3000])
def test_a_redirect_to_an_impossible_port_is_refused_recorded_and_drained(port: str, airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    mirror.answers["/moved"] = redirect(f"http://evil.example:{port}/")
    with gated_client(purpose="test") as client, pytest.raises((AirgapBlocked, httpx.RemoteProtocolError)) as caught:
        client.get(f"{mirror.url}/moved", follow_redirects=True)
    if isinstance(caught.value, AirgapBlocked):
        assert caught.value.decision.rule in (Rule.MALFORMED, Rule.PUBLIC)
        assert drain() == 1
        assert EgressEvent.objects.get().port in (0, 80)
    events.record(events.Refusal("next.example", 443, Rule.PUBLIC, "why", events.Layer.HTTP))
    assert drain_quietly() == "", "whatever came of the redirect, the next refusal is drained"
    assert EgressEvent.objects.filter(host="next.example", port=443).count() == 1


@pytest.mark.parametrize("location", ["http://[fe80::1%25é]/", "http://[", "http://a:b:c/", "http://\ud800/", "//", "http:///x"])
def test_a_redirect_to_rubbish_is_an_error_of_the_client_and_nothing_else(location: str, airgapped: Policy) -> None:
    airgapped()
    answer = httpx.MockTransport(lambda _request: httpx.Response(302, headers=[(b"Location", location.encode("utf-8", "surrogatepass"))]))
    for scheme in ("http", "https"):
        with gated_client(purpose="test", inner=answer) as client, pytest.raises((AirgapBlocked, httpx.HTTPError)):
            client.get(f"{scheme}://intel.corp/", follow_redirects=True)


def test_a_length_beside_chunks_does_not_lift_the_limit(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()

    def both(status: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True
            handler.wfile.write(b"HTTP/1.1 " + status + b" OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nLocation: /x\r\n\r\n")
            while True:
                handler.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

        return answer

    for status in (b"200", b"302"):
        mirror.answers["/both"] = both(status)
        with gated_client(purpose="test", max_bytes=1_000_000) as client, pytest.raises((BodyTooLarge, httpx.RemoteProtocolError)):
            client.get(f"{mirror.url}/both", follow_redirects=True)


def test_garbage_behind_a_compressed_answer_is_an_error_at_once(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}"))
        while True:
            handler.wfile.write(b"\0" * 65536)

    mirror.answers["/endless"] = endless
    with gated_client(purpose="test") as client, pytest.raises(httpx.DecodingError):
        client.get(f"{mirror.url}/endless")


def test_own_headers_never_go_to_another_origin(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    other = Mirror()
    try:
        mirror.answers["/moved"] = redirect(f"{other.url}/collect")
        mirror.answers["/near"] = redirect("/here")
        mirror.answers["/here"] = body(b"{}")
        with gated_client(purpose="test", headers={"X-OTX-API-KEY": "planted"}) as client:
            with pytest.raises(RedirectRefused):
                client.get(f"{mirror.url}/moved", follow_redirects=True)
            assert client.get(f"{mirror.url}/near", follow_redirects=True).status_code == 200
        assert other.requests == []
        with gated_client(purpose="test") as client:
            other.answers["/collect"] = body(b"{}")
            assert client.get(f"{mirror.url}/moved", follow_redirects=True).status_code == 200
    finally:
        other.close()


def test_redirects_share_one_deadline(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.4)
        redirect("/slow")(handler)

    mirror.answers["/slow"] = slow
    started = time.monotonic()
    with gated_client(purpose="test", deadline=0.6) as client, pytest.raises(httpx.ReadTimeout):
        client.get(f"{mirror.url}/slow", follow_redirects=True)
    assert time.monotonic() - started < 1.6


def test_a_body_that_another_thread_reads_keeps_its_deadline(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            handler.wfile.write(b"x")

    mirror.answers["/drip"] = drip
    caught: list[BaseException] = []
    with gated_client(purpose="test", deadline=1.5) as client, client.stream("GET", f"{mirror.url}/drip") as response:

        def read() -> None:
            try:
                response.read()
            except httpx.HTTPError as error:
                caught.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(10)
        stop.set()
        assert [type(error) for error in caught] == [httpx.ReadTimeout]


# ── The trail ────────────────────────────────────────────────────────────────────────────────────────────────────────
def attempt(spool: Spool, host: str = "a.example", port: int = 443, **fields: str) -> None:
    spool.add(
        (host, port, fields.get("path", "/"), "public", "http", fields.get("purpose", "t"), fields.get("tenant", ""), fields.get("caller", "")),
        "why",
        NOW,
    )


@pytest.mark.django_db(transaction=True)
def test_planted_and_damaged_files_hold_up_nothing(spool_dir: Path) -> None:
    recorder = events.recorder()
    assert recorder is not None
    attempt(recorder.spool)
    recorder.spool.seal()
    (good,) = spool_dir.glob("*.sealed")
    content = good.read_bytes()
    (spool_dir / "0-empty.sealed").touch()
    (spool_dir / "0-short.sealed").write_bytes(content[:2000])
    (spool_dir / "0-foreign.seg").write_bytes(b"rubbish")
    (spool_dir / "0-header.sealed").write_bytes(content.replace(b'{"service"', b'["service"'))
    (spool_dir / "0-folder.sealed").mkdir()
    os.mkfifo(spool_dir / "0-fifo.sealed")
    (spool_dir / "0-link.sealed").symlink_to("/etc/passwd")
    assert drain() == 1
    assert drain_quietly() == ""
    assert total() == 1
    assert not good.exists()


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_does_not_take_is_left_out_and_told_and_the_rest_goes_on(
    spool_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airgap import drain as drain_module

    first, second = Spool(spool_dir, service="a"), Spool(spool_dir, service="b")
    attempt(first, "bad.example")
    attempt(first, "beside.example")
    first.seal()
    attempt(second, "good.example")
    second.seal()
    real = drain_module._rows

    def rows(segment: object) -> list[EgressEvent]:
        made = real(segment)  # type: ignore[arg-type]
        for row in made:
            if row.host == "bad.example":
                row.port = -1
        return made

    monkeypatch.setattr(drain_module, "_rows", rows)
    assert drain() == 2
    assert sorted(row.host for row in EgressEvent.objects.all()) == ["beside.example", "good.example"]
    assert list(spool_dir.iterdir()) == []
    (told,) = [record.msg for record in caplog.records if record.levelname == "ERROR"]
    assert (told["event"], told["rows"]) == ("airgap.spool_damaged", 1)
    assert list(chain.verify({deployment_key().fingerprint: deployment_key().public})) == []


def test_damaged_files_neither_pile_up_nor_stop_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_DAMAGED", 3)
    monkeypatch.setattr(spool_module, "MAX_FILES", 3)
    for number in range(6):
        (tmp_path / f"{number}.sealed").write_bytes(b"rubbish")
        for waiting in waiting_segments(tmp_path):
            waiting.set_aside()
            os.utime(waiting.path.with_suffix(".damaged"), (number, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.damaged", "4.damaged", "5.damaged"]
    spool = Spool(tmp_path, service="api")
    attempt(spool)
    assert spool.overflowed == 0


@pytest.mark.django_db(transaction=True)
def test_text_that_no_database_takes_is_made_storable() -> None:
    for text in ("a\0b", "\ud800", "ü" * 500, "a\nb"):
        events.record(
            events.Refusal(
                host=text, port=443, rule=Rule.PUBLIC, reason=text, layer=events.Layer.DNS, purpose=text, tenant=text, caller=text, path=text
            )
        )
    assert drain() == 4
    assert total() == 4


def test_random_ports_or_tenants_of_one_host_leave_room_for_another_host(tmp_path: Path) -> None:
    spool = Spool(tmp_path, service="api")
    for number in range(5000):
        attempt(spool, port=number % 65000 + 1, tenant=f"t{number}")
    attempt(spool, "later.example")
    spool.seal()
    records = [record for waiting in waiting_segments(tmp_path) for record in waiting.read().records]
    assert sum(record.count for record in records) == 5001
    assert len(records) == MAX_KEYS + 2
    assert [record.count for record in records if record.key[0] == "later.example"] == [1]


def test_a_disk_that_fails_under_way_loses_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, service="api")
    attempt(spool)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_args: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        for _ in range(5):
            attempt(spool)
    attempt(spool)
    assert spool.overflowed == 5
    spool.seal()
    on_disk = {record.key[0]: record.count for waiting in waiting_segments(tmp_path) for record in waiting.read().records}
    assert on_disk == {"a.example": 2, OTHER: 5}
    assert spool.overflowed == 0


def test_files_that_vanish_under_the_writer_are_survived(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", service="api")
    attempt(spool)
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    spool.seal()
    attempt(spool)
    assert spool.overflowed == 0


def test_a_child_forked_while_others_record_can_record(spool_dir: Path) -> None:
    recorder = events.recorder()
    assert recorder is not None
    with recorder._lock:  # as if another thread were logging at the moment of the fork
        pid = os.fork()
        if pid == 0:
            events.record(events.Refusal("child.example", 443, Rule.PUBLIC, "why", events.Layer.HTTP))
            os._exit(0)
    deadline = time.monotonic() + 10
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline, "the child hangs"
        time.sleep(0.02)
    assert ended[1] == 0


@pytest.mark.django_db(transaction=True)
def test_what_a_pool_child_refused_is_drained_while_the_child_lives(spool_dir: Path) -> None:
    go, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        events.record(events.Refusal("child.example", 443, Rule.PUBLIC, "why", events.Layer.HTTP))
        hand_over()
        os.write(done[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(done[0], 1)
    try:
        assert drain() == 1
    finally:
        os.write(go[1], b"x")
        os.waitpid(pid, 0)
        for end in (*go, *done):
            os.close(end)


def test_segments_of_another_user_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.sealed").touch()
    monkeypatch.setattr(os, "access", lambda *_args: False)
    assert unreadable(tmp_path) == 1


def test_random_hosts_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(events.MAX_LINES + 200):
        events.record(events.Refusal(f"h{number}.example", 443, Rule.PUBLIC, "why", events.Layer.DNS))
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == events.MAX_LINES
