"""Bad configuration is exit status 2 and one line on stderr, for every command and every process; no traceback, nothing on stdout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MANAGE = ("manage.py",)
PROCESSES = {
    "manage.py": MANAGE,
    "help": (*MANAGE, "help"),
    "help of a command": (*MANAGE, "poll_feed", "--help"),
    "check": (*MANAGE, "check"),
    "migrate": (*MANAGE, "migrate"),
    "shell": (*MANAGE, "shell", "-c", "pass"),
    "airgap_check": (*MANAGE, "airgap_check", "http://ollama"),
    "airgap_status": (*MANAGE, "airgap_status", "--json"),
    "poll_feed": (*MANAGE, "poll_feed", "kev"),
    "create_token": (*MANAGE, "create_token", "alice", "--role", "auditor"),
    "an unknown command": (*MANAGE, "nonsense"),
    "web": ("-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application"),
    "worker": ("-m", "celery", "-A", "aisoc_admin.celery", "worker"),
    "beat": ("-m", "celery", "-A", "aisoc_admin.celery", "beat", "-S", "aisoc_admin.scheduler:LeasedScheduler"),
    "supervisor": ("-m", "aisoc_admin.supervise"),
}
BAD = [
    ("AISOC_AIRGAPPED", "ture"),
    ("AISOC_AIRGAPED", "1"),
    ("AISOC_AIRGAP_ALLOWLIST", "*.intel.corp"),
    ("CISA_KEV_URL", "http://127.1/x"),
    ("DATABASE_URL", "rubbish"),
]


def run(words: tuple[str, ...], folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "AISOC_DATA_DIR": str(folder / "var"), **variables}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_stops_with_status_two_and_one_line(process: str, tmp_path: Path) -> None:
    done = run(PROCESSES[process], tmp_path, AISOC_AIRGAPPED="maybe")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("AISOC_AIRGAPPED='maybe'")
    assert "AISOC_AIRGAPPED=1" in line


@pytest.mark.parametrize(("name", "value"), BAD)
def test_every_kind_of_fault_names_its_variable(name: str, value: str, tmp_path: Path) -> None:
    done = run(PROCESSES["airgap_status"], tmp_path, **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert name in line


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    done = run(PROCESSES["check"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("AISOC_DATA_DIR=")
