"""The supervisor with programs of a few lines instead of the product; tests/integration/test_up.py has the real ones."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aisoc_admin import prepare, supervise
from aisoc_admin.supervise import Ports, StartError
from aisoc_admin.supervisor import pause_before_restart
from tests.plugins.processes import free_port, gone

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")

FOREVER = "time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say('deaf'); time.sleep(60)"
WITH_A_CHILD = "child = subprocess.Popen(['sleep', '60']); say(f'start sleep {child.pid}'); time.sleep(60)"
WEB = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        ready = time.monotonic() - began > 0.3 and self.headers["Host"] == "aisoc.corp"
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(b'{"ready": false, "reasons": ["database: away"]}')
    def log_message(self, *_): pass
began = time.monotonic()
HTTPServer(("127.0.0.1", PORT), H).serve_forever()
"""
# Each line is one write, as several processes share the stream.
SAY = "import os, signal, subprocess, sys, time\ndef say(text): os.write(1, text.encode() + b'\\n')\n"
# A supervisor over programs of a few lines; it says the name and pid of each as it starts it, so that the order said is the order started.
HARNESS = """
import logging, structlog
from aisoc_admin import supervisor
from aisoc_admin.lifeline import tied_to_this_process
from aisoc_admin.supervisor import *

def run(say_source, sources, port, grace, head_start):
    def program(name):
        def start():
            text = f"{say_source}PORT = {port}\\n{sources[name]}"
            process = subprocess.Popen([sys.executable, "-c", text], start_new_session=True, preexec_fn=tied_to_this_process(signal.SIGKILL))
            say(f"start {name} {process.pid}")
            return process

        return start

    logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
    structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event", "name"])], logger_factory=structlog.stdlib.LoggerFactory())
    supervisor.HEAD_START = head_start
    worker, web = Child("worker", program("worker")), Child("web", program("web"))
    up = Supervisor(
        signals=Signals(), broker=Child("broker", program("broker")), broker_answers=lambda: True, prepare=program("prepare"), services=(worker, web),
        web=web, readiness=Readiness("127.0.0.1", port, "aisoc.corp"), on_started=lambda: say("started"), on_ready=lambda: say("ready"), grace=grace,
    )
    return up.run()
"""


class Scene:
    """One run of the harness and what it said."""

    def __init__(self, *, grace: float = 2, head_start: float = 0.1, **sources: str) -> None:
        sources = {"broker": FOREVER, "prepare": "", "web": WEB, "worker": FOREVER, **sources}
        program = f"{SAY}{HARNESS}\nsys.exit(run({SAY!r}, {sources!r}, {free_port()}, {grace}, {head_start}))"
        self.process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said: list[str] = []

    def until(self, *words: str) -> str:
        """Read on until a line begins with or contains one of `words`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if any(word in line for word in words):
                return line
        raise AssertionError(f"{words} did not come:\n" + "\n".join(self.said))

    def finish(self) -> int:
        assert self.process.stdout is not None
        self.said += [line.rstrip() for line in self.process.stdout]
        return self.process.wait(10)

    def pids(self) -> list[int]:
        return [int(line.split()[2]) for line in self.said if line.startswith("start ")]

    def starts(self) -> list[str]:
        return [line.split()[1] for line in self.said if line.startswith("start ")]


@pytest.fixture
def scene() -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(**parts: Any) -> Scene:
        scenes.append(Scene(**parts))
        return scenes[-1]

    yield make
    for one in scenes:
        one.process.terminate()
        one.process.communicate(timeout=20)


def test_broker_and_preparation_then_the_web_then_the_rest(scene: Callable[..., Scene]) -> None:
    run = scene(head_start=30)
    run.until("start worker")
    assert run.starts() == ["broker", "prepare", "web", "worker"]
    assert [line for line in run.said if line in ("started", "ready")] == ["started", "ready"]
    run.process.send_signal(signal.SIGTERM)
    assert run.finish() == 0
    assert gone(run.pids())


def test_the_rest_starts_after_the_head_start_even_when_the_web_is_not_ready(scene: Callable[..., Scene]) -> None:
    run = scene(web=FOREVER)
    run.until("start worker")
    assert "ready" not in run.said


def test_a_failed_preparation_is_the_exit_status_and_stops_the_broker(scene: Callable[..., Scene]) -> None:
    run = scene(prepare="sys.exit(2)")
    assert run.finish() == 2
    assert run.starts() == ["broker", "prepare"]
    assert gone(run.pids())


def test_a_signal_during_preparation_ends_it_all(scene: Callable[..., Scene]) -> None:
    run = scene(prepare=FOREVER)
    run.until("start prepare")
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == 0
    assert run.starts() == ["broker", "prepare"]
    assert gone(run.pids())


def test_a_dead_child_is_restarted_after_a_pause_and_takes_its_children_along(scene: Callable[..., Scene]) -> None:
    run = scene(worker=WITH_A_CHILD)
    run.until("start sleep")
    worker, sleep = run.pids()[-2:]
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    run.until("start worker")
    assert 0.9 < time.monotonic() - began < 3
    assert gone([sleep])
    log = "\n".join(run.said)
    assert f"event='child.exited' name='worker' pid={worker} code=-9" in log
    assert "event='child.restarting' name='worker' seconds=1.0" in log


def test_the_pause_doubles_up_to_half_a_minute() -> None:
    assert [pause_before_restart(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(scene: Callable[..., Scene]) -> None:
    run = scene(worker=DEAF, grace=1)
    run.until("deaf")
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    assert run.finish() == 0
    assert 0.9 < time.monotonic() - began < 3
    assert gone(run.pids())


def test_a_second_wish_to_stop_does_not_wait_for_the_grace(scene: Callable[..., Scene]) -> None:
    run = scene(worker=DEAF, grace=30)
    run.until("deaf")
    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGINT)  # at the same moment: one wish
    time.sleep(0.8)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == 0
    assert gone(run.pids())


@linux
def test_nothing_survives_a_killed_supervisor(scene: Callable[..., Scene]) -> None:
    run = scene(worker=DEAF)
    run.until("start worker")
    run.process.kill()
    run.process.wait()
    assert gone(run.pids())


@linux
def test_a_child_whose_parent_is_already_gone_ends_itself() -> None:
    program = "import os, signal; from aisoc_admin.lifeline import die_with_parent; die_with_parent(signal.SIGKILL, parent=os.getppid() + 1)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("offset", "name"), [(0, "PORT,"), (1, "PORT[+]1,"), (2, "PORT[+]2,")])
def test_a_port_in_use_is_named_with_the_way_out(offset: int, name: str) -> None:
    port = free_port(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + offset))
        taken.listen()
        with pytest.raises(StartError, match=rf"^Port {port + offset} \({name} .*PORT=\d+ bin/up$") as caught:
            Ports("127.0.0.1", port).check(patience=0)
    assert caught.value.status == 1
    Ports("127.0.0.1", port).check(patience=0)


def test_the_port_of_metrics_must_be_free_too_and_none_of_the_others() -> None:
    port = free_port(4)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 3))
        taken.listen()
        with pytest.raises(StartError, match=rf"^Port {port + 3} \(AISOC_METRICS_PORT,"):
            Ports("127.0.0.1", port, port + 3).check(patience=0)
    Ports("127.0.0.1", port, port + 3).check(patience=0)
    for number in range(3):
        with pytest.raises(StartError, match=rf"^AISOC_METRICS_PORT={port + number} is one of") as caught:
            Ports("127.0.0.1", port, port + number).check(patience=0)
        assert caught.value.status == 2


@pytest.mark.parametrize(
    ("bind", "port", "name"),
    [("127.0.0.1", 65534, "PORT=65534"), ("everywhere", 8000, "AISOC_BIND='everywhere'"), ("192.0.2.1", 8000, "AISOC_BIND=192.0.2.1")],
)
def test_an_address_that_cannot_be_is_bad_configuration(bind: str, port: int, name: str) -> None:
    with pytest.raises(StartError, match=name) as caught:
        Ports(bind, port).check(patience=0)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("bind", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")],
)
def test_the_printed_address_can_be_opened_on_this_machine(bind: str, url: str) -> None:
    assert Ports(bind, 8000).url(8000) == url


def test_a_second_instance_on_the_same_data_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with supervise.only_instance(tmp_path):
        with pytest.raises(StartError, match=rf"pid {os.getpid()}\)") as caught, supervise.only_instance(tmp_path):
            pytest.fail("two hold the lock")
        assert caught.value.status == 1
    with supervise.only_instance(tmp_path):
        assert stat.S_IMODE((tmp_path / "up.lock").stat().st_mode) == 0o600


def test_the_data_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    with supervise.only_instance(tmp_path / "new" / "var"):
        assert stat.S_IMODE((tmp_path / "new" / "var").stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_made_is_bad_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="AISOC_DATA_DIR=") as caught, supervise.only_instance(tmp_path / "file"):
        pytest.fail("it holds a file")
    assert caught.value.status == 2


@pytest.mark.parametrize(("given", "service"), [({}, "threatintel"), ({"AISOC_SERVICE": "actions"}, "actions")])
def test_a_service_is_named_unless_it_has_a_name(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], service: str) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AISOC_HEALTH_PORT", "1")
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_args, env, **_rest: seen.append(env))
    supervise.spawner("celery", service="threatintel", health_port=8001)()
    supervise.spawner("gunicorn", service="api")()
    assert (seen[0]["AISOC_SERVICE"], seen[0]["AISOC_HEALTH_PORT"]) == (service, "8001")
    assert "AISOC_HEALTH_PORT" not in seen[1]


def test_a_first_login_is_said_openly_only_where_nothing_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare.announce(None, openly=True, data_dir=tmp_path)
    assert capsys.readouterr().out == ""
    prepare.announce(("admin", "secret"), openly=True, data_dir=tmp_path)
    assert capsys.readouterr().out.splitlines() == ["user: admin", "password: secret"]
    (tmp_path / "first_login.txt").write_text("left over, and readable by all")
    prepare.announce(("admin", "secret"), openly=False, data_dir=tmp_path)
    path = tmp_path / "first_login.txt"
    assert capsys.readouterr().out == f"first login: {path}\n"
    assert path.read_text() == "user: admin\npassword: secret\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "arguments",
    [("aisoc_admin.supervise",), ("gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application")],
    ids=["bin/up", "gunicorn by hand"],
)
def test_bad_configuration_is_status_two_and_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {**os.environ, "AISOC_DATA_DIR": str(tmp_path), "AISOC_AIRGAPPED": "maybe"}
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("AISOC_AIRGAPPED='maybe'")
