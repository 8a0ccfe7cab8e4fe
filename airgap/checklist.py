"""What an auditor checks, as items of one registry: each app registers its own, and each check says what it saw and what to do next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog
from django.db import Error as DatabaseError
from django.utils import timezone

from airgap import clock, fleet
from airgap.fleet import Process

DAY: Final = timedelta(hours=24)
NAMED: Final = 2  # processes that the evidence itself names
NEWEST_ROWS: Final = 20_000  # of the trail, that a page walks

log = structlog.stdlib.get_logger("airgap")


class Verdict(StrEnum):
    """UNKNOWN: it could not be found out, which is never taken for OK."""

    OK = "OK"
    ATTENTION = "ATTENTION"
    FAILING = "FAILING"
    UNKNOWN = "UNKNOWN"


WORST_FIRST: Final = (Verdict.FAILING, Verdict.UNKNOWN, Verdict.ATTENTION, Verdict.OK)


class Kind(StrEnum):
    """Who answers: the product by looking, which nobody can tick by hand, or a person who vouches for what cannot be seen from inside."""

    AUTOMATIC = "automatic"
    ATTESTED = "attested"


@dataclass(frozen=True, slots=True)
class Look:
    """One run over the checklist. `processes` is None when the heartbeats could not be read.

    since: from when on refused attempts count. rows: how many of the trail's newest rows are walked; None: every row.
    """

    now: datetime
    since: datetime
    processes: tuple[Process, ...] | None
    rows: int | None = NEWEST_ROWS

    @property
    def hours(self) -> str:
        """The span in words: `24 h`, `7 d`, `30 min`."""
        return span_words(self.now - self.since)


@dataclass(frozen=True, slots=True)
class Finding:
    """evidence: what was seen, in a sentence or a few. next_step: "" when there is none. details: the single observations."""

    verdict: Verdict
    evidence: str
    next_step: str = ""
    details: tuple[str, ...] = ()


AWAY: Final = Finding(
    Verdict.UNKNOWN,
    "The database cannot be read: heartbeats, trail and attestations are kept there.",
    "Bring the database back, then look again. That of a new deployment is made by the first bin/up.",
)


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One item: `check` looks anew each time and writes nothing. order: among the others; those of the runbook are 1 to 7."""

    id: str
    title: str
    check: Callable[[Look], Finding]
    kind: Kind = Kind.AUTOMATIC
    order: int = 50


@dataclass(frozen=True, slots=True)
class Checked:
    """An item with what its check found."""

    item: ChecklistItem
    finding: Finding
    checked_at: datetime


_items: dict[str, ChecklistItem] = {}


def register(item: ChecklistItem) -> None:
    """Raises ValueError for an id that another item has."""
    if _items.setdefault(item.id, item) is not item:
        raise ValueError(f"Two checklist items are named {item.id!r}.")


def items() -> list[ChecklistItem]:
    """Every item, in the order in which they are shown."""
    return sorted(_items.values(), key=lambda item: item.order)


def look(window: timedelta = DAY, *, rows: int | None = NEWEST_ROWS) -> Look:
    """What all checks of one run have in common. Raises nothing: without a database the processes are not known."""
    try:
        now = clock.now()
        return Look(now, now - window, fleet.processes(), rows)
    except DatabaseError:
        now = timezone.now()
        return Look(now, now - window, None, rows)


def run_all(seen: Look) -> Iterator[Checked]:
    """Every item. A check that breaks is UNKNOWN, with the error in the log."""
    for item in items():
        yield Checked(item, found(item, seen), timezone.now())


def found(item: ChecklistItem, seen: Look) -> Finding:
    """What one check finds. None is made while the database is away: each would wait for it anew."""
    if seen.processes is None:
        return AWAY
    try:
        return item.check(seen)
    except DatabaseError as error:
        return Finding(Verdict.UNKNOWN, f"The database cannot be read ({type(error).__name__}).", "Bring the database back, then look again.")
    except Exception as error:
        log.exception("checklist.failed", item=item.id)
        return Finding(Verdict.UNKNOWN, f"The check broke off ({type(error).__name__}); see the log.", "Report it.")


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """FAILING, UNKNOWN, ATTENTION, OK: the first that occurs. UNKNOWN when there is none at all."""
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), Verdict.UNKNOWN)


def span_words(span: timedelta) -> str:
    minutes = round(span / timedelta(minutes=1))
    if not minutes:
        return "less than a minute"
    for size, unit in ((1440, "d"), (60, "h")):
        if minutes % size == 0 and minutes > size:
            return f"{minutes // size} {unit}"
    return f"{minutes // 60} h" if minutes == 60 else f"{minutes} min"


# ── What holds in every process ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Said:
    """What one process has to say on an item."""

    verdict: Verdict
    text: str
    next_step: str = ""


NOT_SAID: Final = Said(Verdict.UNKNOWN, "it does not say: it runs another version of the product", "Restart it with this version.")


def everywhere(seen: Look, judge: Callable[[Process], Said], *, service: str = "") -> Finding:
    """An item that holds when it holds in every live process (of one service). A silent process makes it UNKNOWN: nobody can say."""
    if seen.processes is None:
        return AWAY
    asked = [process for process in seen.processes if not service or process.service == service]
    by_said: dict[Said, list[str]] = {}
    for process in asked:
        by_said.setdefault(_silence(process) if process.state is fleet.State.SILENT else judge(process), []).append(process.title)
    if not by_said:
        whose = f"no process of the service {service}" if service else "no process"
        return Finding(Verdict.UNKNOWN, f"There is {whose} with a heartbeat.", "Start it; the first heartbeat comes within seconds.")
    said = sorted(by_said, key=lambda one: WORST_FIRST.index(one.verdict))
    evidence = " ".join(f"{len(by_said[one])} of {len(asked)} {_processes(len(asked))}: {one.text}{_culprits(one, by_said[one])}." for one in said)
    steps = dict.fromkeys(one.next_step for one in said if one.next_step)
    details = tuple(f"{one.verdict}: {one.text} ({_named(by_said[one])})" for one in said)
    return Finding(said[0].verdict, evidence, " ".join(steps), details)


def _silence(process: Process) -> Said:
    return Said(Verdict.UNKNOWN, "silent, so that nobody can say", "Look at the silent process; Forget takes one that is gone off the list.")


def _processes(count: int) -> str:
    return "process" if count == 1 else "processes"


def _culprits(said: Said, titles: list[str]) -> str:
    """Who it is about, in the evidence itself, when it is not as it should be and few enough to be read."""
    return f" ({', '.join(titles)})" if said.verdict is not Verdict.OK and len(titles) <= NAMED else ""


def _named(titles: list[str]) -> str:
    shown = ", ".join(titles[:10])
    return shown if len(titles) <= 10 else f"{shown} and {len(titles) - 10} more"
