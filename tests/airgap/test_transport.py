"""The gate: what it refuses never reaches a resolver or a socket; what it lets through is bounded in time and bytes."""

import gzip
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from airgap import transport
from airgap.events import Layer
from airgap.policy import EgressPolicy, Rule
from airgap.segments import waiting_segments
from airgap.transport import AirgapBlocked, BodyTooLarge, gated_client
from tests.plugins.certificate import self_signed
from tests.plugins.mirror import Mirror, body, redirect

Policy = Callable[..., EgressPolicy]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> "Names":
    return Names(monkeypatch)


class Names:
    """A resolver under the test's control: `asked` is everything it saw but this machine's own address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[str]] = {}
        real = socket.getaddrinfo

        def getaddrinfo(host: str, port: int, *args: object, **kwargs: object) -> object:
            if host != "127.0.0.1":
                self.asked.append(host)
            if host in self.answers:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answers[host]]
            if host == "127.0.0.1":
                return real(host, port, *args, **kwargs)  # type: ignore[arg-type]
            raise socket.gaierror(-2, "no such name")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def spooled(folder: Path) -> list[tuple[str, str, str]]:
    """(host, rule, layer) of every refusal on disk."""
    from airgap import events

    events.recorder().spool.seal()
    return [(record.key[0], record.key[3], record.key[4]) for waiting in waiting_segments(folder) for record in waiting.read().records]


def test_the_zone_of_a_link_local_address_is_dialled_too(airgapped: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python answers with the zone's number beside the address; without it the kernel knows no interface to send from."""
    airgapped("")
    dialled: list[str] = []

    def refused(address: tuple[str, int], *_args: object, **_kwargs: object) -> socket.socket:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::77", 80, 0, 3))])
    monkeypatch.setattr(socket, "create_connection", refused)
    with gated_client(purpose="test") as client, pytest.raises(httpx.ConnectError):
        client.get("http://[fe80::77%25eth0]/")
    assert dialled == ["fe80::77%3"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("https://api.openai.com/v1", Rule.PUBLIC),
        ("http://8.8.8.8/", Rule.PUBLIC),
        ("http://[2001:4860:4860::8888]/", Rule.PUBLIC),
        ("http://[::ffff:8.8.8.8]/", Rule.PUBLIC),
        ("http://134744072/", Rule.MALFORMED),
        ("http://0x08080808/", Rule.MALFORMED),
        ("http://127.1/", Rule.MALFORMED),
        ("http://ollama./", Rule.PUBLIC),
        ("http://api.openai.com./", Rule.PUBLIC),
        ("http://10.0.0.5@api.openai.com/", Rule.PUBLIC),
        ("http://api。openai。com/", Rule.PUBLIC),  # httpx itself turns this into the ASCII name
        ("https://intel.example.com:8443/", Rule.PUBLIC),
    ],
)
def test_a_refused_url_is_neither_looked_up_nor_dialled(url: str, rule: Rule, airgapped: Policy, names: Names, spool_dir: Path) -> None:
    airgapped("intel.example.com:443")
    with gated_client(purpose="test") as client, pytest.raises(AirgapBlocked) as caught:
        client.get(url)
    assert caught.value.decision.rule is rule
    assert caught.value.layer is Layer.HTTP
    assert names.asked == []
    assert [(rule_, layer) for _host, rule_, layer in spooled(spool_dir)] == [(rule.value, "http")]


def test_the_refusal_is_a_runtime_error_and_its_text_holds_no_path_and_no_query(airgapped: Policy) -> None:
    airgapped()
    with gated_client(purpose="test") as client, pytest.raises(RuntimeError) as caught:
        client.get("https://user:hunter2@hooks.slack.com/services/T000/B000/s3cr3ts3cr3t?token=t0psecret")
    for word in ("hunter2", "s3cr3t", "t0psecret", "/services"):
        assert word not in str(caught.value) + repr(caught.value)


def test_an_internal_server_is_reached(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    mirror.answers["/feed"] = body(b'{"ok": true}')
    with gated_client(purpose="test") as client:
        assert client.get(f"{mirror.url}/feed").json() == {"ok": True}


def test_a_redirect_to_a_public_host_is_blocked_and_never_sent(airgapped: Policy, mirror: Mirror, names: Names, spool_dir: Path) -> None:
    airgapped()
    mirror.answers["/moved"] = redirect("https://evil.example.com/collect?stolen=1")
    with gated_client(purpose="feed.kev") as client, pytest.raises(AirgapBlocked):
        client.get(f"{mirror.url}/moved", follow_redirects=True)
    assert [path for _method, path, _headers in mirror.requests] == ["/moved"]
    assert names.asked == []
    assert spooled(spool_dir) == [("evil.example.com", "public", "http")]


@pytest.mark.parametrize(
    "location",
    ["//evil.example.com/", "http://134744072/", "http://[::ffff:8.8.8.8]/", "https://127.0.0.1@evil.example.com/", "ftp://evil.example.com/"],
)
def test_every_spelling_of_a_redirect_is_judged(location: str, airgapped: Policy, mirror: Mirror, names: Names) -> None:
    airgapped()
    mirror.answers["/moved"] = redirect(location)
    with gated_client(purpose="test") as client, pytest.raises((AirgapBlocked, httpx.UnsupportedProtocol)):
        client.get(f"{mirror.url}/moved", follow_redirects=True)
    assert names.asked == []


def test_redirects_are_not_followed_unless_asked_and_at_most_five_times(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    mirror.answers["/loop"] = redirect("/loop")
    with gated_client(purpose="test") as client:
        assert client.get(f"{mirror.url}/loop").status_code == 302
        with pytest.raises(httpx.TooManyRedirects):
            client.get(f"{mirror.url}/loop", follow_redirects=True)
    assert len(mirror.requests) == 1 + 6


def test_a_redirect_from_https_to_http_is_refused(airgapped: Policy) -> None:
    airgapped()
    answer = httpx.MockTransport(lambda _request: httpx.Response(302, headers={"Location": "http://intel.corp/"}))
    with gated_client(purpose="test", inner=answer) as client, pytest.raises(httpx.RemoteProtocolError, match="https to http"):
        client.get("https://intel.corp/", follow_redirects=True)


def test_a_private_name_with_a_public_answer_is_blocked_at_connect(airgapped: Policy, names: Names, spool_dir: Path) -> None:
    airgapped()
    names.answers["mirror.internal"] = ["93.184.216.34"]
    with gated_client(purpose="test") as client, pytest.raises(AirgapBlocked) as caught:
        client.get("http://mirror.internal/feed")
    assert caught.value.decision.rule is Rule.PRIVATE_NAME_PUBLIC_ANSWER
    assert spooled(spool_dir) == [("mirror.internal", "private_name_public_answer", "connect")]


def test_one_public_answer_among_private_ones_is_enough_to_refuse(airgapped: Policy, names: Names, mirror: Mirror) -> None:
    airgapped()
    names.answers["mirror.internal"] = ["127.0.0.1", "93.184.216.34"]
    with gated_client(purpose="test") as client, pytest.raises(AirgapBlocked):
        client.get(f"http://mirror.internal:{mirror.port}/feed")
    assert mirror.requests == []


def test_the_judged_address_is_the_one_that_is_dialled(airgapped: Policy, names: Names, mirror: Mirror) -> None:
    """A rebinding name: the second look-up would answer differently, so there is none."""
    airgapped()
    mirror.answers["/feed"] = body(b"{}")
    names.answers["mirror.internal"] = ["127.0.0.1"]
    with gated_client(purpose="test") as client:
        assert client.get(f"http://mirror.internal:{mirror.port}/feed").status_code == 200
    assert names.asked == ["mirror.internal"]
    assert mirror.requests[0][2]["host"] == f"mirror.internal:{mirror.port}"


def test_the_next_address_is_tried_when_one_does_not_connect(airgapped: Policy, names: Names, mirror: Mirror) -> None:
    airgapped()
    mirror.answers["/feed"] = body(b"{}")
    with socket.socket() as unused:
        unused.bind(("127.0.0.2", mirror.port))  # bound, not listening: refuses
        names.answers["mirror.internal"] = ["127.0.0.2", "127.0.0.1"]
        socket_allowed = gated_client(purpose="test")
        with socket_allowed as client:
            from pytest_socket import socket_allow_hosts

            socket_allow_hosts(["127.0.0.1", "127.0.0.2"])
            assert client.get(f"http://mirror.internal:{mirror.port}/feed").status_code == 200


def test_proxy_variables_are_ignored_under_air_gap(airgapped: Policy, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    mirror.answers["/feed"] = body(b"{}")
    with gated_client(purpose="test") as client:
        assert client.get(f"{mirror.url}/feed").status_code == 200


def test_with_the_air_gap_off_the_proxy_variables_work(airgapped: Policy, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped(on="0")
    monkeypatch.setenv("http_proxy", mirror.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    mirror.answers["http://feeds.example.com/x"] = body(b"{}")
    with gated_client(purpose="test") as client:
        assert client.get("http://feeds.example.com/x").status_code == 200
    assert mirror.requests[0][1] == "http://feeds.example.com/x"


def test_an_egress_proxy_and_the_target_must_both_pass(airgapped: Policy, mirror: Mirror, settings: object, spool_dir: Path) -> None:
    airgapped("feeds.example.com")
    settings.AIRGAP_EGRESS_PROXY = mirror.url
    mirror.answers["http://feeds.example.com/x"] = body(b"{}")
    with gated_client(purpose="test") as client:
        assert client.get("http://feeds.example.com/x").status_code == 200
        with pytest.raises(AirgapBlocked):
            client.get("http://other.example.com/x")
    settings.AIRGAP_EGRESS_PROXY = "http://proxy.example.net:3128"
    with gated_client(purpose="test") as client, pytest.raises(AirgapBlocked) as caught:
        client.get("http://feeds.example.com/x")
    assert (caught.value.host, caught.value.layer) == ("proxy.example.net", Layer.PROXY)
    assert len(mirror.requests) == 1
    assert ("proxy.example.net", "public", "proxy") in spooled(spool_dir)


@pytest.mark.parametrize("way_round", ["proxy", "mounts", "uds", "transport", "trust_env", "verify"])
def test_the_factory_takes_no_way_round_the_gate(way_round: str) -> None:
    with pytest.raises(TypeError):
        gated_client(purpose="test", **{way_round: None})


def test_purpose_is_required() -> None:
    with pytest.raises(TypeError):
        gated_client()  # type: ignore[call-arg]


def test_the_target_extension_cannot_name_another_url(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    with gated_client(purpose="test") as client, pytest.raises(ValueError, match="target"):
        client.get(f"{mirror.url}/x", extensions={"target": b"http://evil.example.com/"})
    assert mirror.requests == []


def test_with_the_air_gap_off_nothing_is_refused_and_nothing_recorded(airgapped: Policy, spool_dir: Path) -> None:
    airgapped(on="0")
    answer = httpx.MockTransport(lambda _request: httpx.Response(200))
    with gated_client(purpose="test", inner=answer) as client:
        assert client.get("https://api.openai.com/").status_code == 200
    assert spooled(spool_dir) == []


def test_a_log_line_names_who_asked_and_hides_secrets(airgapped: Policy, caplog: pytest.LogCaptureFixture) -> None:
    airgapped()
    with caplog.at_level(logging.WARNING), gated_client(purpose="actions.slack", tenant="acme") as client:
        for _ in range(50):
            with pytest.raises(AirgapBlocked):
                client.post("https://u:hunter2@hooks.slack.com/services/T01234567/B76543210/abcdEFGHijklMNOP?token=t0psecret")
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict) and record.msg["event"] == "airgap.block"]
    assert len(lines) == 1
    line = lines[0]
    assert (line["host"], line["port"], line["rule"], line["layer"]) == ("hooks.slack.com", 443, "public", "http")
    assert (line["purpose"], line["tenant"], line["caller"]) == ("actions.slack", "acme", __name__)
    assert line["url"] == "https://hooks.slack.com:443/services/***/***/***?***"
    for word in ("hunter2", "abcdEFGH", "t0psecret", "T01234567"):
        assert word not in caplog.text


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    mirror.answers["/claims"] = lambda handler: (
        handler.send_response(200),
        handler.send_header("Content-Length", "99999999999"),
        handler.end_headers(),
    )[0]
    mirror.answers["/endless"] = endless
    with gated_client(purpose="test", max_bytes=1_000_000) as client:
        for path in ("/claims", "/endless"):
            with pytest.raises(BodyTooLarge):
                client.get(mirror.url + path)


def test_a_gzip_bomb_is_stopped_at_the_limit_and_needs_no_memory(airgapped: Policy, mirror: Mirror) -> None:
    import tracemalloc

    airgapped()
    bomb = gzip.compress(b"\0" * 300_000_000, compresslevel=9)
    mirror.answers["/bomb"] = body(bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    with gated_client(purpose="test", max_bytes=2_000_000) as client, pytest.raises(BodyTooLarge):
        client.get(f"{mirror.url}/bomb")
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str, airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    mirror.answers["/x"] = body(b"....", headers={"Content-Encoding": encoding})
    with gated_client(purpose="test") as client, pytest.raises(httpx.DecodingError):
        client.get(f"{mirror.url}/x")


def test_gzip_is_decompressed_and_a_truncated_or_damaged_one_is_an_error(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    packed = gzip.compress(b'{"a": 1}' * 1000)
    mirror.answers["/good"] = body(packed, headers={"Content-Encoding": "gzip"})
    mirror.answers["/short"] = body(packed[:-20], headers={"Content-Encoding": "gzip"})
    mirror.answers["/bad"] = body(b"not gzip at all", headers={"Content-Encoding": "gzip"})
    with gated_client(purpose="test") as client:
        assert client.get(f"{mirror.url}/good").content == b'{"a": 1}' * 1000
        for path in ("/short", "/bad"):
            with pytest.raises(httpx.DecodingError):
                client.get(mirror.url + path)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_is_cut_off_at_the_deadline(part: str, airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 1000\r\n\r\n" if part == "body" else b""))
        while not stop.wait(0.05):
            handler.wfile.write(b"x" if part == "body" else b"X-Drip: 1\r\n")

    mirror.answers["/drip"] = drip
    started = time.monotonic()
    with gated_client(purpose="test", deadline=0.6) as client, pytest.raises(httpx.ReadTimeout):
        client.get(f"{mirror.url}/drip")
    stop.set()
    assert time.monotonic() - started < 5


def test_a_silent_server_is_given_up(airgapped: Policy) -> None:
    airgapped()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with gated_client(purpose="test", timeout=0.3) as client, pytest.raises(httpx.ReadTimeout):
            client.get(f"http://127.0.0.1:{silent.getsockname()[1]}/")


def test_the_deadline_of_one_request_does_not_end_the_next(airgapped: Policy, mirror: Mirror) -> None:
    airgapped()
    mirror.answers["/x"] = body(b"{}")
    with gated_client(purpose="test", deadline=0.5) as client:
        for _ in range(3):
            assert client.get(f"{mirror.url}/x").status_code == 200
            time.sleep(0.3)


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_internal_ca_works_through_the_bundle_and_is_refused_without(
    airgapped: Policy, settings: object, names: Names, tls_mirror: "tuple[Mirror, Path]"
) -> None:
    airgapped()
    server, bundle = tls_mirror
    names.answers["mirror.corp"] = ["127.0.0.1"]
    url = f"https://mirror.corp:{server.port}/x"
    with gated_client(purpose="test") as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get(url)
    settings.AIRGAP_CA_BUNDLE = str(bundle)
    with gated_client(purpose="test") as client:
        assert client.get(url).status_code == 200
    names.answers["other.corp"] = ["127.0.0.1"]
    with gated_client(purpose="test") as client, pytest.raises(httpx.ConnectError, match=r"Hostname mismatch|not valid for"):
        client.get(f"https://other.corp:{server.port}/x")


@pytest.fixture
def tls_mirror(tmp_path: Path) -> "object":
    certificate, key = self_signed(tmp_path, "mirror.corp", "DNS:mirror.corp")
    server = Mirror()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.answers["/x"] = body(b"{}")
    yield server, certificate
    server.close()


def test_a_pool_without_a_judging_backend_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should httpcore rename the seam, the gate must refuse to work, not work without judging."""
    import httpcore

    class Renamed(httpcore.ConnectionPool):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            del self._network_backend

    monkeypatch.setattr(httpcore, "ConnectionPool", Renamed)
    with pytest.raises(RuntimeError, match="network backend"):
        transport._DiallingTransport(transport.JudgingBackend(EgressPolicy(), transport.Deadline(), lambda *_: RuntimeError()), "")
