"""What worker and beat answer on their health port: the web's bodies, and errors in the one shape."""

import http.client
import json
import socket
from contextlib import closing

import pytest

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
