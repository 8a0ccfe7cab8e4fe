"""A model that stalls holds its callers up, and nobody else: the real web server, with explanations that hang."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from llm.outcome import MAX_CALLS
from tests.egress.running import Program, running
from tests.plugins.model_server import ModelServer
from tests.plugins.processes import free_port, soon

WORKERS, ASKED = 2, 12
WEB = ("-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application")
ALERT = json.dumps({"alert": {"title": "Odd log-in", "source": "okta", "tags": ["T1078"]}})
pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(sys.platform != "linux", reason="ties children to this process")]


@pytest.fixture
def product(tmp_path: Path, model_server: ModelServer) -> Iterator[tuple[int, str]]:
    """Port and token of a web server whose model stalls."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "AISOC_DATA_DIR": str(tmp_path / "var"),
        "AISOC_AIRGAPPED": "1",
        "LLM_BASE_URL": model_server.url,
        "LLM_MODEL": "m",
        "PORT": str(port),
    }

    def manage(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "manage.py", *arguments], env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip().rsplit("\n", 1)[-1]

    manage("migrate", "-v0")
    token = manage("create_token", "ana", "--role", "analyst", "--tenant", "acme")
    model_server.fault = "stall"
    with running(Program(WEB, environment), log=tmp_path / "web.log"):
        assert soon(lambda: status_of(port, "/ready") == 200, 60)
        yield port, token


def status_of(port: int, path: str, token: str = "") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Token {token}"} if token else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 0
    finally:
        connection.close()


def explained(port: int, token: str) -> tuple[str, dict[str, str]]:
    """The reason in the header, and the last frame."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/api/v1/explain", ALERT, {"Authorization": f"Token {token}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    planned = answer.getheader("X-LLM-Reason") or ""
    last: dict[str, str] = json.loads(answer.read().splitlines()[-1])
    connection.close()
    return planned, last


def test_health_and_every_page_answer_while_explanations_hang(product: tuple[int, str], model_server: ModelServer) -> None:
    port, token = product
    done: list[tuple[str, dict[str, str]]] = []
    lock = threading.Lock()

    def ask(_number: int) -> None:
        one = explained(port, token)
        with lock:
            done.append(one)

    with ThreadPoolExecutor(ASKED) as pool:
        asking = pool.map(ask, range(ASKED))
        assert soon(lambda: len(model_server.asked) + len(done) >= ASKED, 15)
        assert 1 <= len(model_server.asked) <= WORKERS * MAX_CALLS
        for path in ("/health", "/ready", "/api/v1/airgap/status", "/api/v1/threatintel/feeds", "/login/", "/api/v1/iocs/search"):
            assert status_of(port, path, token) == 200, path
        assert done, "those beyond the cap do not wait"
        for planned, last in done:
            assert (planned, last["type"], last["path"], last["reason"]) == ("busy", "done", "fallback", "busy")
        assert len(done) + len(model_server.asked) == ASKED, "the others hang, still"
        model_server.release.set()
        list(asking)
    assert len(done) == ASKED
    assert {last["path"] for _planned, last in done} == {"fallback"}
