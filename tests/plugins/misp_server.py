"""The `misp_server` fixture: a real MISP-API server (Modern MISP, on SQLite) on loopback, from .venv-peers (bin/peers makes it).

One a test session, or a worker of it. It ends with the session, and with the test process even when that is killed.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plugins.processes import free_port
from tests.plugins.required import lacking

PEERS = Path(__file__).resolve().parent.parent.parent / ".venv-peers"
SECONDS = 90  # to start in, on a busy machine
_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class MispServer:
    """Its root URL and a key that may do everything."""

    url: str
    key: str
    database: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """An API call past the product; the JSON that it answers."""
        with httpx.Client(timeout=30, trust_env=False) as client:
            answer = client.request(method, f"{self.url}/{path}", json=body, headers={"Authorization": self.key, "Accept": "application/json"})
        answer.raise_for_status()
        return answer.json()

    def event(self, uuid: str) -> Any:
        return self.call("GET", f"events/view/{uuid}")["Event"]

    def events(self) -> list[Any]:
        return list(self.call("GET", "events"))

    def clear(self) -> None:
        """Take every event away."""
        with sqlite3.connect(self.database, timeout=10) as database:
            for table in ("attribute_tags", "event_tags", "attributes", "objects", "events"):
                database.execute(f"DELETE FROM {table}")
        database.close()


@pytest.fixture(scope="session")
def _misp_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MispServer]:
    python = PEERS / "bin" / "python"
    if not python.exists():
        lacking("peers", f"There is no MISP server here ({PEERS.name}; bin/peers makes it).")
    folder = tmp_path_factory.mktemp("misp")
    database, port = folder / "misp.sqlite3", free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": f"{PEERS / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "DATABASE_URL": f"sqlite+aiosqlite:///{database}",
        "WORKER_URL": "http://127.0.0.1:9",
        "WORKER_KEY": "k",
        "HASH_SECRET": "a secret of this test",
        "OWN_URL": url,
        "BIND_HOST": "127.0.0.1",
    }
    for command in (("setup",), ("create-user", "tester@misp.example", "pass-word-1", "1", "--role=site_admin")):
        subprocess.run([PEERS / "bin" / "mmisp-db", *command], cwd=folder, env=environment, check=True, capture_output=True, timeout=SECONDS)
    with sqlite3.connect(database) as rows:
        rows.execute("PRAGMA journal_mode=WAL")
        rows.execute("UPDATE users SET change_pw = 0")
    rows.close()
    arguments = ["-m", "uvicorn", "mmisp.api.main:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _TIED, str(os.getpid()), str(python), *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield MispServer(url, _key(url, process, folder / "log"), database)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _key(url: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Log in once the server answers, and make an API key."""
    deadline = time.monotonic() + SECONDS
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        while True:
            try:
                answer = client.post("/auth/login/password", json={"email": "tester@misp.example", "password": "pass-word-1"})
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"The MISP server does not start: {log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.1)
        token = answer.raise_for_status().json()["token"]
        made = client.post("/auth_keys/add/1", json={"comment": "tests"}, headers={"Authorization": token}).raise_for_status()
    return str(made.json()["AuthKey"]["authkey_raw"])


@pytest.fixture
def misp_server(_misp_process: MispServer) -> MispServer:
    """The server without an event."""
    _misp_process.clear()
    return _misp_process
