"""The port through which the product says what happened: producers call announce() or register a source, one receiver takes it.

Without a receiver nothing is told; it is counted, so that a test or a page can see it. Imports no Django: the environment reads Kind.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

log = structlog.stdlib.get_logger("airgap")


class Kind(StrEnum):
    """What is told; AISOC_NOTIFY_EVENTS switches each."""

    DRIFT = "drift"
    FEED_STALE = "feed_stale"
    EGRESS = "egress"
    CREDENTIAL = "credential"
    CHECKLIST = "checklist"


class Severity(StrEnum):
    """From the worst on."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What happened, or holds. key: what it is about, stable while it is the same matter. seen: when; None means now. Never a secret."""

    kind: Kind
    key: str
    title: str
    message: str
    severity: Severity = Severity.MEDIUM
    seen: datetime | None = None


Receiver = Callable[[Announcement], None]
Source = Callable[[], Iterable[Announcement]]

_receivers: list[Receiver] = []
_sources: dict[str, Source] = {}
unheard = 0  # announcements that nobody took


def receive(receiver: Receiver) -> None:
    """Register the one receiver. Raises ValueError when another one is there."""
    if _receivers and _receivers != [receiver]:
        raise ValueError("Announcements have a receiver already.")
    _receivers[:] = [receiver]


def announce(kind: Kind, key: str, title: str, message: str, severity: Severity = Severity.MEDIUM) -> bool:
    """Tell that something happened. Whether somebody took it; never raises: what is told must not undo what was done."""
    global unheard
    for receiver in _receivers:
        try:
            receiver(Announcement(kind, key, title, message, severity))
        except Exception as error:
            log.exception("announcement.lost", kind=kind.value, error=type(error).__name__)
        else:
            return True
    unheard += 1
    return False


def register_source(name: str, source: Source) -> None:
    """A source says what holds now, each time it is asked, and writes nothing. Raises ValueError for a name that another one has."""
    if _sources.setdefault(name, source) is not source:
        raise ValueError(f"Two sources of announcements are named {name!r}.")


def standing() -> Iterator[Announcement]:
    """What every source says holds now. One that breaks is logged and leaves the others."""
    for name, source in list(_sources.items()):
        try:
            yield from tuple(source())
        except Exception:
            log.exception("announcement.source_failed", source=name)
