"""A container's health check: ready or not by the exit status, for the web and for worker and beat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.plugins.mirror import Mirror, body
from tests.plugins.processes import free_port


def probe(folder: Path, **variables: str) -> int:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    return subprocess.run([sys.executable, "-m", "aisoc_admin.probe"], cwd=ROOT, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_exit_status_says_whether_it_is_ready(status: int, code: int, mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers["/ready"] = body(b"{}", status=status)
    assert probe(tmp_path, PORT=str(mirror.port)) == code
    assert probe(tmp_path, PORT=str(free_port()), AISOC_HEALTH_PORT=str(mirror.port)) == code


def test_nobody_there_is_not_ready(tmp_path: Path) -> None:
    assert probe(tmp_path, PORT=str(free_port())) == 1
    assert not list(tmp_path.iterdir()), "a probe makes nothing"
