"""Deployment & AI, the processes: states, verdicts, and the button that forgets a silent one."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from airgap.fleet import processes
from airgap.models import ProcessBeat
from airgap.snapshot import AirgapSnapshot, GuardSnapshot
from console.fleet import AWAY, UNHEARD, Fleet, ProcessRow, State, fleet_of, heard_row
from console.process import ProcessSnapshot
from console.verdict import deployment_banner
from llm.snapshot import LLMSnapshot
from threatintel.snapshot import Verdict

URL = "/settings/deployment/"
FORGET = URL + "processes/{}/forget/"
Text = Callable[[Any], str]
Heard = Callable[..., ProcessBeat]
Guarded = Callable[..., None]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed", "healthy")]


# ── The verdict, pure ────────────────────────────────────────────────────────────────────────────────────────────────
ENFORCE, BROKEN = GuardSnapshot("enforce", active=True, selftest=True), GuardSnapshot("enforce", active=True, selftest=False)
FINE = {"database": "ok", "spool": "ok"}
LIVE = LLMSnapshot("local-ollama", "m", "http://ollama/v1", "ollama", False, True, True, True, "live", "Fine.")
DOWN = LLMSnapshot("local-ollama", "m", "http://ollama/v1", "ollama", False, True, True, True, "fallback", "No key.")


def process(name: str = "a:1", state: State | None = State.OK, verdict: Verdict = Verdict.OK, why: str = "", airgapped: bool = True) -> ProcessRow:
    host = name.partition(":")[0]
    return ProcessRow(
        name, name, host, "api", "web", "1", airgapped, "enforce", Verdict.OK, "d", timezone.now(), 0.0, state, verdict, why, here=name == "a:1"
    )


A, B = process(), process("b:2")
DRIFT = process("c:3", State.DRIFT, Verdict.FAILING, "Compare the lists.")
OFF_HERE = process("c:3", State.DRIFT, Verdict.FAILING, "Set AISOC_AIRGAPPED=1.", airgapped=False)
SILENT = process("d:4", State.SILENT, Verdict.UNKNOWN, "No heartbeat.")
REPORT = process("e:5", State.OK, Verdict.ATTENTION, "Process guard: report.")
UNHEARD_HERE = process("a:1", None, Verdict.UNKNOWN, "Not heard.")
OFF_A, OFF_B = process(verdict=Verdict.OFF, airgapped=False), process("b:2", verdict=Verdict.OFF, airgapped=False)


@pytest.mark.parametrize(
    ("rows", "guard", "llm", "checks", "verdict", "sentence"),
    [
        ([A, B], ENFORCE, LIVE, FINE, "OK", "This deployment is air-gapped; all 2 processes agree."),
        ([A], ENFORCE, LIVE, FINE, "OK", "This deployment is air-gapped; this process is the only one of it."),
        ([OFF_A, OFF_B], ENFORCE, LIVE, FINE, "OFF", "Outbound requests are not restricted: air-gap mode is off in all 2 processes."),
        ([A, REPORT], ENFORCE, LIVE, FINE, "ATTENTION", "This deployment is air-gapped; one point needs attention."),
        ([A, B], ENFORCE, DOWN, {"broker": "away"}, "ATTENTION", "This deployment is air-gapped; 2 points need attention."),
        ([OFF_A], ENFORCE, DOWN, FINE, "ATTENTION", "Air-gap mode is off: outbound requests are not restricted; one point needs attention."),
        ([A, B, SILENT], ENFORCE, DOWN, FINE, "UNKNOWN", "2 processes agree, 1 is silent: d:4 (api web)."),
        ([UNHEARD_HERE], ENFORCE, LIVE, FINE, "UNKNOWN", "No process has a heartbeat on record: what is shown is this process alone."),
        ([UNHEARD_HERE, B], ENFORCE, LIVE, FINE, "UNKNOWN", "1 agrees, and this process has no heartbeat on record yet."),
        ([A, DRIFT, SILENT], ENFORCE, DOWN, FINE, "FAILING", "One of 3 processes does not run under what the others do: c:3 (api web)."),
        ([A, B, OFF_HERE], ENFORCE, LIVE, FINE, "FAILING", "One of 3 processes is not air-gapped: c:3 (api web)."),
        ([DRIFT, OFF_HERE], ENFORCE, LIVE, FINE, "FAILING", "2 of 2 processes do not run under what the others do."),
        (
            [A, DRIFT],
            BROKEN,
            LIVE,
            FINE,
            "FAILING",
            "The process guard is set to enforce, but it is not working in this process. Restart it; its log says why.",
        ),
    ],
)
def test_the_worst_wins_failing_unknown_attention_off_ok(
    rows: list[ProcessRow], guard: GuardSnapshot, llm: LLMSnapshot, checks: dict[str, str], verdict: str, sentence: str
) -> None:
    airgap = AirgapSnapshot(rows[0].airgapped, (), (), "")
    banner = deployment_banner(airgap, guard, llm, checks, Fleet(tuple(rows)))
    assert (banner.verdict, banner.sentence) == (verdict, sentence)


def test_points_come_worst_first_and_the_same_trouble_is_one_point() -> None:
    rows = (SILENT, REPORT, process("f:6", State.OK, Verdict.ATTENTION, "Process guard: report."), OFF_HERE, A)
    assert deployment_banner(AirgapSnapshot(True, (), (), ""), ENFORCE, DOWN, FINE, Fleet(rows)).points == (
        "c:3 (api web): Set AISOC_AIRGAPPED=1.",
        "d:4 (api web): No heartbeat.",
        "e:5 (api web) and f:6 (api web): Process guard: report.",
        "Answers take the deterministic fallback. No key.",
    )


def test_a_large_fleet_that_fell_silent_does_not_fill_the_banner() -> None:
    rows = tuple(process(f"p:{number}", State.SILENT, Verdict.UNKNOWN, f"No heartbeat for {number} s.") for number in range(30))
    points = deployment_banner(AirgapSnapshot(True, (), (), ""), ENFORCE, LIVE, FINE, Fleet(rows)).points
    assert (len(points), points[-1]) == (7, "24 more; see the table of processes.")


@pytest.mark.parametrize(
    ("fields", "verdict", "words"),
    [
        ({}, "OK", ""),
        ({"airgapped": False, "guard": "inactive"}, "OFF", ""),
        (
            {"guard": "report"},
            "ATTENTION",
            "Process guard: report. It logs and counts, and stops nothing. Set AISOC_AIRGAP_GUARD=enforce and restart.",
        ),
        ({"guard": "off"}, "ATTENTION", "Process guard: off. It is switched off. Set AISOC_AIRGAP_GUARD=enforce and restart."),
        ({"skew": 4.9}, "OK", ""),
        ({"skew": 5.1}, "ATTENTION", "Its clock is 5.1 s ahead of the database's. Check the time service of w."),
        ({"skew": -60}, "ATTENTION", "Its clock is 60.0 s behind the database's. Check the time service of w."),
        ({"seconds_ago": 90, "skew": 60}, "UNKNOWN", "No heartbeat for 90 s"),
    ],
)
def test_a_process_is_judged(fields: dict[str, Any], verdict: str, words: str, heard: Heard) -> None:
    heard("w:1", **fields)
    row = heard_row(*processes())
    assert row.verdict == verdict
    assert row.why.startswith(words) if words else row.why == ""


@pytest.mark.parametrize(("skew", "words"), [(0.1, "+0.1 s"), (0.0, "+0.0 s"), (-0.04, "+0.0 s"), (-2.25, "-2.2 s"), (None, "not known")])
def test_the_clock_skew_reads_with_its_sign(skew: float | None, words: str) -> None:
    assert replace(A, skew=skew).skew_words == words


def test_this_process_is_the_latest_live_one_of_its_name(heard: Heard) -> None:
    """In a container that was started anew host and pid are the same again."""
    heard("vm:1", instance="before", seconds_ago=60)
    heard("vm:1", instance="now", started_at=timezone.now())
    heard("vm:1", instance="other", started_at=timezone.now() - timedelta(hours=1))
    this = ProcessSnapshot("vm:1", "vm", "api", "web", "1", True, ENFORCE, "d", {})
    assert [row.instance for row in fleet_of(processes(), this).rows if row.here] == ["now"]


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def badge(page: Any) -> str:
    return str(page.context["page"].banner.verdict)


@pytest.mark.usefixtures("agreeing")
def test_every_process_is_a_row_and_this_one_is_marked(auditor: Client, text: Text, guarded: Guarded) -> None:
    guarded("enforce")
    page = auditor.get(URL)
    assert badge(page) == "OK"
    assert "processes: 4 agree" in text(page)
    for words in ("beat-1:7 threatintelbeat on enforce", "worker-2:9 actionsworker on enforce", "+0.1 s OK"):
        assert words in text(page)
    assert text(page).count("this process threatintel") + text(page).count("this process api") == 1
    assert "Forget" not in text(page)


@pytest.mark.usefixtures("agreeing")
def test_a_process_that_is_not_air_gapped_is_named_with_what_to_set(auditor: Client, heard: Heard, text: Text, guarded: Guarded) -> None:
    guarded("enforce")
    heard("beat-9:1", service="threatintel", role="beat", airgapped=False, guard="inactive", digest="000000000000")
    page = auditor.get(URL)
    assert badge(page) == "FAILING"
    assert "One of 5 processes is not air-gapped: beat-9:1 (threatintel beat)." in text(page)
    assert "Set AISOC_AIRGAPPED=1 for this process and restart it." in text(page)
    assert "FAILING AISOC_AIRGAPPED is off here and on in 4 other processes." in text(page)


@pytest.mark.usefixtures("agreeing")
def test_a_process_with_another_allowlist_is_named(auditor: Client, heard: Heard, text: Text, guarded: Guarded) -> None:
    guarded("enforce")
    heard("worker-9:1", service="agents", role="worker", digest="000000000000")
    assert "One of 5 processes does not run under what the others do: worker-9:1 (agents worker)." in text(auditor.get(URL))
    assert "Its policy 000000000000 is not that of 4 other processes. Compare AISOC_AIRGAP_ALLOWLIST and restart." in text(auditor.get(URL))


@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_guard_that_stops_nothing_in_all_processes_needs_attention(mode: str, auditor: Client, heard: Heard, text: Text, guarded: Guarded) -> None:
    guarded(mode)
    heard(guard=mode)
    heard("worker-1:9", role="worker", guard=mode)
    page = auditor.get(URL)
    assert badge(page) == "ATTENTION"
    assert f"and worker-1:9 (api worker): Process guard: {mode}." in text(page)


@pytest.mark.usefixtures("agreeing")
def test_a_clock_that_is_off_needs_attention(auditor: Client, heard: Heard, text: Text, guarded: Guarded) -> None:
    guarded("enforce")
    heard("worker-7:1", skew=7.3)
    page = auditor.get(URL)
    assert badge(page) == "ATTENTION"
    assert "worker-7:1 (api web): Its clock is 7.3 s ahead of the database's. Check the time service of worker-7." in text(page)


@pytest.mark.usefixtures("agreeing")
def test_a_silent_process_is_unknown_and_named(auditor: Client, heard: Heard, text: Text, guarded: Guarded) -> None:
    guarded("enforce")
    heard("worker-8:1", seconds_ago=660)
    page = auditor.get(URL)
    assert badge(page) == "UNKNOWN"
    assert "4 processes agree, 1 is silent: worker-8:1 (api web)." in text(page)
    assert "processes: 4 agree, 1 silent" in text(page)
    assert "UNKNOWN No heartbeat for 660 s" in text(page)
    assert "was on was enforce" in text(page), "what nobody knows now is not green"


def test_without_any_heartbeat_the_page_speaks_of_this_process_alone(auditor: Client, text: Text, guarded: Guarded) -> None:
    guarded("enforce")
    page = auditor.get(URL)
    assert (page.status_code, badge(page)) == (200, "UNKNOWN")
    assert "No process has a heartbeat on record: what is shown is this process alone." in text(page)
    assert f"none yet not known UNKNOWN {UNHEARD}" in text(page)
    assert "Mode on AISOC_AIRGAPPED (environment)" in text(page)


@pytest.mark.usefixtures("agreeing")
def test_heartbeats_that_cannot_be_read_leave_the_rest_of_the_page(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("console.fleet.processes", gone)
    page = auditor.get(URL)
    assert (page.status_code, badge(page)) == (503, "UNKNOWN")
    assert "The processes of this deployment could not be read: the database is away." in text(page)
    assert AWAY in text(page)
    assert "Will call http://ollama:11434/v1/chat/completions" in text(page)
    assert auditor.get(f"{URL}deployment.json").status_code == auditor.get(f"{URL}deployment.md").status_code == 503


@pytest.mark.usefixtures("agreeing")
def test_json_and_markdown_carry_the_processes(auditor: Client, heard: Heard) -> None:
    heard("worker-8:1", seconds_ago=660)
    body = json.loads(auditor.get(f"{URL}deployment.json").content)
    assert sorted(one["process"] for one in body["processes"] if not one["here"]) == ["beat-1:7", "worker-1:9", "worker-2:9", "worker-8:1"]
    api = {one["process"]: one for one in auditor.get("/api/v1/airgap/processes").json()["results"]}
    for one in body["processes"]:
        shared = set(one) & set(api[one["process"]]) - {"guard", "why", "last_seen"}
        assert {name: one[name] for name in shared} == {name: api[one["process"]][name] for name in shared}
    silent = next(one for one in body["processes"] if one["state"] == "silent")
    assert (silent["process"], silent["verdict"]) == ("worker-8:1", "UNKNOWN")
    markdown = auditor.get(f"{URL}deployment.md").content.decode()
    assert "| beat-1:7 | threatintel beat | on | enforce |" in markdown
    assert "(this process) | api web | on | inactive |" in markdown


# ── Forget ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_operator_forgets_a_silent_process_and_is_told_so(operator: Client, heard: Heard, text: Text) -> None:
    heard()
    silent = heard("worker-8:1", seconds_ago=660)
    assert "Forget worker-8:1" in text(operator.get(URL))
    response = operator.post(FORGET.format(silent.instance))
    assert response.headers["Location"] == f"{URL}#processes"
    page = text(operator.get(URL))
    assert "Done worker-8:1 is forgotten: it is off the list. Should it live after all, it comes back with its next beat." in page
    assert "Forget worker-8:1" not in page
    assert "processes: 1 agrees" in page
    silent.refresh_from_db()
    assert silent.ended_how == "forgotten"


def test_a_process_that_beats_again_is_not_forgotten(operator: Client, heard: Heard, text: Text) -> None:
    beat = heard("worker-8:1", seconds_ago=5)
    page = text(operator.post(FORGET.format(beat.instance), follow=True))
    assert "Note worker-8:1 was not forgotten: it has been heard of again." in page
    beat.refresh_from_db()
    assert beat.ended_at is None


def test_a_process_that_ended_meanwhile_or_never_was_is_told_so(operator: Client, heard: Heard, text: Text) -> None:
    beat = heard("worker-8:1", seconds_ago=600, ended_at=timezone.now(), ended_how="died")
    assert "worker-8:1 is not on the list any more: it has ended." in text(operator.post(FORGET.format(beat.instance), follow=True))
    beat.refresh_from_db()
    assert beat.ended_how == "died"
    assert "That process is not on the list any more." in text(operator.post(FORGET.format("nothing"), follow=True))


def test_an_auditor_sees_no_button_and_is_refused(auditor: Client, heard: Heard, text: Text) -> None:
    beat = heard("worker-8:1", seconds_ago=660)
    page = text(auditor.get(URL))
    assert "Forget" not in page
    assert "An operator who knows that it is gone can take it off the list." in page
    response = auditor.post(FORGET.format(beat.instance))
    assert response.status_code == 403
    assert "Your role does not allow this." in text(response)
    beat.refresh_from_db()
    assert beat.ended_at is None


def test_only_a_post_with_a_token_forgets(operator: Client, heard: Heard) -> None:
    beat = heard("worker-8:1", seconds_ago=660)
    assert operator.get(FORGET.format(beat.instance)).headers["Location"] == URL
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(FORGET.format(beat.instance)).status_code == 403
    assert Client().post(FORGET.format(beat.instance)).headers["Location"] == "/login/?next=/"
    beat.refresh_from_db()
    assert beat.ended_at is None
