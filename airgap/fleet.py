"""The processes of the deployment as they say it of themselves: heartbeats in the database, and what does not agree.

Each process writes its own row every BEAT seconds by the database's clock. After three missed beats it is silent: nobody can say
what it runs under. A process whose host or PID namespace this one shares is known to have died when its pid is gone.
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from time import time
from typing import Any, Final
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import Max
from django.utils import timezone

from airgap import clock
from airgap.events import AIRGAP_DRIFT
from airgap.facts import own_facts
from airgap.models import ProcessBeat
from airgap.snapshot import airgap_snapshot, guard_snapshot, policy_digest

BEAT: Final = 15.0  # seconds
SILENT_AFTER: Final = timedelta(seconds=3 * BEAT)
LEFT_OUT_AFTER: Final = timedelta(hours=24)  # a process that has been silent for longer
MOST: Final = 1000  # processes that are read

log = structlog.stdlib.get_logger("airgap")


class State(StrEnum):
    OK = "ok"
    DRIFT = "drift"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Process:
    """One process as its last heartbeat has it, judged beside the others. `skew` in seconds, ahead of the database's clock."""

    instance: str
    process: str
    service: str
    role: str
    host: str
    pid: int
    version: str
    airgapped: bool
    guard: str
    digest: str
    skew: float
    started_at: datetime
    last_seen: datetime
    state: State
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.process} ({self.service} {self.role})"

    def as_dict(self) -> dict[str, Any]:
        """CONTRACTS.md 2.4, a process; role, clock skew, start and instance are added."""
        return {
            "process": self.process,
            "service": self.service,
            "role": self.role,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "airgapped": self.airgapped,
            "guard": self.guard,
            "digest": self.digest,
            "clock_skew": round(self.skew, 3),
            "started_at": self.started_at,
            "last_seen": self.last_seen,
            "state": self.state.value,
            "why": self.why,
            "instance": self.instance,
        }


def processes() -> tuple[Process, ...]:
    """Every process that has not ended, judged now; of very many, those heard of last. Raises django.db.Error when the database is away."""
    now = clock.now()
    beats = ProcessBeat.objects.filter(ended_at=None, beat_at__gte=now - LEFT_OUT_AFTER).order_by("-beat_at")[:MOST]
    return judged(sorted(beats, key=lambda beat: (beat.host, beat.service, beat.role, beat.pid, beat.started_at)), now)


def open_until(since: datetime) -> datetime | None:
    """When a process was last heard of that ran without the air gap since then; None when none did."""
    last: datetime | None = ProcessBeat.objects.filter(airgapped=False, beat_at__gte=since).aggregate(last=Max("beat_at"))["last"]
    return last


def is_heard(beat: ProcessBeat, now: datetime) -> bool:
    """A beat of the future is none: the clock it was written by has been set back since."""
    return abs(now - beat.beat_at) <= SILENT_AFTER


def judged(beats: Iterable[ProcessBeat], now: datetime) -> tuple[Process, ...]:
    """The beats with a state each. Silence comes first; only live processes are held against one another."""
    beats = list(beats)
    live = _Live([beat for beat in beats if is_heard(beat, now)])
    found = []
    for beat in beats:
        if is_heard(beat, now):
            why = live.drift_of(beat)
            state = State.DRIFT if why else State.OK
        else:
            seconds = abs(now - beat.beat_at) // timedelta(seconds=1)
            state, why = State.SILENT, f"No heartbeat for {seconds} s: what it runs under now is not known."
        found.append(
            Process(
                instance=beat.instance,
                process=f"{beat.host}:{beat.pid}",
                service=beat.service,
                role=beat.role,
                host=beat.host,
                pid=beat.pid,
                version=beat.version,
                airgapped=beat.airgapped,
                guard=beat.guard,
                digest=beat.digest,
                skew=beat.skew,
                started_at=beat.started_at,
                last_seen=beat.beat_at,
                state=state,
                why=why,
                facts=beat.facts if isinstance(beat.facts, dict) else {},
            )
        )
    return tuple(found)


class _Live:
    """The processes that are heard of, counted once."""

    def __init__(self, beats: list[ProcessBeat]) -> None:
        gapped = [beat for beat in beats if beat.airgapped]
        self._gapped = len(gapped)
        self._digests = Counter(beat.digest for beat in gapped)
        self._guards = Counter(beat.guard for beat in gapped)

    def drift_of(self, beat: ProcessBeat) -> str:
        """What sets a live process apart from the others, with what to do; "" when nothing does."""
        if not self._gapped:
            return ""
        if not beat.airgapped:
            return f"AISOC_AIRGAPPED is off here and on in {_others(self._gapped)}. Set AISOC_AIRGAPPED=1 for this process and restart it."
        if len(self._digests) > 1 and not _is_majority(self._digests, beat.digest):
            others = _others(self._gapped - self._digests[beat.digest])
            return f"Its policy {beat.digest} is not that of {others}. Compare AISOC_AIRGAP_ALLOWLIST and restart."
        if len(self._guards) > 1 and beat.guard != "enforce":
            return f"Its process guard is {beat.guard}, unlike that of others. Compare AISOC_AIRGAP_GUARD and restart."
        return ""


def _is_majority(counts: Counter[str], word: str) -> bool:
    """Whether more processes have `word` than any other. In a draw nobody is right."""
    return all(counts[word] > count for other, count in counts.items() if other != word)


def _others(count: int) -> str:
    return "1 other process" if count == 1 else f"{count} other processes"


# ── This process ─────────────────────────────────────────────────────────────────────────────────────────────────────
class Heartbeat:
    """The heartbeat of one process. A forked child makes one of its own."""

    def __init__(self, role: str) -> None:
        self._role = role
        self.instance = uuid4().hex
        self._started = timezone.now()
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._pid = os.getpid()

    def beat(self) -> None:
        """Write the row. Raises django.db.Error when the database is away."""
        with self._lock:
            if not self._ended:
                self._write()

    def _write(self) -> None:
        before = time()
        now = clock.now()
        skew = (before + time()) / 2 - now.timestamp()
        snapshot, guard = airgap_snapshot(), guard_snapshot()
        ProcessBeat.objects.update_or_create(
            instance=self.instance,
            defaults={
                "service": settings.SERVICE,
                "role": self._role,
                "host": socket.gethostname()[:120],
                "pid": os.getpid(),
                "pid_space": pid_space(),
                "pid_start": pid_start(os.getpid()),
                "version": settings.VERSION,
                "airgapped": snapshot.enabled,
                "guard": guard.mode if guard.mode != "enforce" or guard.selftest else "inactive",
                "digest": policy_digest(snapshot),
                "facts": own_facts(),
                "skew": skew,
                "started_at": self._started,
                "beat_at": now,
                "ended_at": None,
                "ended_how": "",
            },
        )

    def watch(self) -> None:
        """Find processes that have died here, and log each drift when it begins or changes."""
        found_dead()
        drifting = {process.instance: process for process in processes() if process.state is State.DRIFT}
        for instance, process in drifting.items():
            if self._told.get(instance) != process.why:
                log.warning(
                    AIRGAP_DRIFT,
                    drifting=process.process,
                    drifting_service=process.service,
                    role=process.role,
                    airgapped=process.airgapped,
                    guard=process.guard,
                    digest=process.digest,
                    reason=process.why,
                )
        self._told = {instance: process.why for instance, process in drifting.items()}

    def end(self) -> None:
        """On a clean stop. When the database is away the row falls silent, and says so. A child that was forked meanwhile ends nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._ended = True
            try:
                ProcessBeat.objects.filter(instance=self.instance).update(ended_at=clock.now(), ended_how="stopped")
            except DatabaseError as error:
                log.warning("fleet.end_not_written", error=type(error).__name__)
            connections.close_all()


def forget(instance: str) -> bool:
    """Take a silent process off the list: the operator knows what became of it. Whether there was one."""
    now = clock.now()
    silent = ProcessBeat.objects.filter(instance=instance, ended_at=None).exclude(beat_at__range=(now - SILENT_AFTER, now + SILENT_AFTER))
    return bool(silent.update(ended_at=now, ended_how="forgotten"))


def found_dead() -> None:
    """Mark processes whose pid is gone: certain only where this process shares their boot and PID namespace."""
    space = pid_space()
    if not space:
        return
    for beat in ProcessBeat.objects.filter(ended_at=None, pid_space=space):
        if is_gone(beat.pid, beat.pid_start):
            ProcessBeat.objects.filter(instance=beat.instance, ended_at=None).update(ended_at=clock.now(), ended_how="died")


def is_gone(pid: int, start: int) -> bool:
    """Whether the process that began then has ended. When /proc does not show it (hidepid), only its pid's absence tells."""
    seen = pid_start(pid)
    if seen:
        return seen != start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return False


@cache
def pid_space() -> str:
    """Boot and PID namespace of this process; "" where the system does not tell (it is Linux that does)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def pid_start(pid: int) -> int:
    """When the process began, in clock ticks since boot (proc(5), field 22 of stat); 0 when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
