"""How a command ends without a traceback: a database that cannot be used is one line with the next step, a reader that left is none."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from django.db import OperationalError, ProgrammingError

from aisoc_admin.database_fault import told
from tests.aisoc_admin.test_bad_configuration import run
from tests.conftest import ROOT

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/var/aisoc.sqlite3"}
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "aisoc"}


@pytest.mark.parametrize(
    ("database", "error", "line"),
    [
        (SQLITE, OperationalError("database or disk is full"), "database or disk is full. Make room for /srv/var/aisoc.sqlite3."),
        (SQLITE, OperationalError("no such table: tenants_tenant"), "run manage.py migrate"),
        (SQLITE, OperationalError("unable to open database file"), "this user must be able to write it and its folder"),
        (POSTGRESQL, ProgrammingError('relation "tenants_tenant" does not exist\nLINE 1: SELECT'), "run manage.py migrate"),
        (POSTGRESQL, OperationalError("connection refused\n\tIs the server running?"), "Check DATABASE_URL"),
    ],
)
def test_each_fault_is_one_line_with_its_next_step(database: dict[str, str], error: OperationalError, line: str) -> None:
    said = told(error, database)
    assert said.startswith("The database cannot be used: ")
    assert line in said
    assert "\n" not in said


@pytest.mark.parametrize("words", [("create_token", "a", "--role", "auditor"), ("import_feed", "kev", "requirements.in"), ("poll_feed", "kev")])
def test_a_command_before_the_first_migration_says_what_is_missing(words: Sequence[str], tmp_path: Path) -> None:
    done = run(("manage.py", *words), tmp_path, CISA_KEV_URL="http://kev-mirror/feed.json")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "run manage.py migrate" in done.stderr.splitlines()[-1]


def test_a_restore_before_the_first_migration_says_what_is_missing(tmp_path: Path) -> None:
    run(("manage.py", "migrate"), tmp_path)
    run(("manage.py", "backup", str(tmp_path / "b.gz")), tmp_path)
    done = run(("manage.py", "restore", str(tmp_path / "b.gz")), tmp_path / "other")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "CommandError: Nothing was restored. The database has no tables yet: run manage.py migrate first, as its owner.",
    )


def test_the_database_that_a_command_makes_is_not_for_every_user(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", f"umask 022; exec {sys.executable} manage.py migrate -v0"]
    subprocess.run(command, cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AISOC_DATA_DIR": str(tmp_path)}, check=True)
    assert (tmp_path / "aisoc.sqlite3").stat().st_mode & 0o007 == 0


def test_an_output_that_nobody_reads_to_its_end_is_no_traceback(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AISOC_DATA_DIR": str(tmp_path / "var")}
    words = [sys.executable, "manage.py", "airgap_check", *(f"http://host-{number}.internal" for number in range(3000))]
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline().startswith(b"allowed")
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(60) == 141


def test_the_traceback_is_there_for_who_asks(tmp_path: Path) -> None:
    assert "Traceback" in run(("manage.py", "create_token", "a", "--role", "auditor", "--traceback"), tmp_path).stderr
