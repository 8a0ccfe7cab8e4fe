"""A pass-through on loopback that keeps what goes by: between the product and a real model server, so that a test sees what was really asked and said."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its whole answer."""

    path: str
    asked: dict[str, Any]
    status: int
    answer: bytes

    @property
    def text(self) -> str:
        """What the model said, of an answer in one piece or in events."""
        if not self.asked.get("stream"):
            return str(json.loads(self.answer)["choices"][0]["message"]["content"])
        events = [line[6:] for line in self.answer.decode().splitlines() if line.startswith("data: {")]
        return "".join(choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"])


class Passing:
    """`url` is its origin. It passes one call at a time."""

    def __init__(self, upstream: str) -> None:
        self._calls: list[Call] = []
        self._at_work = threading.Lock()
        calls, at_work, to = self._calls, self._at_work, urlsplit(upstream)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with at_work:
                    calls.append(self._passed())

            def _passed(self) -> Call:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                onward = http.client.HTTPConnection(to.hostname, to.port)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "accept-encoding")}
                onward.request("POST", self.path, asked, headers)
                response = onward.getresponse()
                self.send_response(response.status)
                self.send_header("Content-Type", response.headers["Content-Type"])
                self.end_headers()
                answer = b""
                while part := response.read1(65536):
                    answer += part
                    with suppress(ConnectionError):  # who has read the end of a stream need not wait for its last event
                        self.wfile.write(part)
                onward.close()
                return Call(self.path, json.loads(asked), response.status, answer)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def passed(self) -> list[Call]:
        """The calls since it was last asked, whole and in order."""
        with self._at_work:
            calls = list(self._calls)
            self._calls.clear()
            return calls

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def passing_to(upstream: str) -> Iterator[Passing]:
    passing = Passing(upstream)
    try:
        yield passing
    finally:
        passing.close()
