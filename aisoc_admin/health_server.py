"""Serves /health and /ready of a worker or beat from a thread of the very process it reports on."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aisoc_admin.first import HEADERS, airgap_status
from aisoc_admin.health import encode, encoded_health, encoded_readiness

ANSWERS: dict[str, Callable[[], tuple[int, bytes]]] = {"/health": encoded_health, "/ready": encoded_readiness, "/api/v1/airgap/status": airgap_status}


class _Handler(BaseHTTPRequestHandler):
    server_version = "AiSOC-Admin"
    sys_version = ""
    timeout = 10  # seconds for a whole request line and headers, so that a silent client holds no thread
    wbufsize = -1

    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path.split("?", 1)[0])
        status, body = answer() if answer else (404, encode({"code": "not_found", "detail": "There are /health and /ready here."}))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds; they are not logged."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the own address that http.server would make for server_name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def serve_health(host: str, port: int) -> None:
    """Listen on host:port in a daemon thread. Raises OSError when the port is taken."""
    server = _Server((host, port), _Handler)
    threading.Thread(target=server.serve_forever, name="health-server", daemon=True).start()
