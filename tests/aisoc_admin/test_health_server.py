"""What worker and beat answer on their health port: the web's bodies, and errors in the one shape."""

import http.client
import json
import socket
from contextlib import closing

import pytest
from celery import signals

from aisoc_admin.health_server import serve_health
from tests.plugins.processes import free_port

PATHS = ("/health", "/ready", "/api/v1/airgap/status")


@pytest.fixture(scope="module")
def port() -> int:
    number = free_port()
    serve_health("127.0.0.1", number)
    return number


def ask(port: int, method: str, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_the_body(port: int, path: str) -> None:
    whole, body = ask(port, "GET", path)
    head, nothing = ask(port, "HEAD", path)
    assert (head.status, nothing) == (whole.status, b"")
    assert head.headers["Content-Type"] == "application/json"
    assert int(head.headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "NONSENSE"])
def test_another_method_is_refused_in_the_one_shape(port: int, method: str) -> None:
    response, body = ask(port, method, "/health")
    assert (response.status, response.headers["Content-Type"], response.headers["Allow"]) == (405, "application/json", "GET, HEAD")
    assert json.loads(body)["code"] == "method_not_allowed"
    assert set(json.loads(body)) == {"code", "detail"}


def test_an_unknown_address_is_404(port: int) -> None:
    response, body = ask(port, "GET", "/nothing")
    assert (response.status, json.loads(body)["code"]) == (404, "not_found")


def test_what_is_no_request_is_400_in_the_one_shape(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /health HTTP/nine\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"400" in answer.split(b"\r\n", 1)[0]
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "bad_request"


@pytest.mark.parametrize(("bind", "reached_at"), [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1"), ("localhost", "127.0.0.1")])
def test_it_listens_wherever_the_web_does(bind: str, reached_at: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("This machine has no IPv6.")
    number = free_port()
    serve_health(bind, number)
    with closing(http.client.HTTPConnection(reached_at, number, timeout=5)) as connection:
        connection.request("GET", "/api/v1/airgap/status")
        assert connection.getresponse().status == 200


def test_a_worker_or_beat_that_cannot_be_heard_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Celery logs what a handler raises and goes on: without health, metrics and its warnings."""
    from aisoc_admin import celery

    number = free_port()
    serve_health("127.0.0.1", number)

    def start() -> None:
        serve_health("127.0.0.1", number)

    monkeypatch.setattr("aisoc_admin.background.start_background", start)
    for ready in (signals.worker_ready, signals.beat_init):
        with pytest.raises(SystemExit) as ended:
            ready.send(sender=celery.app)
        assert ended.value.code == 1
    assert [
        record.msg["reason"] for record in caplog.records if isinstance(record.msg, dict) and record.msg["event"] == "background.not_started"
    ] == [f"Port {number} of 127.0.0.1 cannot be listened on: Address already in use."] * 2
