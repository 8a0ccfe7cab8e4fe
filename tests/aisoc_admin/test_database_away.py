"""Commands without their database: exit status 1 and one line with the reason. No traceback, no password, nothing half done on stdout."""

from pathlib import Path

import pytest

from tests.aisoc_admin.test_bad_configuration import MANAGE, run

COMMANDS = {
    "create_token": ("create_token", "alice", "--role", "auditor"),
    "poll_feed": ("poll_feed", "kev"),
    "rotate_credentials": ("rotate_credentials",),
}
PASSWORD = "pl4ntedPassw0rd"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_database_that_is_away_is_one_line(name: str, tmp_path: Path) -> None:
    done = run(
        (*MANAGE, *COMMANDS[name]), tmp_path, DATABASE_URL=f"postgres://aisoc:{PASSWORD}@127.0.0.1:9/aisoc", CISA_KEV_URL="http://127.0.0.1:9/"
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
    assert PASSWORD not in done.stderr
