"""What an auditor checks, as items of one registry: each app registers its own, and each check says what it saw and what to do next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog
from django.utils import timezone

log = structlog.stdlib.get_logger("airgap")


class Verdict(StrEnum):
    """UNKNOWN: it could not be found out, which is never taken for OK."""

    OK = "OK"
    ATTENTION = "ATTENTION"
    FAILING = "FAILING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Finding:
    """evidence: what was seen, in a sentence or a few. next_step: "" when there is none."""

    verdict: Verdict
    evidence: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """An automatic item: `check` looks anew each time and writes nothing."""

    id: str
    title: str
    check: Callable[[], Finding]


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


def run_all() -> Iterator[Checked]:
    """Every item, in the order of registration. A check that breaks is UNKNOWN, with the error in the log."""
    for item in list(_items.values()):
        try:
            finding = item.check()
        except Exception as error:
            log.exception("checklist.failed", item=item.id)
            finding = Finding(
                Verdict.UNKNOWN, f"The check broke off ({type(error).__name__}); see the log.", "Is the database there? Then report it."
            )
        yield Checked(item, finding, timezone.now())
