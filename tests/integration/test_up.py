"""The real bin/up: two starts on one data folder, each looked at from outside and then ended, the second by kill -9.

The air gap is on, so that the product contacts nobody.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisoc_admin import embedded
from aisoc_admin.lifeline import tied_to_this_process
from tests.plugins.processes import free_port, gone, lives, soon

ROOT = Path(__file__).resolve().parents[2]
UP = ROOT / "bin" / "up"
PATIENCE = 60  # seconds: a busy machine is no failure
STAMPS = [ROOT / ".venv" / f".installed-{lock}" for lock in ("requirements.txt", "requirements-dev.txt")]
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


class Up:
    """One bin/up and all it said."""

    def __init__(self, data_dir: Path, port: int, **variables: str) -> None:
        self.data_dir, self.port = data_dir, port
        self.marker = f"UP_TEST={uuid.uuid4()}"
        self.lines: list[str] = []
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [UP],
            cwd="/",
            env=environment(data_dir, port, self.marker, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=tied_to_this_process(signal.SIGTERM),  # a killed test run leaves no product running
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            self.lines.extend(line.rstrip("\n") for line in stdout)

    def says(self, pattern: str, times: int = 1, seconds: float = PATIENCE) -> list[str]:
        """The lines that match, once there are so many."""
        assert soon(lambda: len(self.matching(pattern)) >= times or self.process.poll() is not None, seconds), f"no {pattern}:\n" + "\n".join(
            self.lines
        )
        assert len(self.matching(pattern)) >= times, "\n".join(self.lines)
        return self.matching(pattern)

    def matching(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.search(pattern, line)]

    def events(self, name: str) -> list[dict[str, object]]:
        """Lines of the log with that event, parsed."""
        return [record for line in self.lines if line.startswith("{") and (record := json.loads(line))["event"] == name]

    def pid_of(self, child: str) -> int:
        """Of its latest start."""
        return next(int(str(record["pid"])) for record in reversed(self.events("child.started")) if record["name"] == child)

    def processes(self) -> list[int]:
        """Every process that inherited the marker or serves from the data folder."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.marker.encode() in (folder / "environ").read_bytes() or str(self.data_dir).encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return [pid for pid in found if pid != os.getpid() and lives(pid)]

    def get(self, path: str, offset: int = 0) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port + offset, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def is_healthy(self, offset: int) -> bool:
        try:
            return self.get("/health", offset)[0] == 200
        except OSError:
            return False

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._reader.join(15)


def environment(data_dir: Path, port: int, marker: str, **variables: str) -> dict[str, str]:
    name, _, value = marker.partition("=")
    return {**os.environ, "AISOC_DATA_DIR": str(data_dir), "AISOC_AIRGAPPED": "1", "PORT": str(port), name: value, **variables}


def run_once(data_dir: Path, port: int, **variables: str) -> tuple[int, list[str], list[str]]:
    """A bin/up that is expected to end by itself."""
    done = subprocess.run(
        [UP], cwd="/", env=environment(data_dir, port, "UP_TEST=1", **variables), capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def first(data_dir: Path) -> Iterator[Up]:
    """The first start ever on this data."""
    up = Up(data_dir, free_port(3))
    try:
        up.says("^ready: ")
        yield up
    finally:
        up.end()


@pytest.fixture(scope="module")
def second(first: Up, data_dir: Path) -> Iterator[tuple[Up, int]]:
    """A later start, after the first has ended, beside a Valkey that was left behind; and its pid."""
    first.end()
    stale = embedded.start(data_dir)
    embedded.wait_until_answering(data_dir, stale)
    up = Up(data_dir, first.port)
    try:
        up.says("^ready: ")
        stale.wait(5)
        yield up, stale.pid
    finally:
        up.end()
        embedded.stop(stale)


def test_the_first_start_says_how_to_log_in_and_where(first: Up) -> None:
    plain = [line for line in first.lines if re.match(r"(user|password|health|ready): ", line)]
    assert [line.partition(":")[0] for line in plain] == ["user", "password", "health", "health", "ready"]
    assert plain[2:] == [
        f"health: http://127.0.0.1:{first.port + 1}",
        f"health: http://127.0.0.1:{first.port + 2}",
        f"ready: http://127.0.0.1:{first.port}",
    ]
    assert len(plain[1].removeprefix("password: ")) >= 16


def test_all_three_answer_under_their_own_service_name(first: Up) -> None:
    assert first.get("/ready") == (200, {"ready": True, "reasons": []})
    for offset, service in ((0, "api"), (1, "threatintel"), (2, "threatintel")):
        assert soon(lambda offset=offset: first.is_healthy(offset), PATIENCE), "\n".join(first.lines)
        status, body = first.get("/health", offset)
        assert (status, body["service"]) == (200, service)


def test_the_log_of_the_services_is_one_json_object_a_line(first: Up) -> None:
    first.says(r'"event": "worker-\d+@.* ready\."')
    log = [json.loads(line) for line in first.lines if line.startswith("{")]
    assert all(list(record)[:6] == ["timestamp", "level", "event", "service", "process", "version"] for record in log)


def test_what_the_product_writes_is_for_this_user_alone(first: Up, data_dir: Path) -> None:
    first.says(r'"event": "beat.leading"')
    files = [path for path in data_dir.rglob("*") if path.is_file() or path.is_socket()]
    assert {path.name for path in files} >= {"aisoc.sqlite3", "secret_key", "up.lock", "valkey.sock"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_a_second_instance_on_the_same_data_is_refused(first: Up, data_dir: Path) -> None:
    status, out, err = run_once(data_dir, free_port(3))
    assert (status, out) == (1, [])
    assert err == [f"AiSOC Admin already runs on {data_dir} (pid {first.process.pid}). Stop that one, or use another AISOC_DATA_DIR and PORT."]


def test_a_port_in_use_is_one_line_and_nothing_is_made(first: Up, tmp_path: Path) -> None:
    status, out, err = run_once(tmp_path, first.port)
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f"Port {first.port} (PORT,")
    assert not (tmp_path / "aisoc.sqlite3").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("AISOC_AIRGAPPED", "maybe"), ("AISOC_AIRGAPED", "1"), ("PORT", "65535"), ("AISOC_BIND", "nowhere"), ("AISOC_ENVIRONMENT", "production")],
)
def test_bad_configuration_is_status_two_and_one_line(tmp_path: Path, name: str, value: str) -> None:
    status, out, err = run_once(tmp_path, 8000, **{name: value})
    assert (status, out, len(err)) == (2, [], 1)
    assert name in err[0] or value == "production"


def test_a_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    status, _out, err = run_once(tmp_path, free_port(3), DATABASE_URL=f"postgres://aisoc@127.0.0.1:{free_port()}/aisoc")
    plain = [line for line in err if not line.startswith("{")]
    assert (status, len(plain)) == (1, 1)
    assert plain[0].startswith("The database cannot be used")


@pytest.mark.parametrize("child", ["worker", "valkey", "web"])
def test_a_killed_child_is_restarted(first: Up, child: str) -> None:
    assert soon(lambda: all(first.is_healthy(offset) for offset in (0, 1, 2)), PATIENCE)
    pid = first.pid_of(child)
    starts = len(first.events("child.started"))
    os.kill(pid, signal.SIGKILL)
    assert soon(lambda: len(first.events("child.started")) > starts, PATIENCE), "\n".join(first.lines)
    assert first.events("child.exited")[-1].items() >= {"name": child, "pid": pid, "code": -9}.items()
    assert first.events("child.restarting")[-1]["name"] == child
    assert soon(lambda: all(first.is_healthy(offset) for offset in (0, 1, 2)), PATIENCE), "\n".join(first.lines)
    assert soon(lambda: first.get("/health")[1]["checks"] == {"database": "ok", "broker": "ok", "spool": "ok"}, PATIENCE), first.get("/health")


def test_sigterm_stops_everything_within_ten_seconds(first: Up) -> None:
    began = time.monotonic()
    first.process.terminate()
    assert first.process.wait(15) == 0
    assert time.monotonic() - began < 10
    assert first.processes() == []


def test_a_later_start_makes_no_user_and_runs_no_installer(second: tuple[Up, int]) -> None:
    up = second[0]
    assert up.matching("^(user|password|setting up|updating|migrating)") == []
    assert any(stamp.stat().st_mtime < time.time() - (time.monotonic() - up.began) for stamp in STAMPS if stamp.exists())


def test_a_valkey_that_was_left_behind_is_replaced(second: tuple[Up, int]) -> None:
    up, stale = second
    assert gone([stale])
    assert up.pid_of("valkey") != stale
    assert soon(lambda: up.get("/health")[1]["checks"]["broker"] == "ok", PATIENCE)


def test_kill_9_of_the_supervisor_leaves_no_process_behind(second: tuple[Up, int]) -> None:
    up = second[0]
    assert soon(lambda: all(up.is_healthy(offset) for offset in (0, 1, 2)), PATIENCE)
    before = up.processes()
    assert len(before) >= 8, "the supervisor, valkey, a web with two workers, a worker with two pool processes, beat"
    up.process.kill()
    up.process.wait()
    assert gone(before), [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in up.processes()]
    assert up.processes() == []
