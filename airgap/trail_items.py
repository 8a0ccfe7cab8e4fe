"""The checklist's items on the trail: nothing was refused lately, and no row of it was altered or removed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet, Sum

from airgap import chain, events, fleet
from airgap.active import deployment_key
from airgap.checklist import NOT_SAID, ChecklistItem, Finding, Look, Said, Verdict, everywhere, span_words, worst
from airgap.fleet import Process
from airgap.models import EgressTotal, TrailCheck
from airgap.queries import EventFilter
from airgap.segments import backlog, damaged, unreadable

FINE: Final = timedelta(hours=2)  # windows up to this are counted in steps of five minutes
MOST: Final = 10  # callers or problems that are listed
SLOW: Final = timedelta(minutes=5)  # behind the database's clock: what is refused now stands so long before now
CHECK_DUE: Final = timedelta(days=7)  # a walk over every row is made at least so often


def spool_fact() -> dict[str, int]:
    """What was refused here and is not in the trail: attempts in memory alone, segments that wait for a drain, and those that it set aside."""
    recorder, folder = events.recorder(), settings.AIRGAP_SPOOL_DIR
    return {
        "overflowed": recorder.spool.overflowed if recorder is not None else 0,
        "waiting": max(backlog(folder), unreadable(folder)),
        "damaged": damaged(folder),
    }


# ── No refusal under steady load ─────────────────────────────────────────────────────────────────────────────────────
def no_blocks(seen: Look) -> Finding:
    """FAILING with any attempt in the span. Without one: as far as every process vouches for having looked."""
    found = attempts_since(seen.since, seen.now)
    count = found.aggregate(sum=Sum("count"))["sum"] or 0
    if not count:  # the totals are not chained, the rows are; where there are none it costs nothing
        count = EventFilter(since=seen.since).rows().aggregate(sum=Sum("count"))["sum"] or 0
    if count:
        rows = list(found.values("host", "port", "rule", "caller", "purpose", "tenant").annotate(sum=Sum("count")).order_by("-sum", "host")[:MOST])
        details = tuple(f"{row['sum']:,} × {_target(row['host'], row['port'])}, rule {row['rule']}, by {_who(row)}" for row in rows)
        evidence = f"{count:,} {'attempt was' if count == 1 else 'attempts were'} refused in the last {seen.hours}."
        return Finding(Verdict.FAILING, evidence, "Open Blocked egress: each caller still tries to leave, and the page says what to do.", details)
    removed = chain.removed_through()
    if removed is not None and removed >= seen.since.astimezone(UTC).date():
        step = "Ask for a shorter span, or set AISOC_TRAIL_DAYS to more days than the span has."
        return Finding(Verdict.UNKNOWN, f"None is on record, but rows up to {removed} were removed: past AISOC_TRAIL_DAYS.", step)
    vouched = everywhere(seen, _vouches)
    live = [process for process in seen.processes or () if process.state != "silent"]
    watched = f" The longest-running process has watched for {span_words(seen.now - min(one.started_at for one in live))}." if live else ""
    evidence = f"No attempt was refused in the last {seen.hours}.{watched}"
    if vouched.verdict is not Verdict.OK:
        return Finding(vouched.verdict, f"{evidence} {vouched.evidence}", vouched.next_step, vouched.details)
    if until := fleet.open_until(seen.since):
        step = "Run airgap_audit with a --since that begins later, look again when the span has passed, or accept this item with the reason."
        return Finding(Verdict.ATTENTION, f"{evidence} {ran_open(until)}", step, vouched.details)
    return Finding(Verdict.OK, evidence, "", vouched.details)


def ran_open(until: datetime) -> str:
    return f"Until {until:%Y-%m-%d %H:%M} UTC a process ran without the air gap: what it tried was not refused, and is not on record."


def _who(row: Mapping[str, Any]) -> str:
    caller, purpose = row["caller"], row["purpose"]
    who = f"{caller} for {purpose}" if caller and purpose and caller != purpose else caller or purpose or "unknown"
    return f"{who}, tenant {row['tenant']}" if row["tenant"] else who


def attempts_since(since: datetime, now: datetime) -> QuerySet[EgressTotal]:
    """Totals of the span, that of the step in which it begins included: rather one too many than one too few."""
    span = EgressTotal.Span.FIVE_MINUTES if now - since <= FINE else EgressTotal.Span.HOUR
    return EventFilter(since=since).totals(span)


def _vouches(process: Process) -> Said:
    spool = process.facts.get("spool")
    if not isinstance(spool, dict):
        return NOT_SAID
    if spool.get("overflowed"):
        return Said(Verdict.FAILING, "refused attempts are counted in memory alone", "Make room in the data folder; see /health.")
    if not process.airgapped:
        return Said(Verdict.UNKNOWN, "air gap off: it refuses nothing, so that none refused says nothing", "Set AISOC_AIRGAPPED=1 and restart.")
    if spool.get("waiting"):
        return Said(Verdict.UNKNOWN, "refused attempts wait in its spool and are not in the trail yet", "Look again in some seconds; see /health.")
    if spool.get("damaged"):
        step = "See the log, airgap.spool_damaged; then move the .damaged files out of the spool folder and keep them."
        return Said(Verdict.UNKNOWN, "refused attempts in spool files that could not be read are not in the trail", step)
    if process.skew < -SLOW.total_seconds():
        return Said(Verdict.UNKNOWN, "its clock is behind: what it refuses now stands in the past", f"Set the clock of {process.host}.")
    if process.guard != "enforce":
        return Said(
            Verdict.ATTENTION, f"guard {process.guard}: attempts of other clients may not be seen", "Set AISOC_AIRGAP_GUARD=enforce and restart."
        )
    return Said(Verdict.OK, "watched by gate and guard")


def _target(host: str, port: int) -> str:
    return f"{host}:{port}" if port else host


# ── The trail fits ───────────────────────────────────────────────────────────────────────────────────────────────────
def trail_verified(seen: Look) -> Finding:
    """The signed heads and the newest rows now, or every row; and what the latest walk over every row found."""
    key = deployment_key()
    problems = list(islice(chain.verify({key.fingerprint: key.public}, newest=seen.rows), MOST + 1))
    rows = chain.count_rows()
    whole = seen.rows is None or rows <= seen.rows
    if not chain.position() and not problems:
        return Finding(Verdict.OK, "There are no rows yet, and nothing says that there were.")
    what = f"all {rows:,} rows" if whole else f"the newest {seen.rows:,} of {rows:,} rows"
    if problems:
        days = sorted({str(one.day) for one in problems if one.day is not None}) or ["no day: a row outside the chain"]
        evidence = f"The trail does not verify: {', '.join(days)}."
        return Finding(Verdict.FAILING, evidence, TAMPERED, tuple(problem_text(one) for one in problems[:MOST]))
    evidence = f"Every day's head carries the signature of this deployment's key, and {what} fit."
    if whole:
        return Finding(Verdict.OK, evidence)
    walked = TrailCheck.objects.order_by("-at").first()
    verdict, said, step = _walked(walked, seen.now)
    return Finding(worst([verdict]), f"{evidence} {said}", step, tuple(walked.problems)[:MOST] if walked and verdict is Verdict.FAILING else ())


TAMPERED: Final = (
    "Keep the database as it is, compare it with the log lines airgap.day_sealed and with earlier reports, and find out who wrote to it."
)


def _walked(check: TrailCheck | None, now: datetime) -> tuple[Verdict, str, str]:
    step = "Run manage.py airgap_audit, which walks every row."
    if check is None:
        return Verdict.ATTENTION, "No walk over every row was made yet.", step
    when = f"{check.at:%Y-%m-%d %H:%M} UTC"
    if check.problems:
        return Verdict.FAILING, f"The walk over every row on {when} found what does not fit.", TAMPERED
    if now - check.at > CHECK_DUE:
        return Verdict.ATTENTION, f"The last walk over every row was on {when}.", step
    return Verdict.OK, f"The walk over all {check.rows:,} rows on {when} found nothing.", ""


def problem_text(broken: chain.Broken) -> str:
    day = f"{broken.day}" if broken.day is not None else "no day"
    return f"{day}, {f'row {broken.position}' if broken.position else 'head'}: {broken.what}"


TRAIL_ITEMS: Final = (
    ChecklistItem("no_blocks", "No airgap.block in steady state", no_blocks, order=7),
    ChecklistItem("trail_verified", "The trail is whole: no row was altered or removed", trail_verified, order=11),
)
