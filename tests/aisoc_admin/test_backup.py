"""backup and restore: everything comes back, on either database, and a file that was touched restores nothing."""

import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from airgap import chain
from airgap.attest import attest
from airgap.ed25519 import SigningKey, read_key
from airgap.models import Attestation, EgressEvent, ProcessBeat, TrailHead
from aisoc_admin import backup
from aisoc_admin.models import LoginAttempts
from llm.credentials import Wanted, save_credential
from llm.models import CredentialChange, TenantCredential
from tenants.accounts import first_login, issue_token
from tenants.models import Tenant
from tenants.roles import Role
from tenants.scope import all_tenants
from tests.airgap.trail import drained, event
from tests.conftest import ROOT
from tests.plugins.kev import catalogue, row
from threatintel.models import FeedRun, Indicator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(170)]
KEY = "c2lnbmluZy1rZXktb2YtMzItYnl0ZXMtISEhISEhISE="
OTHER_KEY = "YW5vdGhlci1zaWduaW5nLWtleS0zMi1ieXRlcy0hISE="


@pytest.fixture(autouse=True)
def _key(settings: Any) -> None:
    settings.AIRGAP_SIGNING_KEY = read_key(KEY)


@pytest.fixture
def deployment(tmp_path: Path) -> str:
    """A user, a token, a feed's rows with a run, a trail, and what a backup leaves out; gives the token."""
    first_login()
    token = issue_token("olga", Role.AUDITOR, 9)
    (tmp_path / "kev.json").write_bytes(catalogue([row(number) for number in range(40)]))
    call_command("import_feed", "kev", str(tmp_path / "kev.json"), stdout=io.StringIO())
    drained(event(0, path="/ü\u2028"), event(1, count=7), event(2, host="8.8.8.8"))
    LoginAttempts.objects.create(key="k", count=3, since=timezone.now())
    return token


def made(path: Path) -> Path:
    call_command("backup", str(path), stdout=io.StringIO(), stderr=io.StringIO())
    return path


def restored(path: Path, *words: str) -> str:
    out = io.StringIO()
    call_command("restore", str(path), *words, stdout=out)
    return out.getvalue()


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def rewritten(path: Path, change: Callable[[list[Any]], None], signed_by: SigningKey | None = None) -> Path:
    """The backup as somebody would forge it: another content, with the digest that belongs to it, and a signature if they have the key."""
    content = lines(path)[:-1]
    change(content)
    body = b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in content)
    digest = hashlib.sha256(body).hexdigest()
    signature = {"signature": signed_by.sign(f"aisoc-backup {digest}".encode())} if signed_by else {}
    end = json.dumps({"sha256": digest, **signature}).encode() + b"\n"
    forged = path.with_name("forged")
    forged.write_bytes(gzip.compress(body + end))
    return forged


def stored() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a backup holds, read past the models."""
    found = {}
    with connection.cursor() as cursor:
        for model in backup.tables():
            if model._meta.label not in backup.LEFT_OUT:
                names = ", ".join(connection.ops.quote_name(field.column) for field in model._meta.concrete_fields)
                cursor.execute(f"SELECT {names} FROM {connection.ops.quote_name(model._meta.db_table)} ORDER BY 1")
                found[model._meta.label] = cursor.fetchall()
    return found


def test_every_row_comes_back_as_it_was(deployment: str, tmp_path: Path) -> None:
    before = stored()
    path = made(tmp_path / "backup")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    EgressEvent.objects.all()._raw_delete("default")
    Indicator.objects.all().delete()
    issue_token("mallory", Role.OPERATOR, 1)
    assert restored(path, "--force").splitlines()[-1] == "the trail verifies"
    assert stored() == before
    assert not LoginAttempts.objects.exists()
    assert Client(headers={"Authorization": f"Token {deployment}"}).get("/api/v1/threatintel/feeds").status_code == 200
    issue_token("new", Role.OPERATOR, 1)  # the sequences stand behind what was restored
    again = made(tmp_path / "again")
    assert lines(again)[1]["table"] == lines(path)[1]["table"]


@pytest.fixture
def bound() -> Iterator[None]:
    """This connection's role is then one that row-level security binds, with every right of the tables' owner."""
    if connection.vendor != "postgresql":
        yield
        return
    role = f"binds_in_{connection.settings_dict['NAME']}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        )
        cursor.execute(f"SET ROLE {role}")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


def test_rows_of_tenants_and_rows_that_nobody_changes_come_back_though_row_security_binds_the_role(bound: None, tmp_path: Path) -> None:
    for slug in ("acme", "globex"):
        save_credential(Tenant.objects.create(slug=slug, name=slug), Wanted(provider="custom", base_url="http://llm.corp/v1"), by="olga")
    attest("firewall", by="olga", note="seen")
    path = made(tmp_path / "backup")
    held = {line["table"]: following for line, following in pairwise(lines(path)) if isinstance(line, dict) and "table" in line}
    assert isinstance(held["llm.TenantCredential"], list)
    assert isinstance(held["llm.CredentialChange"], list)
    restored(path, "--force")
    again = made(tmp_path / "again")
    assert lines(again)[1:-1] == lines(path)[1:-1]
    with all_tenants():
        assert TenantCredential.across_tenants.count() == CredentialChange.across_tenants.count() == 2
    assert Attestation.objects.count() == 1


def test_a_deployment_moves_from_sqlite_to_this_database(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "AISOC_DATA_DIR": str(tmp_path / "var"),
        "AISOC_SIGNING_KEY": KEY,
    }
    environment["AISOC_AIRGAPPED"] = "1"
    (tmp_path / "kev.json").write_bytes(catalogue([row(number) for number in range(40)]))
    refuse = (
        "from airgap.transport import *; from airgap.drain import drain\n"
        "try:\n gated_client(purpose='x').get('http://8.8.8.8/')\nexcept AirgapBlocked: drain()"
    )
    for words in (
        ["migrate", "-v0"],
        ["create_token", "olga", "--role", "auditor"],
        ["import_feed", "kev", "kev.json"],
        ["shell", "-v0", "-c", refuse],
    ):
        words = [str(tmp_path / word) if word.endswith(".json") else word for word in words]
        done = subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        token = done.stdout.splitlines()[-1] if words[0] == "create_token" else locals().get("token", "")
    path = tmp_path / "backup"
    done = subprocess.run([sys.executable, "manage.py", "backup", str(path)], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == str(path)
    assert "Keep apart from it" in done.stderr
    assert restored(path).splitlines()[-1] == "the trail verifies"
    assert (Indicator.objects.count(), EgressEvent.objects.count(), FeedRun.objects.get().state) == (40, 1, "ok")
    assert Client(headers={"Authorization": f"Token {token}"}).get("/api/v1/threatintel/feeds").status_code == 200
    drained(event(5))
    assert list(chain.verify({read_key(KEY).fingerprint: read_key(KEY).public})) == [], "the chain goes on where it was"


def test_no_key_and_no_session_is_in_a_backup(deployment: str, tmp_path: Path, settings: Any) -> None:
    Client().post("/login/", {"username": "admin", "password": "x"})
    content = gzip.decompress(made(tmp_path / "backup").read_bytes()).decode()
    for secret in (settings.SECRET_KEY, KEY, deployment):
        assert secret not in content
    assert not {"sessions.Session", "airgap.ProcessBeat", "aisoc_admin.LoginAttempts"} & {
        line.get("table") for line in lines(tmp_path / "backup") if isinstance(line, dict)
    }


def test_a_backup_replaces_no_file_and_leaves_no_half_of_one(deployment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = made(folder / "backup")
    before = path.read_bytes()
    with pytest.raises(CommandError, match="A backup replaces no file"):
        made(path)
    monkeypatch.setattr(backup, "_text", None)  # it cannot write the first time stamp
    with pytest.raises(TypeError):
        made(folder / "other")
    assert [found.name for found in folder.iterdir()] == ["backup"]
    assert path.read_bytes() == before


def refused(path: Path, *words: str) -> str:
    before = stored()
    with pytest.raises(CommandError) as raised:
        restored(path, *words)
    assert stored() == before
    assert str(raised.value).startswith("Nothing was restored.")
    return str(raised.value)


def test_a_deployment_with_something_in_it_is_replaced_by_force_only(deployment: str, tmp_path: Path) -> None:
    path = made(tmp_path / "backup")
    assert "This deployment is not empty" in refused(path)
    now = timezone.now()
    ProcessBeat.objects.create(
        instance="1",
        service="api",
        role="web",
        host="h",
        pid=1,
        version="1",
        airgapped=True,
        guard="enforce",
        digest="d",
        started_at=now,
        beat_at=now,
    )
    assert "1 processes of this deployment run (api). Stop them first." in refused(path, "--force")


def test_a_file_that_was_touched_restores_nothing(deployment: str, tmp_path: Path) -> None:
    path = made(tmp_path / "backup")
    whole = path.read_bytes()
    for damaged in (whole[:-40], whole[: len(whole) // 2], b"rubbish", b""):
        path.write_bytes(damaged)
        assert "is not a whole backup" in refused(path, "--force")
    path.write_bytes(whole[:200] + bytes(byte ^ 0xFF for byte in whole[200:230]) + whole[230:])
    assert "is not a whole backup" in refused(path, "--force")
    assert "nothing-there cannot be read (No such file or directory)" in refused(tmp_path / "nothing-there", "--force")
    path.write_bytes(gzip.compress(gzip.decompress(whole).replace(b"olga", b"evil")))
    assert "has been altered or damaged" in refused(path, "--force")


def test_a_backup_of_another_release_is_named(deployment: str, tmp_path: Path) -> None:
    path = made(tmp_path / "backup")
    later = rewritten(path, lambda content: content[0]["migrations"].append(["airgap", "0099_later"]))
    assert "airgap.0099_later" in refused(later, "--force", "--any-trail")
    assert "this release reads aisoc-backup of format 1" in refused(rewritten(path, lambda content: content[0].update(format=2)), "--force")


def test_a_database_without_tables_is_told_how_to_get_them(deployment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "backup")
    monkeypatch.setattr(backup, "_migrations", list)
    assert "manage.py migrate" in refused(path)


def test_a_trail_that_does_not_verify_is_not_taken_for_one_that_does(deployment: str, tmp_path: Path, settings: Any) -> None:
    """The database was tampered with before the deployment itself backed it up."""
    path = made(tmp_path / "backup")

    def tamper(content: list[Any]) -> None:
        at = next(index for index, line in enumerate(content) if isinstance(line, dict) and line.get("table") == "airgap.EgressEvent")
        content[at + 2][content[at]["fields"].index("host")] = "harmless.corp"

    forged = rewritten(path, tamper, signed_by=read_key(KEY))
    assert "The trail in the backup does not verify" in refused(forged, "--force")
    settings.AIRGAP_SIGNING_KEY = read_key(OTHER_KEY)
    assert "The backup was signed by the key" in refused(path, "--force")
    settings.AIRGAP_SIGNING_KEY = read_key(KEY)
    assert "the trail verifies" not in restored(forged, "--force", "--any-trail")
    assert EgressEvent.objects.filter(host="harmless.corp").exists(), "evidence is kept when it is asked for"
    assert TrailHead.objects.count() == 1


def test_a_backup_that_somebody_else_wrote_is_not_taken_for_one_of_this_deployment(deployment: str, tmp_path: Path) -> None:
    """Without a row, a head or a receipt there is no trail that could fail to verify; and a file may bring a login of its own."""
    path = made(tmp_path / "backup")

    def strip(content: list[Any]) -> None:
        kept = []
        for line in content:
            if isinstance(line, dict) and "table" in line:
                table = line["table"]
            if not isinstance(line, list) or not table.startswith("airgap."):
                kept.append(line)
        content[:] = kept

    assert "does not verify: it is not signed with the key of this deployment" in refused(rewritten(path, strip), "--force")
    content = lines(path)
    content[-1]["signature"] = "00" * 64
    path.write_bytes(gzip.compress(b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in content)))
    assert "does not verify: it is not signed with the key of this deployment" in refused(path, "--force")
    assert "the trail verifies" not in restored(path, "--force", "--any-trail")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"/none is no folder\. Name a file in one that is there\."):
        call_command("backup", str(tmp_path / "none" / "b.gz"))


def test_a_share_without_hard_links_takes_a_backup_and_keeps_what_is_there(deployment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    path = made(tmp_path / "backup")
    assert backup.check(path)["rows"] > 40
    monkeypatch.setattr(backup, "_write_all", lambda *_: path.with_name("late").touch() or {"rows": 0})
    with pytest.raises(CommandError, match="A backup replaces no file"):
        made(tmp_path / "late")
