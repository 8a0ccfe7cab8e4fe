"""Starts programs that end with the block and with the process that started them, and looks at what they serve and store."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisoc_admin.lifeline import tied_to_this_process

ROOT = Path(__file__).resolve().parents[2]
GUNICORN = ("-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "--workers", "1", "tests.egress.in_web:application")
STOPS_WITHIN = 20  # seconds
Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Program:
    """`python arguments…` in this environment."""

    arguments: tuple[str, ...]
    environment: dict[str, str]

    def start(self, log: Path) -> Process:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", *self.arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=tied_to_this_process(signal.SIGKILL),
            )


@contextmanager
def running(*programs: Program, log: Path) -> Iterator[list[Process]]:
    """All of them, for the time of the block: then SIGTERM, and SIGKILL to what has not ended in time. Shows the log when the block fails."""
    processes: list[Process] = []
    try:
        for program in programs:
            processes.append(program.start(log))
        yield processes
    except BaseException:
        print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        deadline = time.monotonic() + STOPS_WITHIN
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def awaited(what: str, get: Callable[[], Any], process: Process, seconds: float = 60) -> Any:
    """The first true answer of `get`. Ends this process when there is none in time, or when `process`, which gives it, has failed."""
    deadline = time.monotonic() + seconds
    while True:
        failed = (process.poll() or 0) != 0  # asked before the answer: a program may end with it
        if found := get():
            return found
        if failed or time.monotonic() > deadline:
            raise SystemExit(f"{what}: {f'ended with status {process.returncode}' if failed else f'nothing within {seconds:.0f} s'}")
        time.sleep(0.1)


def ask(port: int, path: str, timeout: float = 5) -> Any:
    """The JSON that a server of this machine answers; None while there is none."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return None


def rows(data: Path, sql: str) -> list[list[Any]]:
    """What the database of a data folder answers; nothing while it is not there or not migrated."""
    try:
        with closing(sqlite3.connect(f"file:{data / 'aisoc.sqlite3'}?mode=ro", uri=True, timeout=5)) as connection:
            return [list(row) for row in connection.execute(sql)]
    except sqlite3.Error:
        return []


def trail(data: Path) -> list[dict[str, Any]]:
    """What the drain has stored so far."""
    columns = ("service", "process", "host", "rule", "layer", "purpose", "caller")
    sql = f"SELECT {', '.join(columns)}, SUM(count) FROM airgap_egressevent GROUP BY {', '.join(columns)}"
    return [dict(zip((*columns, "count"), row, strict=True)) for row in rows(data, sql)]
