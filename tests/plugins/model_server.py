"""A model server on loopback with an OpenAI-compatible face, whose behaviour a test scripts."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Say = str | Callable[[dict[str, Any]], str]


class ModelServer:
    """`say`: the text of the next answers, or a function of the request's body. `fault`: one of FAULTS, or "". `asked`: the bodies as they came.

    FAULTS: `error` 500 · `rejected` 401 · `rubbish` no JSON · `stall` no byte until `release` is set · `break` off after `breaks_after` deltas.
    """

    def __init__(self) -> None:
        self.say: Say = "Hello."
        self.fault = ""
        self.breaks_after = 2
        self.asked: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.release = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                body = json.loads(raw)
                server.raw.append(raw)
                server.asked.append(body)
                self.close_connection = True
                if server.fault == "stall":
                    server.release.wait(60)
                    return
                if server.fault in ("error", "rejected"):
                    self._whole(500 if server.fault == "error" else 401, b'{"error": {"message": "canary-of-the-server"}}')
                elif server.fault == "rubbish":
                    self._whole(200, b"<html>canary-of-the-server</html>")
                else:
                    text = server.say if isinstance(server.say, str) else server.say(body)
                    (self._stream if body.get("stream") else self._complete)(text)

            def _complete(self, text: str) -> None:
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                self._whole(200, json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}).encode())

            def _whole(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def _stream(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                for number, start in enumerate(range(0, len(text), 3)):  # three characters a delta: tokens are split
                    if server.fault == "break" and number >= server.breaks_after:
                        return
                    self._event({"delta": {"content": text[start : start + 3]}, "finish_reason": None})
                self._event({"delta": {}, "finish_reason": "stop"})
                self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, choice: dict[str, Any]) -> None:
                chunk = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, **choice}]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.handle_error = lambda *_args: None  # a client that hangs up is part of the tests
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()
