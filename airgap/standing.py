"""What holds in the air gap and should be told: processes that drift, attempts to get out, items of the checklist that fail."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db.models import Max, Sum

from airgap import clock
from airgap.announce import Announcement, Kind, Severity
from airgap.checklist import Verdict, look, run_all
from airgap.fleet import State, processes
from airgap.models import EgressTotal
from airgap.queries import EventFilter

LATELY: Final = timedelta(hours=1)  # attempts that are looked at
MOST: Final = 20  # hosts that are told by name
TOLD_ELSEWHERE: Final = frozenset({"feeds_fresh", "no_blocks"})  # items whose matter is a kind of its own
NOTIFICATIONS: Final = "actions."  # the purpose of what a channel sends: its refusal is told by its delivery, and must not make another one


def drifting() -> Iterator[Announcement]:
    """A process that does not run under what the others do, by what it is rather than by its pid: a restart with the same fault is no news."""
    for process in processes():
        if process.state is State.DRIFT:
            key = f"{process.host}/{process.service}/{process.role}"
            yield Announcement(Kind.DRIFT, key, f"{process.process} ({process.service}) drifts", process.why, Severity.HIGH)


def attempts() -> Iterator[Announcement]:
    """Refused attempts of the last hour by host and port, the latest first; beyond MOST in one."""
    rows = EventFilter(since=clock.now() - LATELY).totals(EgressTotal.Span.FIVE_MINUTES).exclude(purpose__startswith=NOTIFICATIONS)
    found = list(rows.values("host", "port").annotate(sum=Sum("count"), last=Max("last_seen"), why=Max("reason")).order_by("-last")[: MOST + 1])
    for one in found[:MOST]:
        name = f"[{one['host']}]" if ":" in one["host"] else one["host"]
        host = f"{name}:{one['port']}" if one["port"] else one["host"]
        yield Announcement(Kind.EGRESS, host, f"Refused: {host}", f"Attempts within the hour: {one['sum']}. {one['why']}", Severity.HIGH, one["last"])
    if len(found) > MOST:
        yield Announcement(Kind.EGRESS, "(more)", "Refused: more hosts", "See Blocked egress.", Severity.HIGH, found[MOST]["last"])


def failing_items() -> Iterator[Announcement]:
    """Items of the audit checklist that fail. UNKNOWN is no failure; its cause is in the log."""
    for checked in run_all(look()):
        if checked.finding.verdict is Verdict.FAILING and checked.item.id not in TOLD_ELSEWHERE:
            message = f"{checked.finding.evidence} {checked.finding.next_step}".strip()
            yield Announcement(Kind.CHECKLIST, checked.item.id, f"Checklist: {checked.item.title} fails", message, Severity.HIGH)
