"""The one sentence and one badge on top of Blocked egress. Pure: values in, a banner out."""

from datetime import datetime

from airgap.queries import Overview
from airgap.snapshot import GuardSnapshot
from airgap.trail_items import ran_open
from console.fleet import Fleet
from console.guard import guard_note
from console.verdict import OK_CHECK, Banner
from console.wording import counted, in_words
from threatintel.snapshot import Verdict

STEADY = "Under steady load this should be 0: each caller below still tries to leave."
AWAY = "What is refused meanwhile is kept in the spool of each process, on disk, and counted once the database is back."
REPORTED = "Attempts with purpose guard were let through there and only reported; the gate of this product's own clients refuses all the same."


def egress_banner(
    found: Overview | None,
    *,
    in_all: int,
    lately: str,
    filtered: str,
    airgapped: bool,
    guard: GuardSnapshot,
    spool: str,
    fleet: Fleet,
    open_until: datetime | None = None,
) -> Banner:
    """`found` is None when the database is away. `lately`: the span as a sentence goes on with it; `filtered`: the filter in words, or "".

    in_all: the attempts without the filter; a filter that nothing matches makes nothing good. open_until: a process ran without the
    air gap in the span.
    """
    of_guard = _guard_points(airgapped, guard, fleet)
    if found is None:
        return Banner(Verdict.UNKNOWN, "The blocked attempts could not be read: the database is away.", (AWAY, *_spool_points(spool), *of_guard))
    unsure = (*_fleet_points(fleet, airgapped), *_spool_points(spool))
    points = (*unsure, *of_guard, *([ran_open(open_until)] if open_until else []))
    among = f" Filtered: {filtered}." if filtered else ""
    if not airgapped:
        rest = f" {_numbers(found)} of the {lately} are on record, from before or from other processes." if found.attempts else ""
        sentence = f"Air-gap mode is off in this process: nothing is refused here, so nothing is recorded.{rest}{among}"
        return Banner(Verdict.OFF, sentence, _spool_points(spool))
    if found.attempts:
        return Banner(Verdict.ATTENTION, f"{_numbers(found)} in the {lately}. {STEADY}{among}", points)
    if in_all:
        sentence = (
            f"No blocked attempt in the {lately} matches the filter ({filtered}); without it there {'is' if in_all == 1 else 'are'} {in_all:,}."
        )
        return Banner(Verdict.ATTENTION, sentence, points)
    if unsure:
        return Banner(Verdict.UNKNOWN, f"No blocked attempt of the {lately} is on record, but {_doubt(fleet)}.{among}", points)
    known = len(fleet.rows)
    sentence = f"No blocked attempt in the {lately} on {len(fleet.heard)} of {counted(known, 'process', 'processes')}.{among}"
    return Banner(Verdict.ATTENTION if points else Verdict.OK, sentence, points)


def _doubt(fleet: Fleet) -> str:
    if not fleet.silent:
        return "the record may not be whole"
    return f"{in_words([row.title for row in fleet.silent])} {'is' if len(fleet.silent) == 1 else 'are'} silent"


def _numbers(found: Overview) -> str:
    return f"{counted(found.attempts, 'attempt')} to {counted(found.hosts, 'host')} by {counted(found.callers, 'caller')}"


def _spool_points(spool: str) -> tuple[str, ...]:
    return () if spool == OK_CHECK else (f"The spool of this process: {spool or 'not checked'}.",)


def _fleet_points(fleet: Fleet, airgapped: bool) -> tuple[str, ...]:
    """Why attempts may be missing from the record."""
    if fleet.away:
        return ("The heartbeats of the processes could not be read.",)
    if not fleet.rows:
        return ("No process of this node is known.",)
    points = []
    if fleet.silent:
        titles = in_words([row.title for row in fleet.silent])
        points.append(f"Silent: {titles}. What {'it tries' if len(fleet.silent) == 1 else 'they try'} is not known.")
    if fleet.unheard:
        points.append("This process has no heartbeat on record yet.")
    if airgapped and (off := [row.title for row in fleet.heard if not row.airgapped]):
        points.append(f"Not air-gapped: {in_words(off)}. Nothing is refused there, so nothing is recorded.")
    return tuple(points)


def _guard_points(airgapped: bool, guard: GuardSnapshot, fleet: Fleet) -> tuple[str, ...]:
    """Where the numbers of the guard are not refusals, or where there is no guard to count."""
    by_mode: dict[str, list[str]] = {}
    for row in fleet.rows:
        if row not in fleet.silent and row.guard_verdict in (Verdict.ATTENTION, Verdict.FAILING):
            by_mode.setdefault("not working" if row.guard_verdict is Verdict.FAILING else row.guard, []).append(row.title)
    if not by_mode and (note := guard_note(airgapped, guard)):  # another node was filtered for
        by_mode[note.removeprefix("Guard: ")] = ["this process"]
    means = {"report": REPORTED}
    other = "Attempts of clients that this product did not write are neither refused nor recorded there."
    return tuple(f"Guard: {mode} in {in_words(titles)}. {means.get(mode, other)}" for mode, titles in by_mode.items())
