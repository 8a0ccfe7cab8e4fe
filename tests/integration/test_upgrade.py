"""From the last release to this one with its data, and back again: nothing is lost, the trail verifies, and the old release works on it."""

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ROOT
from tests.plugins.kev import catalogue, row

BEFORE = "e39d263d5ef8542188026d27b97d5733468ad9e4"  # the release that this one is upgraded from
APPS = ("aisoc_admin", "airgap", "tenants", "threatintel", "llm", "actions")
REFUSE = """
from airgap.transport import AirgapBlocked, gated_client
from airgap.drain import drain
for path in ("a", "b", "c"):
    try:
        with gated_client(purpose="upgrade") as client:
            client.get(f"http://8.8.8.8/{path}")
    except AirgapBlocked:
        pass
assert drain() == 3
"""
LOOK = """
import json
from django.conf import settings
from django.test import Client
from airgap.chain import verify
from airgap.models import EgressEvent
from threatintel.models import FeedRun, Indicator, IndicatorSource
import sys
key = settings.AIRGAP_SIGNING_KEY
print(json.dumps({
    "trail": list(EgressEvent.objects.order_by("position").values_list("digest", flat=True)),
    "broken": [found.what for found in verify({key.fingerprint: key.public})],
    "indicators": sorted(Indicator.objects.values_list("value", flat=True)),
    "sources": IndicatorSource.objects.count(),
    "runs": list(FeedRun.objects.values_list("feed", "state")),
    "token": Client(headers={"Authorization": "Token TOKEN"}).get("/api/v1/threatintel/feeds").status_code,
}))
"""
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(170)]


@dataclass
class Release:
    """The source of one release, run on one data folder and database."""

    root: Path
    environment: dict[str, str]

    def run(self, *words: str) -> str:
        done = subprocess.run([sys.executable, "manage.py", *words], cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def last_migrations(self) -> dict[str, str]:
        """Of each app with migrations, the last one that is applied."""
        found, app = {}, ""
        for line in self.run("showmigrations").splitlines():
            if name := re.match(r" \[X\] (\S+)", line):
                found[app] = name[1]
            elif not line.startswith(" "):
                app = line
        return found

    def look(self, token: str) -> dict[str, object]:
        return dict(json.loads(self.run("shell", "-v", "0", "-c", LOOK.replace("TOKEN", token)).splitlines()[-1]))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of a deployment of its own: on PostgreSQL a database of its own, on SQLite a file."""
    found = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "AISOC_DATA_DIR": str(tmp_path / "var")}
    found |= {"AISOC_AIRGAPPED": "1", "ALLOWED_HOSTS": "testserver"}
    server, _, _ = os.environ.get("DATABASE_URL", "").rpartition("/")
    if not server.startswith("postgres"):
        yield found
        return
    folder = server.removeprefix("postgres://postgres@/")
    with psycopg.connect(host=f"/{folder}", user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE upgrade")
        yield {**found, "DATABASE_URL": f"{server}/upgrade"}
        connection.execute("DROP DATABASE upgrade WITH (FORCE)")


@pytest.fixture
def old(tmp_path: Path, environment: dict[str, str]) -> Release:
    archive, root = tmp_path / "old.tar", tmp_path / "old"
    if subprocess.run(["git", "archive", "-o", archive, BEFORE], cwd=ROOT, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"The release before this one ({BEFORE}) is not in this checkout's history.")
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    return Release(root, environment)


def test_the_last_release_is_upgraded_and_come_back_to(old: Release, environment: dict[str, str], tmp_path: Path) -> None:
    new = Release(ROOT, environment)
    old.run("migrate", "-v0")
    token = old.run("create_token", "olga", "--role", "auditor").splitlines()[-1]
    (tmp_path / "kev.json").write_bytes(catalogue([row(number) for number in range(30)]))
    old.run("import_feed", "kev", str(tmp_path / "kev.json"))
    old.run("shell", "-v", "0", "-c", REFUSE)
    before, migrations = old.look(token), old.last_migrations()
    assert (len(before["trail"]), len(before["indicators"]), before["token"], before["broken"]) == (3, 30, 200, [])

    new.run("migrate", "-v0")
    new.run("migrate", "--check")
    assert new.look(token) == before
    new.run("shell", "-v", "0", "-c", REFUSE)
    after = new.look(token)
    assert (len(after["trail"]), after["broken"]) == (6, [])

    applied = new.last_migrations()
    for app in reversed([app for app in APPS if app in applied and applied[app] != migrations.get(app)]):
        new.run("migrate", "-v0", app, migrations.get(app, "zero"))
    old.run("migrate", "--check")
    assert old.look(token) == after
    old.run("shell", "-v", "0", "-c", REFUSE)
    assert (len(old.look(token)["trail"]), old.look(token)["broken"]) == (9, [])
