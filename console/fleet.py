"""The processes of the deployment as pages show them: the heartbeats judged, and this process by what it knows of itself now."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from airgap.fleet import Process, State, forget, processes
from airgap.models import ProcessBeat
from airgap.snapshot import GuardSnapshot
from console.database import DATABASE_AWAY
from console.guard import guard_sentence, guard_verdict
from console.process import ProcessSnapshot
from threatintel.snapshot import Verdict

MAX_SKEW: Final = 5.0  # seconds
UNHEARD: Final = "It answers this page, but it has no heartbeat on record yet. The first one comes within seconds of its start."
AWAY: Final = "It answers this page; the heartbeats of the others are kept in the database, which is away."

log = structlog.stdlib.get_logger("console")


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process. `state` and what follows from a heartbeat is None for this process (`here`) before its first one."""

    instance: str
    process: str
    host: str
    service: str
    role: str
    version: str
    airgapped: bool
    guard: str
    guard_verdict: Verdict
    digest: str
    last_seen: datetime | None
    skew: float | None
    state: State | None
    verdict: Verdict
    why: str
    here: bool = False

    @property
    def title(self) -> str:
        return f"{self.process} ({self.service} {self.role})"

    @property
    def can_forget(self) -> bool:
        return self.state is State.SILENT

    @property
    def skew_words(self) -> str:
        return "not known" if self.skew is None else f"{round(self.skew, 1) + 0.0:+.1f} s"

    def as_dict(self) -> dict[str, Any]:
        return {
            "process": self.process,
            "here": self.here,
            "service": self.service,
            "role": self.role,
            "airgapped": self.airgapped,
            "guard": self.guard,
            "digest": self.digest,
            "version": self.version,
            "last_seen": self.last_seen,
            "clock_skew": None if self.skew is None else round(self.skew, 3),
            "state": self.state,
            "verdict": self.verdict,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every process that is known of. `away`: the heartbeats could not be read, and `rows` is this process alone."""

    rows: tuple[ProcessRow, ...]
    away: bool = False

    def on(self, node: str) -> "Fleet":
        """The processes of one node; of all for ""."""
        return Fleet(tuple(row for row in self.rows if not node or row.host == node), self.away)

    @property
    def heard(self) -> tuple[ProcessRow, ...]:
        """Who is live: it beats, whatever it says."""
        return self._where(lambda row: row.state in (State.OK, State.DRIFT))

    @property
    def agreeing(self) -> tuple[ProcessRow, ...]:
        return self._where(lambda row: row.state is State.OK)

    @property
    def drifting(self) -> tuple[ProcessRow, ...]:
        return self._where(lambda row: row.state is State.DRIFT)

    @property
    def silent(self) -> tuple[ProcessRow, ...]:
        return self._where(lambda row: row.state is State.SILENT)

    @property
    def unheard(self) -> bool:
        """Whether this process has no heartbeat on record."""
        return any(row.state is None for row in self.rows)

    @property
    def off(self) -> bool:
        """Whether the air gap is off in every process that is live, this one included."""
        return not any(row.airgapped for row in self.rows if row.state is not State.SILENT)

    @property
    def tally(self) -> str:
        """`2 agree, 1 differs, 1 silent`."""
        counts = (len(self.agreeing), "agree", "agrees"), (len(self.drifting), "differ", "differs"), (len(self.silent), "silent", "silent")
        return ", ".join(f"{count} {one if count == 1 else many}" for count, many, one in counts if count) or "no heartbeat on record"

    def _where(self, wanted: Callable[[ProcessRow], bool]) -> tuple[ProcessRow, ...]:
        return tuple(row for row in self.rows if wanted(row))


def read_fleet(this: ProcessSnapshot) -> Fleet:
    """The fleet, or this process alone when the database is away."""
    try:
        return fleet_of(processes(), this)
    except DATABASE_AWAY:
        return Fleet((unheard_row(this, AWAY),), away=True)


def fleet_of(found: Iterable[Process], this: ProcessSnapshot) -> Fleet:
    """`found` with this process marked, or put first when it is not among them."""
    found = tuple(found)
    # A pid may come again, as in a container that was restarted: the latest that is not silent.
    mine = [process for process in found if process.process == this.process and process.state is not State.SILENT]
    here = max(mine, key=lambda process: process.started_at, default=None)
    rows = tuple(heard_row(process, this if process is here else None) for process in found)
    return Fleet(rows if here is not None else (unheard_row(this), *rows))


def heard_row(process: Process, this: ProcessSnapshot | None = None) -> ProcessRow:
    """A process by its heartbeat; for this very process its guard is the one of now."""
    guard = this.guard if this is not None else GuardSnapshot(process.guard, active=process.guard == "enforce", selftest=process.guard == "enforce")
    verdict, why = judged(process, guard)
    return ProcessRow(
        instance=process.instance,
        process=process.process,
        host=process.host,
        service=process.service,
        role=process.role,
        version=process.version,
        airgapped=process.airgapped,
        guard=guard.mode,
        guard_verdict=guard_verdict(process.airgapped, guard),
        digest=process.digest,
        last_seen=process.last_seen,
        skew=process.skew,
        state=process.state,
        verdict=verdict,
        why=why,
        here=this is not None,
    )


def unheard_row(this: ProcessSnapshot, why: str = UNHEARD) -> ProcessRow:
    """This process without a heartbeat."""
    return ProcessRow(
        instance="",
        process=this.process,
        host=this.node,
        service=this.service,
        role=this.role,
        version=this.version,
        airgapped=this.airgapped,
        guard=this.guard.mode,
        guard_verdict=guard_verdict(this.airgapped, this.guard),
        digest=this.digest,
        last_seen=None,
        skew=None,
        state=None,
        verdict=Verdict.UNKNOWN,
        why=why,
        here=True,
    )


def judged(process: Process, guard: GuardSnapshot) -> tuple[Verdict, str]:
    """The verdict on one process, and why it is not OK."""
    if process.state is State.DRIFT:
        return Verdict.FAILING, process.why
    if process.state is State.SILENT:
        return Verdict.UNKNOWN, process.why
    of_guard = guard_verdict(process.airgapped, guard)
    if of_guard not in (Verdict.OK, Verdict.OFF):
        return of_guard, f"Process guard: {guard.mode}. {guard_sentence(process.airgapped, guard)}"
    if abs(process.skew) > MAX_SKEW:
        ahead = "ahead of" if process.skew > 0 else "behind"
        return Verdict.ATTENTION, f"Its clock is {abs(process.skew):.1f} s {ahead} the database's. Check the time service of {process.host}."
    return (Verdict.OK, "") if process.airgapped else (Verdict.OFF, "")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of the wish to take a process off the list."""

    done: bool
    sentence: str


def forget_process(instance: str, *, by: str) -> Forgotten:
    """Take a silent process off the list; one that beats stays on it. Raises django.db.Error when the database is away."""
    beat = ProcessBeat.objects.filter(instance=instance).first()
    if beat is None:
        return Forgotten(False, "That process is not on the list any more.")
    name = f"{beat.host}:{beat.pid}"
    if forget(instance):
        log.info("fleet.process_forgotten", forgotten=name, forgotten_service=beat.service, role=beat.role, user=by)
        return Forgotten(True, f"{name} is forgotten: it is off the list. Should it live after all, it comes back with its next beat.")
    if beat.ended_at is not None:
        return Forgotten(False, f"{name} is not on the list any more: it has ended.")
    return Forgotten(False, f"{name} was not forgotten: it has been heard of again.")
