"""A real HTTP server on loopback that plays a model's server, well-behaved or not: `answers` says how."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]
PLANTED = "PLANTED-BODY-7f3a"  # in the bodies of answers that fail: no reason may hold it


class ModelServer:
    """requests: (path, headers, body) as they came. answers: taken from the left, the last one stays."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[Answer] = [completion("pong")]
        self.stop = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 0

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                answer = model.answers.pop(0) if len(model.answers) > 1 else model.answers[0]
                self.close_connection = True
                with suppress(OSError):
                    answer(self)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.handle_error = lambda *_args: None
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    try:
        yield server
    finally:
        server.close()


def sends(content: bytes, *, status: int = 200, content_type: str = "application/json", headers: dict[str, str] | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def completion(text: str | None, finish: str = "stop") -> Answer:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    return sends(json.dumps({"model": "m-1", "choices": [{"message": message, "finish_reason": finish}], "usage": usage}).encode())


def anthropic(*blocks: dict[str, Any], stop: str = "end_turn") -> Answer:
    body = {"type": "message", "model": "claude-x", "content": blocks, "stop_reason": stop, "usage": {"input_tokens": 9, "output_tokens": 2}}
    return sends(json.dumps(body).encode())


def event(data: object) -> bytes:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunk(text: str = "", finish: str | None = None) -> bytes:
    return event({"choices": [{"delta": {"content": text} if text else {}, "finish_reason": finish}]})


def streams(*parts: bytes) -> Answer:
    """The parts, one write each, and then the end of the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(part)

    return answer


def stalls(server: ModelServer, *parts: bytes) -> Answer:
    """The parts, and then nothing until the server is closed."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if parts:
            streams(*parts)(handler)
        server.stop.wait(30)

    return answer


def resets(handler: BaseHTTPRequestHandler) -> None:
    """A connection reset instead of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """The end of the connection instead of an answer."""


def speaks_no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(f"{PLANTED} is not HTTP\r\n\r\n".encode())
