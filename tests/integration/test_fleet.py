"""The fleet of a real deployment: every process is seen, and a worker without AISOC_AIRGAPPED beside an air-gapped web shows within 30 s."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ROOT
from tests.plugins.processes import free_port, soon

pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(sys.platform != "linux", reason="tells a dead process from a silent one by /proc")]
WITHIN = 30  # seconds


@dataclass
class Deployment:
    port: int
    environment: dict[str, str]
    output: Path
    token: str = ""

    def processes(self) -> list[dict[str, Any]]:
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/airgap/processes", headers={"Authorization": f"Token {self.token}"}, timeout=10)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    def page(self) -> str:
        """Deployment & AI, as its reader sees it after a login with what bin/up printed."""
        user, password = (re.search(rf"^{name}: (.*)$", self.output.read_text(), re.MULTILINE)[1] for name in ("user", "password"))  # type: ignore[index]
        with requests.Session() as session:
            login = f"http://127.0.0.1:{self.port}/login/"
            csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', session.get(login, timeout=10).text)[1]  # type: ignore[index]
            answer = session.post(
                login, data={"username": user, "password": password, "csrfmiddlewaretoken": csrf}, headers={"Referer": login}, timeout=10
            )
            assert answer.url.endswith("/settings/deployment/"), answer.url
            return answer.text

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines() if f'"event": "{event}"' in line]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("fleet")
    port = free_port(3)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PORT": str(port),
        "AISOC_DATA_DIR": str(folder / "var"),
        "AISOC_AIRGAPPED": "1",
        "CISA_KEV_URL": f"http://127.0.0.1:{free_port()}/kev.json",
    }
    output = folder / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "aisoc_admin.supervise"], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        assert soon(lambda: b"ready: http" in output.read_bytes() or process.poll() is not None, 120), output.read_text()
        made = subprocess.run(
            [sys.executable, "manage.py", "create_token", "auditor", "--role", "auditor"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        yield Deployment(port, environment, output, made.stdout.splitlines()[-1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


@pytest.fixture
def rogue(deployment: Deployment, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """rogue(NAME=…) starts one more worker of the deployment with other variables."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**variables: str) -> "subprocess.Popen[bytes]":
        environment = {**{name: value for name, value in deployment.environment.items() if name != "AISOC_AIRGAPPED"}, **variables}
        with (tmp_path / "rogue.log").open("wb") as log:
            command = [sys.executable, "-m", "celery", "--quiet", "-A", "aisoc_admin", "worker", "--concurrency", "1", "-n", "rogue@%h", "-Q", "none"]
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_every_process_is_listed_and_agrees(deployment: Deployment) -> None:
    roles = ["beat", "pool", "pool", "web", "web", "worker"]
    assert soon(lambda: sorted(row["role"] for row in deployment.processes()) == roles, WITHIN), deployment.processes()
    rows = deployment.processes()
    assert {(row["state"], row["airgapped"], row["guard"]) for row in rows} == {("ok", True, "enforce")}
    assert len({row["digest"] for row in rows}) == 1
    assert {row["service"] for row in rows} == {"api", "threatintel"}
    assert len({row["process"] for row in rows}) == len(roles)


def test_a_worker_without_the_air_gap_shows_as_drift_within_30_seconds(
    deployment: Deployment, rogue: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    began = time.monotonic()
    process = rogue()

    def drifting() -> list[dict[str, Any]]:
        return [row for row in deployment.processes() if row["state"] == "drift"]

    assert soon(drifting, WITHIN), deployment.processes()
    assert soon(lambda: deployment.logged("airgap.drift"), WITHIN - (time.monotonic() - began)), "in the log"
    assert "AISOC_AIRGAPPED" in (page := deployment.page())
    assert "FAILING" in page
    assert time.monotonic() - began < WITHIN
    assert {row["pid"] for row in drifting()} >= {process.pid}
    assert {row["airgapped"] for row in drifting()} == {False}
    line = next(line for line in deployment.logged("airgap.drift") if line["drifting"].endswith(f":{process.pid}"))
    assert (line["level"], line["airgapped"], line["role"]) == ("warning", False, "worker")
    process.kill()
    process.wait()
    assert soon(lambda: not drifting(), WITHIN), "a dead process drifts no more"


def test_a_worker_with_another_allowlist_shows_as_drift_and_leaves_the_list_when_it_stops(
    deployment: Deployment, rogue: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    process = rogue(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="elsewhere.example.com")

    def row() -> dict[str, Any]:
        return next((row for row in deployment.processes() if row["pid"] == process.pid), {})

    assert soon(lambda: row().get("state") == "drift", WITHIN), deployment.processes()
    assert "AISOC_AIRGAP_ALLOWLIST" in row()["why"]
    process.terminate()
    process.wait(20)
    assert not row(), "a clean stop says so"
    assert {row["state"] for row in deployment.processes() if row["host"]} <= {"ok", "drift"}
