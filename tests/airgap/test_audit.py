"""airgap_audit, its report and airgap_verify: the same snapshot everywhere, an exit status to gate on, a file that verifies."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from airgap import attest, chain
from airgap.active import deployment_key
from airgap.audit import audit
from airgap.models import ProcessBeat, TrailCheck
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.airgap.fleet import silent
from tests.airgap.trail import START, drained, event
from tests.aisoc_admin.test_bad_configuration import run
from threatintel.models import FeedRun
from threatintel.snapshot import registration_snapshot

pytestmark = pytest.mark.django_db(transaction=True)
Deployment = Callable[..., list[ProcessBeat]]


def command(name: str, *words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command(name, *words, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def healthy(deployment: Deployment, **variables: str) -> list[ProcessBeat]:
    """Everything that can be OK is; the mirror's feed has just been polled."""
    beats = deployment(**variables)
    now = timezone.now()
    for feed in registration_snapshot()["registered"]:
        FeedRun.objects.create(feed=feed, slot=f"1.{FeedRun.objects.count()}", state="ok", not_before=now, started_at=now, finished_at=now)
    attest.attest("firewall", by="alice", note="rule 12 of fw-1", ticket="CHG-1")
    return beats


@pytest.fixture
def get() -> Any:
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    return lambda path, **query: Client().get(f"/api/v1/airgap/{path}", query, headers=token)


# ── Exit status ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_status_is_zero_when_nothing_fails_one_when_something_does_three_when_it_is_not_known(deployment: Deployment) -> None:
    web, *_others = healthy(deployment)
    assert command("airgap_audit")[0] == 0  # development settings ask for attention, which fails nothing
    silent(web)
    assert command("airgap_audit")[0] == 3
    healthy(deployment, OPENAI_API_KEY="k")
    assert command("airgap_audit")[0] == 1
    ProcessBeat.objects.all().delete()
    assert command("airgap_audit")[0] == 3


def test_an_unattested_and_an_expired_item_are_unknown(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment()
    assert command("airgap_audit")[0] == 3
    healthy(deployment)
    assert command("airgap_audit")[0] == 0
    latest = attest.standing("firewall", timezone.now())
    assert latest is not None
    ProcessBeat.objects.update(beat_at=latest.row.expires_at)
    monkeypatch.setattr("airgap.clock.now", lambda: latest.row.expires_at)
    found = json.loads(command("airgap_audit", "--json")[1])
    assert [item["verdict"] for item in found["items"] if item["id"] == "firewall"] == ["UNKNOWN"]


def test_the_span_changes_what_counts_and_a_bad_one_is_said() -> None:
    for text in ("soon", "0h", "200d"):
        with pytest.raises(CommandError, match=r"24h|At most"):
            call_command("airgap_audit", "--since", text)


def test_without_a_database_everything_is_unknown_and_there_is_no_traceback(tmp_path: Path) -> None:
    done = run(
        ("manage.py", "airgap_audit", "--json", "--out", str(tmp_path / "r.json")),
        tmp_path,
        AISOC_AIRGAPPED="1",
        DATABASE_URL="postgres://nobody@127.0.0.1:9/none",
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["verdict"] == "UNKNOWN"
    assert {item["verdict"] for item in found["items"]} == {"UNKNOWN"}
    report = json.loads((tmp_path / "r.json").read_text())["report"]
    assert (report["trail"], report["processes"], report["policy"]["enabled"]) == (None, None, True)


def test_the_database_before_its_first_migration_is_unknown_too(tmp_path: Path) -> None:
    done = run(("manage.py", "airgap_audit"), tmp_path, AISOC_AIRGAPPED="1")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert done.stdout.count("The database cannot be read") == 1, "said once, not for each item"
    assert "made by the first bin/up" in done.stdout


# ── One snapshot ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_command_api_and_report_show_the_same(deployment: Deployment, get: Any) -> None:
    healthy(deployment)
    drained(event())

    def core(items: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return [(item["id"], item["verdict"], item["kind"], item["next_step"], item["title"]) for item in items]

    by_api = get("checklist").json()
    by_command = json.loads(command("airgap_audit", "--json")[1])
    by_report = json.loads(get("report").content)["report"]
    assert core(by_api["items"]) == core(by_command["items"]) == core(by_report["checklist"])
    assert by_api["verdict"] == by_command["verdict"] == by_report["verdict"] == "ATTENTION"
    assert next(iter(by_api)) == "verdict"
    assert list(by_api["items"][0])[:7] == ["id", "title", "kind", "verdict", "evidence", "next_step", "checked_at"]
    assert by_api["items"][2]["attestation"]["ticket"] == "CHG-1"
    text = command("airgap_audit")[1]
    assert all(item["evidence"] in text for item in by_command["items"] if item["id"] != "no_blocks")


@pytest.mark.parametrize("path", ["checklist", "report", "report.md"])
def test_a_span_that_is_none_is_400(path: str, get: Any) -> None:
    answer = get(path, since="soon")
    assert (answer.status_code, answer.json()["field"]) == (400, "since")


# ── The file ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_report_of_a_run_verifies_by_key_and_by_fingerprint_and_no_secret_is_in_it(deployment: Deployment, tmp_path: Path) -> None:
    healthy(
        deployment, LLM_API_KEY="sk-planted-1", OTX_API_KEY="otx-planted-1", MISP_URL="https://u:pw-planted@misp.corp/x", MISP_API_KEY="m-planted"
    )
    drained(event(), now=timezone.now() - timedelta(days=1))
    drained(event(1), now=timezone.now())
    out, key = tmp_path / "r.json", tmp_path / "k.pem"
    status, said = command("airgap_audit", "--out", str(out), "--since", "12h")
    assert status == 0
    assert deployment_key().fingerprint in said
    key.write_text(command("airgap_key")[1])
    assert command("airgap_verify", str(out), "--public-key", str(key))[0] == 0
    assert command("airgap_verify", str(out), "--fingerprint", command("airgap_key", "--fingerprint")[1].strip())[0] == 0
    status, said = command("airgap_verify", str(out))
    assert (status, said.startswith("NOT VALID  No trusted key")) == (1, True)
    text = out.with_suffix(".md").read_text()
    assert "Attested by alice" in text
    assert "planted" not in out.read_text() + text
    trail = json.loads(out.read_text())["report"]["trail"]
    assert (trail["rows"], len(trail["days"]), trail["open"]["last"]) == (2, 1, 2)


def test_an_altered_report_and_an_old_one_are_refused(deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy(deployment, OPENAI_API_KEY="k")
    out, fingerprint = tmp_path / "r.json", deployment_key().fingerprint
    assert command("airgap_audit", "--out", str(out))[0] == 1
    altered = tmp_path / "a.json"
    altered.write_text(out.read_text().replace('"verdict":"FAILING"', '"verdict":"OK"'))
    status, said = command("airgap_verify", str(altered), "--fingerprint", fingerprint)
    assert (status, "was altered" in said) == (1, True)
    real = timezone.now()
    monkeypatch.setattr("airgap.clock.now", lambda: real - timedelta(hours=25))
    command("airgap_audit", "--out", str(out))
    status, said = command("airgap_verify", str(out), "--fingerprint", fingerprint)
    assert (status, "25 h old" in said) == (1, True)
    assert command("airgap_verify", str(out), "--fingerprint", fingerprint, "--max-age", "26h")[0] == 0


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("airgap_audit", "--out", str(tmp_path / "gone" / "r.json"), stdout=io.StringIO())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE airgap_egressevent SET host = 'innocent.example' WHERE position = 2", "2026-01-31, row 2: The row does not fit its digest"),
        ("DELETE FROM airgap_egressevent WHERE position = 2", "2026-01-31, row 2: Rows 2 to 2 are missing."),
        ("UPDATE airgap_egressevent SET count = 1 WHERE position = 4", "2026-02-01, row 4: The row does not fit its digest"),
        ("DELETE FROM airgap_egressevent WHERE position >= 4", "2026-02-01, row 4: Rows 4 to 4 are missing."),
    ],
)
def test_an_altered_and_a_removed_row_fail_the_audit_with_their_day(
    statement: str, said: str, deployment: Deployment, tamper: Any, tmp_path: Path
) -> None:
    healthy(deployment)
    drained(event(0, count=2), event(1, count=2), event(2, count=2))
    drained(event(3, count=2), now=START + timedelta(days=1))
    assert command("airgap_audit")[0] == 0
    tamper(statement)
    out = tmp_path / "r.json"
    status, text = command("airgap_audit", "--out", str(out))
    assert status == 1
    assert said in text
    assert TrailCheck.objects.latest("at").problems[0].startswith(said)
    fingerprint = deployment_key().fingerprint
    status, text = command("airgap_verify", str(out), "--fingerprint", fingerprint, "--show")  # the report itself is genuine, and says FAILING
    assert status == 0
    assert said.split(":")[0] in text


def test_the_walk_goes_on_while_others_drain(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come between the heads and the rows are left for the next time."""
    drained(event(0), event(1))
    real = chain.walk_all

    def walk_all(parts: Any) -> Any:
        drained(event(2))
        return real(parts)

    monkeypatch.setattr(chain, "walk_all", walk_all)
    key = deployment_key()
    assert list(chain.verify({key.fingerprint: key.public})) == []


def test_what_somebody_wrote_into_the_database_breaks_no_report(deployment: Deployment, tmp_path: Path) -> None:
    deployment()
    ProcessBeat.objects.update(
        facts={"llm": {"ü": 2**60, "x": 1.5, **({"y": "\ud800"} if connection.vendor == "sqlite" else {})}}, service="<b>|`[x](y)"
    )
    out = tmp_path / "r.json"
    command("airgap_audit", "--out", str(out))
    assert command("airgap_verify", str(out), "--fingerprint", deployment_key().fingerprint, "--show")[0] == 0


def test_a_database_that_goes_away_meanwhile_is_unknown(deployment: Deployment) -> None:
    healthy(deployment)
    calls = iter(range(1000))

    def soon_away(execute: Any, *words: Any) -> Any:
        if next(calls) > 5:
            raise OperationalError("gone")
        return execute(*words)

    with connection.execute_wrapper(soon_away):
        done = audit(thorough=True)
    assert done.exit_status == 3
