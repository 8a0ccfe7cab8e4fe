"""Deliveries through a real worker that is killed at ten random points, whole or a process of its pool: none is lost, none is another one.

DELIVERIES_SEED repeats one choice of points.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from celery import Celery

from tests.conftest import ROOT
from tests.plugins.processes import soon
from tests.plugins.receiver import Receiver

DELIVERIES, KILLS = 200, 10
WHOLE = 5  # every so many kills are of the whole worker, which takes longest to start again
IN_HAND = 2  # of a worker with two processes
WORKER = ("-m", "celery", "--quiet", "-A", "aisoc_admin.celery", "worker", "-l", "WARNING", "--pool", "prefork", "--concurrency", str(IN_HAND))
QUEUE = ("--queues", "actions", "--without-gossip", "--without-mingle")
pytestmark = pytest.mark.timeout(200)


def children(worker: subprocess.Popen[bytes]) -> list[int]:
    """The processes of a worker's pool; none while it starts, and once it has ended."""
    return [int(child) for child in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()] if worker.poll() is None else []


def test_a_worker_that_is_killed_at_ten_random_points_loses_no_delivery_and_invents_none(tmp_path: Path, valkey: str, receiver: Receiver) -> None:
    seed = os.environ.get("DELIVERIES_SEED") or f"{random.getrandbits(32):x}"
    print(f"DELIVERIES_SEED={seed}")
    dice = random.Random(seed)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "AISOC_DATA_DIR": str(tmp_path),
        "AISOC_AIRGAPPED": "1",
        "CELERY_BROKER_URL": valkey,
        "ALERT_WEBHOOK_URL": f"{receiver.url}/hook",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    subprocess.run([sys.executable, "-m", "tests.integration.ask_for", str(DELIVERIES)], cwd=ROOT, env=environment, check=True)
    database, broker, said = tmp_path / "aisoc.sqlite3", Celery(broker=valkey, set_as_current=False), tmp_path / "worker.log"

    def started() -> subprocess.Popen[bytes]:
        with said.open("ab") as log:
            return subprocess.Popen([sys.executable, *WORKER, *QUEUE], cwd=ROOT, env=environment, start_new_session=True, stdout=log, stderr=log)

    def supervised(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """The worker, or another one: Celery ends a worker of which a child dies while it starts, and whoever supervises it starts it again."""
        if process.poll() is None:
            return process
        assert "Could not start worker processes" in said.read_text()[-4000:], f"the worker ended by itself: {said.read_text()[-4000:]}"
        return started()

    def leases_pass() -> None:
        """The two minutes after which what a dead worker had in hand is another one's; and the sweep that beat sends."""
        with sqlite3.connect(database, timeout=10) as rows:
            rows.execute("UPDATE actions_delivery SET nudge_at = '2000-01-01 00:00:00' WHERE state = 'queued'")
            rows.execute("UPDATE actions_delivery SET lease_until = '2000-01-01 00:00:00' WHERE state = 'queued' AND lease_until IS NOT NULL")
        broker.send_task("actions.tasks.sweep", queue="actions")

    process = started()
    for kill, number in enumerate(sorted(dice.sample(range(DELIVERIES - 10), KILLS))):
        with receiver.came:
            while len(receiver.posted) <= number:
                process = supervised(process)
                receiver.came.wait(0.2)
        time.sleep(dice.random() * 0.02)
        while not (pool := children(process)):
            process = supervised(process)
            time.sleep(0.01)
        if kill % WHOLE:
            os.kill(dice.choice(pool), signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = started()
        leases_pass()

    def waiting() -> int:
        with sqlite3.connect(database, timeout=10) as rows:
            count: int = rows.execute("SELECT count(*) FROM actions_delivery WHERE state = 'queued'").fetchone()[0]
        return count

    try:
        while not soon(lambda: not waiting(), 5):  # what the last killed one had in hand
            process = supervised(process)
            leases_pass()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with sqlite3.connect(database) as rows:
        assert rows.execute("SELECT state, count(*) FROM actions_delivery GROUP BY state").fetchall() == [("sent", DELIVERIES)]
    assert sorted(set(receiver.keys)) == sorted(f"case-{number}" for number in range(DELIVERIES))
    again = [one for one in receiver.posted if receiver.keys.count(one.headers["idempotency-key"]) > 1]
    assert len(receiver.posted) - DELIVERIES <= IN_HAND * KILLS
    assert len({(one.headers["idempotency-key"], one.headers["webhook-id"], one.content) for one in again}) == len({one.content for one in again})
