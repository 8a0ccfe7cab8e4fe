"""The `llm_server` fixture: llama.cpp's OpenAI-compatible server with a small real model on loopback, from .venv-model (bin/peers makes it).

One a session. It ends with the session, and with the test process even when that is killed.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.plugins import processes
from tests.plugins.processes import free_port
from tests.plugins.required import lacking

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / ".venv-model" / "bin" / "python"
KEY = "sk-planted-model-3141"
MODEL = "smollm2"


@dataclass(frozen=True, slots=True)
class LLMServer:
    """`url` is its origin; it wants `key`. `pid` is its process."""

    url: str
    pid: int
    key: str = KEY
    model: str = MODEL

    def decoded(self) -> int:
        """How many tokens it has made of the answer that it is at; 0 while it reads the question or has none."""
        request = Request(f"{self.url}/slots", headers={"Authorization": f"Bearer {self.key}"})
        with urlopen(request, timeout=30) as response:
            [slot] = json.load(response)
        return int(slot["next_token"][0]["n_decoded"]) if slot["is_processing"] else 0


def needs_model() -> None:
    """Skips the test by name where the model is missing; fails it when AISOC_TEST_REQUIRE names `peers`."""
    if not PYTHON.exists():
        lacking("peers", "The model server is not installed (.venv-model; bin/peers makes it).")


@contextmanager
def serving(host: str, port: int, folder: Path) -> Iterator[LLMServer]:
    """The server on that address, for the time of the block. Raises RuntimeError with its log when it does not start."""
    command = [PYTHON, ROOT / "tests" / "plugins" / "llama.py", host, str(port), KEY]
    with processes.serving(command, folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with process.stdout:
            if not any(line.strip() == b"ready" for line in process.stdout):  # ends with the process
                raise RuntimeError(f"The model server does not start:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
            yield LLMServer(f"http://{host}:{port}", process.pid)


@pytest.fixture(scope="session")
def llm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMServer]:
    needs_model()
    with serving("127.0.0.1", free_port(), tmp_path_factory.mktemp("model")) as server:
        yield server
