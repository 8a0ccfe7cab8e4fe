"""A real worker and a real beat on a real Valkey: killed, cut off or locked out in mid-poll, they end in the rows of an undisturbed run."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from aisoc_admin import embedded
from tests.conftest import ROOT
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror
from tests.plugins.processes import soon

ROWS = 20_000  # storing them takes long enough to be met in the middle of it on a busy machine too
CATALOGUE = catalogue([row(number) for number in range(ROWS)])
EXPECTED = {f"CVE-2024-{10000 + number}" for number in range(ROWS)}
pytestmark = pytest.mark.timeout(170)


class Deployment:
    """Worker and beat over one data folder, polling `mirror`; every process is ended at the end of the test."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self.folder = folder
        self.mirror = mirror
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "AISOC_DATA_DIR": str(folder),
            "AISOC_AIRGAPPED": "1",
            "CISA_KEV_URL": f"{mirror.url}/kev.json",
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=self.environment, check=True)
        self.valkey: subprocess.Popen[bytes] | None = None

    def start_broker(self) -> None:
        self.valkey = embedded.start(self.folder)
        embedded.wait_until_answering(self.folder, self.valkey)

    def stop_broker(self) -> None:
        assert self.valkey is not None
        embedded.stop(self.valkey)

    def start(self, name: str) -> None:
        words = (
            ["worker", "-c", "1", "-Q", "intel", "-l", "INFO", "-n", f"{name.replace(' ', '')}@%h"]
            if name.startswith("worker")
            else ["beat", "-S", "aisoc_admin.scheduler:LeasedScheduler"]
        )
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "aisoc_admin.celery", *words],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """SIGKILL to the process and its pool, as a power cut would."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        if self.valkey is not None:
            embedded.stop(self.valkey)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / "aisoc.sqlite3", timeout=30) as database:
            return database.execute(sql).fetchall()

    def runs(self) -> list[tuple[object, ...]]:
        return self.query("SELECT state, attempt FROM threatintel_feedrun ORDER BY id")

    def is_running(self) -> bool:
        return any(state == "running" for state, _attempt in self.runs())

    def is_inside_a_long_transaction(self) -> bool:
        """Whether somebody holds the write lock for longer than a lease or a heartbeat takes: a page is being stored."""
        with closing(sqlite3.connect(self.folder / "aisoc.sqlite3", timeout=0, isolation_level=None)) as database:
            for _ in range(8):
                try:
                    database.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    time.sleep(0.01)
                    continue
                database.execute("ROLLBACK")
                return False
        return True

    def is_done(self) -> bool:
        return any(state == "ok" for state, _attempt in self.runs())

    def assert_rows_of_an_undisturbed_run(self) -> None:
        values = [value for (value,) in self.query("SELECT value FROM threatintel_indicator WHERE type = 'vulnerability'")]
        assert len(values) == ROWS
        assert set(values) == EXPECTED
        sources = self.query("SELECT external_id, revoked, confidence FROM threatintel_indicatorsource WHERE feed = 'kev'")
        assert {(value, 0, 100) for value in EXPECTED} == set(sources)
        assert len(sources) == ROWS
        assert len(self.query("SELECT feed FROM threatintel_feedcursor WHERE feed = 'kev' AND data_date IS NOT NULL")) == 1

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.folder.glob("*.log"))


class SlowMirror:
    """Serves the catalogue; when told to, holds the second half back until released."""

    def __init__(self, mirror: Mirror) -> None:
        self.hold = threading.Event()
        self.half_sent = threading.Event()
        self.hold.set()
        mirror.answers["/kev.json"] = self.answer

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(CATALOGUE)))
        handler.end_headers()
        handler.wfile.write(CATALOGUE[: len(CATALOGUE) // 2])
        self.half_sent.set()
        self.hold.wait(30)
        handler.wfile.write(CATALOGUE[len(CATALOGUE) // 2 :])


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory, mirror: Mirror) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("d"), mirror)
    yield made
    made.close()


Wait = Callable[[Callable[[], object], float], None]


@pytest.fixture
def wait(deployment: Deployment) -> Wait:
    def until(true: Callable[[], object], seconds: float) -> None:
        assert soon(true, seconds), f"{deployment.runs()}\n{deployment.logs()}"

    return until


def test_a_worker_killed_in_mid_download_and_again_in_mid_ingest(deployment: Deployment, mirror: Mirror, wait: Wait) -> None:
    slow = SlowMirror(mirror)
    slow.hold.clear()
    deployment.start_broker()
    deployment.start("beat")
    deployment.start("worker 1")
    wait(slow.half_sent.is_set, 60)
    deployment.kill("worker 1")
    slow.hold.set()
    slow.half_sent.clear()
    assert deployment.query("SELECT count(*) FROM threatintel_indicator") == [(0,)]
    deployment.start("worker 2")
    wait(slow.half_sent.is_set, 60)
    wait(deployment.is_inside_a_long_transaction, 30)
    deployment.kill("worker 2")
    assert deployment.query("SELECT count(*) FROM threatintel_indicator") == [(0,)], "killed before its commit"
    assert not deployment.is_done()
    deployment.start("worker 3")
    wait(deployment.is_done, 60)
    deployment.assert_rows_of_an_undisturbed_run()
    assert max(attempt for _state, attempt in deployment.runs()) >= 3


def test_a_broker_that_is_away_when_the_poll_is_due(deployment: Deployment, mirror: Mirror, wait: Wait) -> None:
    SlowMirror(mirror)
    deployment.start_broker()
    deployment.start("worker 1")
    time.sleep(4)
    deployment.stop_broker()
    deployment.start("beat")
    wait(lambda: deployment.runs(), 40)
    time.sleep(3)
    assert not deployment.is_done()
    deployment.start_broker()
    wait(deployment.is_done, 90)
    deployment.assert_rows_of_an_undisturbed_run()


def test_a_database_that_is_locked_for_longer_than_anybody_waits(deployment: Deployment, mirror: Mirror, wait: Wait) -> None:
    slow = SlowMirror(mirror)
    slow.hold.clear()
    deployment.start_broker()
    deployment.start("beat")
    deployment.start("worker 1")
    wait(slow.half_sent.is_set, 60)
    with sqlite3.connect(deployment.folder / "aisoc.sqlite3", timeout=30, isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        slow.hold.set()
        time.sleep(13)  # the product waits 10 s for a lock
        database.execute("ROLLBACK")
    wait(deployment.is_done, 90)
    deployment.assert_rows_of_an_undisturbed_run()


def test_two_workers_and_two_schedulers_poll_nothing_twice(deployment: Deployment, mirror: Mirror, wait: Wait) -> None:
    SlowMirror(mirror)
    deployment.start_broker()
    for name in ("worker 1", "worker 2", "beat 1", "beat 2"):
        deployment.start(name)
    wait(deployment.is_done, 60)
    time.sleep(12)  # as long as a lease, and a nudge, last
    assert len([path for _method, path, _headers in mirror.requests if path == "/kev.json"]) == 1
    assert deployment.runs() == [("ok", 1)]
    deployment.assert_rows_of_an_undisturbed_run()
    for name in ("beat 1", "beat 2"):
        deployment.kill(name)
    deployment.start("beat 3")
    deployment.start("beat 4")
    wait(lambda: len([state for state, _attempt in deployment.runs() if state == "ok"]) == 2, 60)  # a new leadership polls once
    time.sleep(3)
    assert len([path for _method, path, _headers in mirror.requests if path == "/kev.json"]) == 2
    deployment.assert_rows_of_an_undisturbed_run()
