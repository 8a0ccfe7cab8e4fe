"""The `llmock` fixture: a server that fails as model providers do, on command, and judges how its client took it; from .venv-faults (bin/peers)."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.processes import free_port, serving, soon
from tests.plugins.required import lacking

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = ROOT / ".venv-faults" / "bin" / "llmock"


@dataclass(frozen=True, slots=True)
class Faults:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def will(self, **behaviour: Any) -> None:
        """What the next call meets, in llmock's words; nothing else, and nothing of before is judged."""
        self._told("POST", "/_llmock/reset")
        if behaviour:
            self._told("POST", "/_llmock/scenario", {"behaviors": [behaviour]})

    def calls(self) -> int:
        return int(self._told("GET", "/_llmock/requests")["count"])

    def verdict(self) -> dict[str, Any]:
        return self._told("GET", "/_llmock/verdict")

    def _told(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, json.dumps(body or {}), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
            assert response.status in (200, 201), answer
            return answer

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(self._told("GET", "/_llmock/requests"))
        return False


@pytest.fixture(scope="session")
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    if not COMMAND.exists():
        lacking("peers", "The server of faults is not installed (.venv-faults; bin/peers makes it).")
    folder = tmp_path_factory.mktemp("llmock")
    faults = Faults(free_port())
    with serving([COMMAND, "serve", "--host", "127.0.0.1", "--port", str(faults.port)], folder):
        assert soon(faults.answers, 30), (folder / "log").read_text(errors="replace")[-2000:]
        yield faults
