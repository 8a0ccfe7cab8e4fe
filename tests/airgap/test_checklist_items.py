"""Each item of the checklist is driven to each of its verdicts by what changes in the deployment."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from airgap import attest, events, retention
from airgap.checklist import NEWEST_ROWS, Verdict, items, look, span_words
from airgap.drain import drain_quietly
from airgap.models import Attestation, EgressEvent, EgressTotal, ProcessBeat, TrailCheck
from airgap.policy import Decision, Rule
from airgap.trail_items import no_blocks, trail_verified
from aisoc_admin import health
from tests.airgap.fleet import checked, silent, started
from tests.airgap.trail import drained, event

pytestmark = pytest.mark.django_db(transaction=True)
OK, ATTENTION, FAILING, UNKNOWN = Verdict.OK, Verdict.ATTENTION, Verdict.FAILING, Verdict.UNKNOWN
Deployment = Callable[..., list[ProcessBeat]]
SEVEN = ["api_airgap", "threatintel_airgap", "firewall", "llm_internal", "no_public_llm_keys", "feeds_internal", "no_blocks"]
PROBED = "aisoc-probe 1\nat 2026-11-26T00:00:00Z\nhost soc-1\ntarget 1.1.1.1:443 {}\nresult {} 1 of 1\n"


def verdict(item: str) -> Verdict:
    return checked(item).verdict


# ── What every process says ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("item", "variables", "expected"),
    [
        ("api_airgap", {}, OK),
        ("api_airgap", {"AISOC_AIRGAPPED": "0"}, FAILING),
        ("threatintel_airgap", {}, OK),
        ("threatintel_airgap", {"AISOC_AIRGAPPED": "0"}, FAILING),
        ("all_airgap", {}, OK),
        ("all_airgap", {"AISOC_AIRGAPPED": "0"}, FAILING),
        ("llm_internal", {}, OK),
        ("llm_internal", {"LLM_BASE_URL": ""}, OK),
        ("llm_internal", {"LLM_BASE_URL": "https://llm.example.com/v1", "AISOC_AIRGAP_ALLOWLIST": "llm.example.com"}, ATTENTION),
        ("llm_internal", {"LLM_BASE_URL": "https://llm.example.com/v1"}, FAILING),
        ("llm_internal", {"LLM_BASE_URL": "", "LLM_API_KEY": "sk-planted-1"}, FAILING),
        ("llm_internal", {"LLM_BASE_URL": "", "OPENAI_API_KEY": "sk-planted-1"}, FAILING),
        ("no_public_llm_keys", {}, OK),
        ("no_public_llm_keys", {"OPENAI_API_KEY": "sk-planted-1"}, FAILING),
        ("no_public_llm_keys", {"ANTHROPIC_API_KEY": "sk-planted-1"}, FAILING),
        ("no_public_llm_keys", {"OPENAI_API_KEY": "sk-planted-1", "OPENAI_BASE_URL": "http://litellm.internal:4000"}, OK),
        ("no_public_llm_keys", {"ANTHROPIC_API_KEY": "sk-planted-1", "ANTHROPIC_BASE_URL": "http://10.0.42.5:8080"}, OK),
        (
            "no_public_llm_keys",
            {"OPENAI_API_KEY": "sk-planted-1", "OPENAI_BASE_URL": "https://llm.example.com", "AISOC_AIRGAP_ALLOWLIST": "llm.example.com"},
            ATTENTION,
        ),
        ("feeds_internal", {}, OK),
        ("feeds_internal", {"CISA_KEV_URL": ""}, OK),  # the public default: refused at registration, which is the gate at work
        ("feeds_internal", {"CISA_KEV_URL": "https://kev.example.com/k.json", "AISOC_AIRGAP_ALLOWLIST": "kev.example.com"}, OK),
        ("feeds_internal", {"AISOC_AIRGAPPED": "0", "CISA_KEV_URL": ""}, FAILING),
        ("feeds_tls", {}, OK),
        ("feeds_tls", {"CISA_KEV_URL": "http://kev-mirror/kev.json"}, ATTENTION),
        ("production", {}, ATTENTION),
        (
            "production",
            {
                "AISOC_ENVIRONMENT": "production",
                "SECRET_KEY": "s" * 50,
                "ALLOWED_HOSTS": "a.corp",
                "AISOC_CREDENTIAL_KEY": "A" * 43 + "=",
                "CELERY_BROKER_URL": "redis://b.corp",
            },
            OK,
        ),
    ],
)
def test_what_the_environment_says(item: str, variables: dict[str, str], expected: Verdict, deployment: Deployment) -> None:
    deployment(**variables)
    found = checked(item)
    assert found.verdict is expected, found
    assert bool(found.next_step) is (expected is not OK)
    assert "planted" not in str(found)
    assert "planted" not in str(list(ProcessBeat.objects.values_list("facts", flat=True)))


def test_a_refused_feed_is_told_and_fails_nothing(deployment: Deployment) -> None:
    deployment(OTX_API_KEY="k")
    found = checked("feeds_internal")
    assert found.verdict is OK
    assert "refused at registration: otx" in found.evidence


EVERYWHERE = [
    "api_airgap", "all_airgap", "guard_everywhere", "no_drift", "llm_internal", "no_public_llm_keys", "feeds_internal", "feeds_tls", "production",
    "no_blocks",
]  # fmt: skip


@pytest.mark.parametrize("item", EVERYWHERE)
def test_one_silent_process_makes_it_unknown_never_ok(item: str, deployment: Deployment) -> None:
    web, *_others = deployment()
    silent(web)
    found = checked(item)
    assert found.verdict is UNKNOWN, found
    assert "silent" in found.evidence
    assert "Forget" in found.next_step


@pytest.mark.parametrize("item", [*EVERYWHERE, "threatintel_airgap"])
def test_no_process_and_no_database_are_unknown(item: str, deployment: Deployment) -> None:
    assert verdict(item) is UNKNOWN

    def away(*_args: Any) -> None:
        raise OperationalError("gone")

    deployment()
    with connection.execute_wrapper(away):
        assert look().processes is None
        assert verdict(item) is UNKNOWN


def test_a_process_of_another_version_that_does_not_say_is_unknown(deployment: Deployment) -> None:
    web, *_others = deployment()
    ProcessBeat.objects.filter(instance=web.instance).update(facts={})
    for item in ("llm_internal", "no_public_llm_keys", "feeds_internal", "feeds_tls", "production", "no_blocks"):
        assert verdict(item) is UNKNOWN, item
    ProcessBeat.objects.filter(instance=web.instance).update(facts={"llm": "rubbish", "feeds": {"rubbish": 1}})
    for item in ("llm_internal", "feeds_internal"):
        assert verdict(item) is UNKNOWN, item


def test_one_process_of_three_that_is_off_fails_its_items_and_no_others(deployment: Deployment, environment: Any) -> None:
    deployment()
    environment()
    started("threatintel", "worker", guard="inactive", airgapped=False)
    environment(AISOC_AIRGAPPED="1")
    assert [verdict(item) for item in ("api_airgap", "threatintel_airgap", "all_airgap", "no_drift")] == [OK, FAILING, FAILING, FAILING]
    assert "1 of 3 processes: air gap OFF (" in checked("threatintel_airgap").evidence


@pytest.mark.parametrize(("mode", "expected"), [("enforce", OK), ("report", ATTENTION), ("off", ATTENTION), ("inactive", FAILING)])
def test_the_guard(mode: str, expected: Verdict, deployment: Deployment) -> None:
    deployment(guard=mode)
    assert verdict("guard_everywhere") is expected


def test_another_policy_in_one_process_is_drift_and_in_the_checking_one_asks_for_attention(deployment: Deployment, airgapped: Any) -> None:
    web, *_others = deployment()
    assert verdict("no_drift") is OK
    airgapped("other.example")
    assert verdict("no_drift") is ATTENTION
    airgapped()
    ProcessBeat.objects.filter(instance=web.instance).update(digest="b" * 12)
    assert verdict("no_drift") is FAILING


# ── Firewall: attested ───────────────────────────────────────────────────────────────────────────────────────────────
def test_the_firewall_is_unknown_until_somebody_vouches_and_again_when_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict("firewall") is UNKNOWN
    attest.attest("firewall", by="alice", note="rule 12 of fw-1", ticket="CHG-1", evidence=PROBED.format("denied TimeoutError", "denied"))
    found = checked("firewall")
    assert found.verdict is OK
    assert "Attested by alice" in found.evidence
    assert "CHG-1" in found.evidence
    assert "reached none of 1 targets" in found.evidence
    now = timezone.now()
    monkeypatch.setattr("airgap.clock.now", lambda: now + timedelta(days=80))
    assert verdict("firewall") is ATTENTION
    monkeypatch.setattr("airgap.clock.now", lambda: now + timedelta(days=91))
    assert verdict("firewall") is UNKNOWN
    assert "expired" in checked("firewall").evidence


def test_a_short_attestation_does_not_ask_for_attention_from_its_first_day() -> None:
    attest.attest("firewall", by="alice", note="for the move", days=7)
    assert verdict("firewall") is OK


def test_a_probe_that_got_out_fails_the_firewall_until_a_newer_one() -> None:
    attest.attest("firewall", by="alice", note="probed", evidence=PROBED.format("reached", "reached"))
    found = checked("firewall")
    assert found.verdict is FAILING
    assert "1.1.1.1:443" in found.evidence
    attest.attest("firewall", by="alice", note="closed", evidence=PROBED.format("denied", "denied"))
    assert verdict("firewall") is OK


def test_an_attestation_that_was_put_into_the_database_fails() -> None:
    row = attest.attest("firewall", by="alice", note="seen", days=1)
    forged = Attestation(
        item="firewall", accepts=False, by="alice", at=row.at + timedelta(seconds=1), expires_at=row.at + timedelta(days=300), note="x"
    )
    forged.signature, forged.key = row.signature, row.key
    forged.save(force_insert=True)
    found = checked("firewall")
    assert found.verdict is FAILING
    assert "signature" in found.evidence


# ── Refused attempts ─────────────────────────────────────────────────────────────────────────────────────────────────
def refused(minutes_ago: float = 5, **fields: Any) -> None:
    moment = (timezone.now() - timedelta(minutes=minutes_ago)).replace(second=0, microsecond=0)
    drained(event(minute=moment, **fields), now=timezone.now())


def test_a_refused_attempt_fails_with_its_caller_and_one_before_the_span_does_not(deployment: Deployment) -> None:
    deployment()
    assert verdict("no_blocks") is OK
    refused(26 * 60, count=9)
    assert verdict("no_blocks") is OK
    refused(5, host="slack.com", caller="vendor.sdk", count=14)
    found = checked("no_blocks")
    assert found.verdict is FAILING
    assert found.evidence == "14 attempts were refused in the last 24 h."
    assert found.details == ("14 × slack.com:443, rule public, by vendor.sdk for feed.kev",)


@pytest.mark.parametrize("rows", [None, NEWEST_ROWS])
def test_totals_that_were_removed_hide_no_attempt(rows: int | None, deployment: Deployment) -> None:
    deployment()
    refused(5, count=3)
    EgressTotal.objects.all().delete()
    found = no_blocks(look(rows=rows))
    assert (found.verdict, found.evidence) == (FAILING, "3 attempts were refused in the last 24 h.")


@pytest.mark.parametrize(("window", "expected"), [(timedelta(minutes=30), OK), (timedelta(hours=1), OK), (timedelta(hours=3), FAILING)])
def test_a_shorter_span_counts_less(window: timedelta, expected: Verdict, deployment: Deployment) -> None:
    deployment()
    refused(70)
    assert no_blocks(look(window)).verdict is expected


def test_none_refused_says_nothing_where_nothing_is_refused(deployment: Deployment) -> None:
    deployment(AISOC_AIRGAPPED="0")
    assert verdict("no_blocks") is UNKNOWN
    deployment(guard="off")
    assert verdict("no_blocks") is ATTENTION


def test_a_process_that_ran_without_the_air_gap_in_the_span_is_told_after_its_end(deployment: Deployment, environment: Any) -> None:
    """It refused nothing, so that none refused says nothing of its time."""
    deployment()
    environment(AISOC_AIRGAPPED="0")
    before = started()
    environment(AISOC_AIRGAPPED="1")
    ended = timezone.now() - timedelta(hours=2)
    ProcessBeat.objects.filter(instance=before.instance).update(beat_at=ended, ended_at=ended, ended_how="stopped")
    found = checked("no_blocks")
    assert (found.verdict, f"Until {ended:%Y-%m-%d %H:%M} UTC a process ran without the air gap" in found.evidence) == (ATTENTION, True)
    assert no_blocks(look(timedelta(hours=1))).verdict is OK


def test_attempts_that_wait_in_the_spool_are_not_taken_for_none(deployment: Deployment, spool_dir: Path) -> None:
    events.record(events.refusal_of(Decision(False, Rule.PUBLIC, "why"), host="a.example", port=443, layer=events.Layer.HTTP))
    recorder = events.recorder()
    assert recorder is not None
    recorder.spool.seal()
    deployment()
    assert verdict("no_blocks") is UNKNOWN
    web = ProcessBeat.objects.first()
    assert web is not None
    ProcessBeat.objects.filter(instance=web.instance).update(facts={**web.facts, "spool": {"overflowed": 3, "waiting": 0}})
    assert verdict("no_blocks") is FAILING


def test_attempts_in_a_spool_file_that_could_not_be_read_are_not_taken_for_none(deployment: Deployment, spool_dir: Path) -> None:
    spool_dir.mkdir(exist_ok=True)
    (spool_dir / "x.sealed").write_bytes(b"torn")
    drain_quietly()
    assert [path.name for path in spool_dir.iterdir()] == ["x.damaged"]
    deployment()
    found = checked("no_blocks")
    assert (found.verdict, ".damaged" in found.next_step) == (UNKNOWN, True)
    health.refresh()
    assert "1 segments could not be read" in health.current().checks["spool"]


def test_a_process_whose_clock_is_behind_does_not_vouch_for_the_last_day(deployment: Deployment) -> None:
    ProcessBeat.objects.filter(instance=deployment()[0].instance).update(skew=-26 * 3600)
    assert verdict("no_blocks") is UNKNOWN


def test_a_span_whose_rows_retention_has_removed_is_not_known_to_be_free_of_attempts(deployment: Deployment, settings: Any) -> None:
    """Removed are the rows, not what was tried."""
    settings.AIRGAP_TRAIL_DAYS = 3
    now = timezone.now()
    for days in range(6, -1, -1):
        moment = now - timedelta(days=days)
        drained(*([event(minute=moment.replace(second=0, microsecond=0))] if days == 6 else []), now=moment)
    retention.tidy()
    deployment()
    assert EgressEvent.objects.count() == 0
    assert no_blocks(look(timedelta(days=7))).verdict is UNKNOWN
    assert no_blocks(look(timedelta(days=2))).verdict is OK


# ── Trail ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_small_trail_is_walked_whole_and_an_altered_row_names_its_day(tamper: Any) -> None:
    drained(event(0), event(1))
    found = checked("trail_verified")
    assert (found.verdict, found.next_step) == (OK, "")
    assert "all 2 rows fit" in found.evidence
    tamper("UPDATE airgap_egressevent SET host = 'innocent.example' WHERE position = 1")
    found = checked("trail_verified")
    assert found.verdict is FAILING
    assert "2026-01-31" in found.evidence
    assert "row 1" in found.details[0]


def test_of_a_large_trail_a_page_walks_the_newest_rows_and_tells_of_the_last_whole_walk() -> None:
    drained(event(0), event(1), event(2))
    few = look(rows=2)
    assert trail_verified(few).verdict is ATTENTION
    TrailCheck.objects.create(at=few.now - timedelta(days=8), rows=3, position=3, problems=[])
    assert trail_verified(few).verdict is ATTENTION
    TrailCheck.objects.create(at=few.now - timedelta(hours=8), rows=3, position=3, problems=[])
    assert trail_verified(few).verdict is OK
    TrailCheck.objects.create(at=few.now, rows=3, position=3, problems=["2026-01-31, row 1: altered"])
    assert trail_verified(few).verdict is FAILING


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "less than a minute"),
        (timedelta(hours=24), "24 h"),
        (timedelta(days=7), "7 d"),
        (timedelta(minutes=30), "30 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=5), "5 h"),
    ],
)
def test_spans_read_in_one_unit(span: timedelta, words: str) -> None:
    assert span_words(span) == words


def test_the_seven_of_the_runbook_come_first_and_in_its_order() -> None:
    assert [item.id for item in items()][:7] == SEVEN
