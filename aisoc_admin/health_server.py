"""Serves /health and /ready of a worker or beat, and the metrics of any process, from a thread of the very process they report on."""

import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aisoc_admin.first import HEADERS, airgap_status
from aisoc_admin.health import encode, encoded_health, encoded_readiness
from aisoc_admin.metrics import CONTENT_TYPE, Exposition
from aisoc_admin.role import Role

Answers = Mapping[str, Callable[[], tuple[int, bytes]]]
ANSWERS: Answers = {"/health": encoded_health, "/ready": encoded_readiness, "/api/v1/airgap/status": airgap_status}


class _Handler(BaseHTTPRequestHandler):
    answers = ANSWERS
    content_type = "application/json"
    server_version = "AiSOC-Admin"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # of a request line that cannot be read: its answer has a status and headers too
    timeout = 10  # seconds for a whole request line and headers, so that a silent client holds no thread
    wbufsize = -1

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.split("?", 1)[0])
        if answer is None:
            here = " and ".join(path for path in self.answers if path.count("/") == 1)
            self._send(404, encode({"code": "not_found", "detail": f"There is {here} here."}), "application/json")
        else:
            self._send(*answer(), self.content_type)

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, in the one shape of errors: its 501 is a method that is not served here."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            body = {"code": "method_not_allowed", "detail": "There is GET and HEAD here."}
            self._send(HTTPStatus.METHOD_NOT_ALLOWED, encode(body), "application/json", Allow="GET, HEAD")
        else:
            self._send(code, encode({"code": "bad_request", "detail": "This is no HTTP request that is read here."}), "application/json")

    def _send(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds; they are not logged."""


class _MetricsHandler(_Handler):
    content_type = CONTENT_TYPE


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    option = socket.SO_REUSEADDR

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, handler)
        except OSError as error:
            raise OSError(error.errno, f"Port {address[1]} of {address[0]} cannot be listened on: {error.strerror}.") from None

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the own address that http.server would make for server_name."""
        self.socket.setsockopt(socket.SOL_SOCKET, self.option, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class _SharedServer(_Server):
    """Its port is shared by processes of this user."""

    option = socket.SO_REUSEPORT


def serve_health(host: str, port: int) -> None:
    """Listen on host:port in a daemon thread. Raises OSError when the port is taken."""
    _serve(_Server((host, port), _Handler), "health-server")


def serve_metrics(host: str, port: int, role: Role) -> None:
    """Listen on host:port in a daemon thread. Raises OSError when the port is taken by another service.

    The workers of one web share its port: any of them can tell what is the host's.
    """
    exposition = Exposition(deployment=role is Role.BEAT)
    handler = type("MetricsHandler", (_MetricsHandler,), {"answers": {"/metrics": lambda: (200, exposition.text())}})
    server = _SharedServer if role is Role.WEB else _Server
    _serve(server((host, port), handler), "metrics-server")


def _serve(server: _Server, name: str) -> None:
    threading.Thread(target=server.serve_forever, name=name, daemon=True).start()
