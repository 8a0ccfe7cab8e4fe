"""What the processes of a deployment know of one another."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from airgap import fleet, guard
from airgap.fleet import Heartbeat, Process, State, judged, processes
from airgap.models import ProcessBeat
from airgap.policy import EgressPolicy
from tenants.accounts import issue_token
from tenants.roles import Role

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.get_default_timezone())


def beat(name: str, seconds_ago: float = 5, **fields: Any) -> ProcessBeat:
    host, _colon, pid = name.partition(":")
    values = {
        "instance": name, "service": "api", "role": "web", "host": host, "pid": int(pid or 1), "version": "1", "airgapped": True, "guard": "enforce",
        "digest": "aaa", "started_at": NOW - timedelta(hours=1), "beat_at": NOW - timedelta(seconds=seconds_ago),
    }  # fmt: skip
    return ProcessBeat(**{**values, **fields})


def states(*beats: ProcessBeat) -> dict[str, State]:
    return {process.instance: process.state for process in judged(beats, NOW)}


OK, DRIFT, SILENT = State.OK, State.DRIFT, State.SILENT


@pytest.mark.parametrize(
    ("beats", "expected"),
    [
        ([beat("a"), beat("b")], [OK, OK]),
        ([beat("a", airgapped=False, guard="inactive"), beat("b", airgapped=False, guard="inactive")], [OK, OK]),
        ([beat("a"), beat("b", airgapped=False)], [OK, DRIFT]),
        ([beat("a", airgapped=False), beat("b", airgapped=False), beat("c")], [DRIFT, DRIFT, OK]),
        ([beat("a"), beat("b"), beat("c", digest="bbb")], [OK, OK, DRIFT]),
        ([beat("a"), beat("b", digest="bbb")], [DRIFT, DRIFT]),
        ([beat("a"), beat("b", guard="report")], [OK, DRIFT]),
        ([beat("a", guard="report"), beat("b", guard="report")], [OK, OK]),
        ([beat("a"), beat("b", guard="inactive")], [OK, DRIFT]),
        ([beat("a"), beat("b", seconds_ago=46)], [OK, SILENT]),
        ([beat("a"), beat("b", seconds_ago=44)], [OK, OK]),
        ([beat("a"), beat("b", seconds_ago=46, airgapped=False)], [OK, SILENT]),
        ([beat("a", airgapped=False), beat("b", seconds_ago=46)], [OK, SILENT]),
        ([beat("a"), beat("b", seconds_ago=-3600)], [OK, SILENT]),
    ],
)
def test_states(beats: list[ProcessBeat], expected: list[State]) -> None:
    assert list(states(*beats).values()) == expected


def test_a_drifting_process_is_told_with_what_to_do() -> None:
    found = {process.instance: process.why for process in judged([beat("a"), beat("b"), beat("c", airgapped=False), beat("d", digest="ddd")], NOW)}
    assert found["a"] == ""
    assert found["c"] == "AISOC_AIRGAPPED is off here and on in 3 other processes. Set AISOC_AIRGAPPED=1 for this process and restart it."
    assert found["d"] == "Its policy ddd is not that of 2 other processes. Compare AISOC_AIRGAP_ALLOWLIST and restart."


# ── Heartbeats ───────────────────────────────────────────────────────────────────────────────────────────────────────
pytestmark = pytest.mark.django_db(transaction=True)


def only() -> Process:
    (process,) = processes()
    return process


def test_a_heartbeat_says_what_this_process_runs_under(airgapped: Callable[..., EgressPolicy], settings: Any) -> None:
    airgapped("intel.corp")
    settings.AIRGAP_GUARD = "off"
    Heartbeat("web").beat()
    process = only()
    assert (process.service, process.role, process.pid, process.state, process.why) == ("api", "web", os.getpid(), OK, "")
    assert (process.airgapped, process.guard, len(process.digest)) == (True, "off", 12)
    assert abs(process.skew) < 0.5
    first = process.digest
    airgapped("intel.corp,other.corp")
    Heartbeat("web").beat()
    assert {process.digest for process in processes()} > {first}


def test_a_guard_whose_self_test_fails_is_not_called_enforcing(airgapped: Callable[..., EgressPolicy], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = airgapped()
    broken = guard.Guard(policy, guard.ENFORCE)  # never hooked in
    monkeypatch.setattr(guard, "_guard", broken)
    Heartbeat("web").beat()
    assert only().guard == "inactive"


def test_a_clean_stop_takes_the_process_off_the_list_and_it_beats_no_more() -> None:
    heartbeat = Heartbeat("web")
    heartbeat.beat()
    heartbeat.end()
    heartbeat.beat()
    assert processes() == ()
    assert ProcessBeat.objects.get().ended_how == "stopped"


def test_a_stop_without_a_database_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat = Heartbeat("web")
    heartbeat.beat()
    monkeypatch.setattr("airgap.clock.now", lambda: (_ for _ in ()).throw(DatabaseError("away")))
    heartbeat.end()


def test_the_clock_skew_is_measured_against_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airgap.clock.now", lambda: timezone.now() - timedelta(seconds=90))
    Heartbeat("web").beat()
    assert 89 < ProcessBeat.objects.get().skew < 91


def test_drift_is_logged_once_until_it_changes(airgapped: Callable[..., EgressPolicy], caplog: pytest.LogCaptureFixture) -> None:
    airgapped()
    here = Heartbeat("web")
    here.beat()
    other = beat("other:7", airgapped=False, beat_at=timezone.now(), started_at=timezone.now(), role="worker", service="threatintel")
    other.save(force_insert=True)

    def lines() -> list[str]:
        return [record.msg["drifting"] for record in caplog.records if isinstance(record.msg, dict) and record.msg.get("event") == "airgap.drift"]

    here.watch()
    here.watch()
    assert lines() == ["other:7"]
    ProcessBeat.objects.filter(instance="other:7").update(airgapped=True, digest="zzz")
    here.watch()
    assert sorted(lines()) == sorted(["other:7", "other:7", only_here(here).process]), "in a draw both are named"


def only_here(heartbeat: Heartbeat) -> Process:
    return next(process for process in processes() if process.instance == heartbeat.instance)


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells boot and PID namespace")


@linux
def test_a_process_that_was_killed_here_is_known_to_have_died() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    space, started = fleet.pid_space(), fleet.pid_start(child.pid)
    beat(f"here:{child.pid}", beat_at=timezone.now(), pid_space=space, pid_start=started).save(force_insert=True)
    beat(f"there:{child.pid}", beat_at=timezone.now(), pid_space="another boot/1", pid_start=1).save(force_insert=True)
    fleet.found_dead()
    assert len(processes()) == 2
    child.kill()
    child.wait()
    fleet.found_dead()
    assert [process.host for process in processes()] == ["there"], "of another host nothing is certain"
    assert ProcessBeat.objects.get(host="here").ended_how == "died"


@linux
def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_old_one() -> None:
    beat(f"here:{os.getpid()}", beat_at=timezone.now(), pid_space=fleet.pid_space(), pid_start=fleet.pid_start(os.getpid()) - 1).save(
        force_insert=True
    )
    fleet.found_dead()
    assert processes() == ()


def test_only_a_silent_process_can_be_forgotten() -> None:
    beat("live", beat_at=timezone.now()).save(force_insert=True)
    beat("gone", beat_at=timezone.now() - timedelta(minutes=2)).save(force_insert=True)
    assert (fleet.forget("live"), fleet.forget("gone"), fleet.forget("gone"), fleet.forget("nobody")) == (False, True, False, False)
    assert [process.instance for process in processes()] == ["live"]


def test_a_process_that_beats_again_is_back(airgapped: Callable[..., EgressPolicy]) -> None:
    heartbeat = Heartbeat("web")
    heartbeat.beat()
    ProcessBeat.objects.update(beat_at=timezone.now() - timedelta(minutes=2))
    assert only().state is SILENT
    assert fleet.forget(heartbeat.instance)
    heartbeat.beat()
    assert only().state is OK


def test_a_process_silent_for_a_day_is_left_out() -> None:
    beat("gone", beat_at=timezone.now() - timedelta(hours=25)).save(force_insert=True)
    assert processes() == ()


def test_live_processes_are_seen_behind_any_number_of_silent_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MOST", 5)
    for number in range(8):
        beat(f"a-crash:{number + 1}", beat_at=timezone.now() - timedelta(minutes=5)).save(force_insert=True)
    beat("m:1", beat_at=timezone.now()).save(force_insert=True)
    beat("z-drifting:1", beat_at=timezone.now(), airgapped=False).save(force_insert=True)
    assert {process.host: process.state for process in processes()} == {"a-crash": SILENT, "m": OK, "z-drifting": DRIFT}


def test_a_beat_of_the_future_is_silent_and_can_be_forgotten() -> None:
    beat("a:1", beat_at=timezone.now() + timedelta(days=30)).save(force_insert=True)
    assert only().state is SILENT
    assert fleet.forget("a:1")


def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "pid_start", lambda _pid: 0)
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(PermissionError))
    assert not fleet.is_gone(4711, 99)
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(ProcessLookupError))
    assert fleet.is_gone(4711, 99)


def test_a_forked_child_that_ends_takes_its_parent_off_no_list() -> None:
    heartbeat = Heartbeat("web")
    heartbeat.beat()
    heartbeat._pid += 1  # as if this were the child
    heartbeat.end()
    assert only().state is OK


# ── The endpoint ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_endpoint_lists_them_with_state_and_reason() -> None:
    beat("vm:1", beat_at=timezone.now()).save(force_insert=True)
    beat("vm:2", beat_at=timezone.now(), airgapped=False).save(force_insert=True)
    beat("vm:3", beat_at=timezone.now() - timedelta(minutes=5)).save(force_insert=True)
    token = issue_token("olga", Role.AUDITOR, 1)
    answer = Client().get("/api/v1/airgap/processes", headers={"Authorization": f"Token {token}"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["next"] is None
    assert [(row["process"], row["state"], bool(row["why"])) for row in body["results"]] == [
        ("vm:1", "ok", False), ("vm:2", "drift", True), ("vm:3", "silent", True),
    ]  # fmt: skip
    contract = {"process", "service", "host", "pid", "version", "airgapped", "guard", "digest", "last_seen", "state", "why"}
    assert contract <= set(body["results"][0])
    assert Client().get("/api/v1/airgap/processes").status_code == 401
