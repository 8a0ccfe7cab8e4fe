"""Marks on the chart of Blocked egress: when processes started, and when the policy changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from airgap.fleet import MOST
from airgap.models import ProcessBeat
from airgap.queries import Span
from console.wording import counted

POOL: Final = "pool"  # Celery replaces pool children as it likes: their starts say nothing
READ: Final = 5 * MOST  # starts that are read, the latest


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one process."""

    at: datetime
    service: str
    role: str
    digest: str


@dataclass(frozen=True, slots=True)
class Marks:
    """What happened in one step. `changes`: starts under another policy than the start of that service and role before."""

    starts: int = 0
    changes: int = 0

    @property
    def start_words(self) -> str:
        return f"{counted(self.starts, 'process', 'processes')} started"

    @property
    def change_words(self) -> str:
        return f"policy changed in {counted(self.changes, 'process', 'processes')}"

    @property
    def words(self) -> str:
        """Both, or "" when nothing happened."""
        said = [self.start_words] if self.starts else []
        return "; ".join([*said, self.change_words] if self.changes else said)


NONE: Final = Marks()


def read_marks(span: Span, now: datetime, node: str = "") -> dict[datetime, Marks]:
    """The marks of a span by the beginning of their step. Raises django.db.Error when the database is away."""
    beats = ProcessBeat.objects.exclude(role=POOL).filter(started_at__lte=now)
    if node:
        beats = beats.filter(host=node)
    found = beats.order_by("-started_at").values_list("started_at", "service", "role", "digest")[:READ]
    return marks_of((Start(*row) for row in reversed(found)), span, now)


def marks_of(starts: Iterable[Start], span: Span, now: datetime) -> dict[datetime, Marks]:
    """`starts` oldest first, those before the span too: they tell under which policy its first ones came."""
    digests: dict[tuple[str, str], str] = {}
    marks: dict[datetime, Marks] = {}
    for start in starts:
        kind = (start.service, start.role)
        changed = digests.get(kind, start.digest) != start.digest
        digests[kind] = start.digest
        if start.at < span.since(now):
            continue
        begin = span.begin(start.at)
        sofar = marks.get(begin, NONE)
        marks[begin] = Marks(sofar.starts + 1, sofar.changes + changed)
    return marks
