"""The feeds as pages, API and health show them: state in one word, with its reason."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Max, Q
from django.utils import timezone

from airgap.active import active_policy
from threatintel.models import FeedCursor, FeedRun
from threatintel.registry import feeds
from threatintel.runs import IMPORT
from threatintel.schedule import RefusedFeed, feed_host, plan
from threatintel.specs import FeedSpec

STALE_PERIODS = 3
State = FeedRun.State


class Verdict(StrEnum):
    """The six words of every page."""

    OK = "OK"
    ATTENTION = "ATTENTION"
    FAILING = "FAILING"
    REFUSED = "REFUSED"
    OFF = "OFF"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class FeedSnapshot:
    """CONTRACTS.md 2.7, a feed. Times are aware or None; every_seconds is the poll period."""

    name: str
    title: str
    kind: str
    state: Verdict
    reason: str
    rule: str | None
    host: str | None
    every_seconds: int
    last_success: datetime | None
    last_attempt: datetime | None
    next_run: datetime | None
    data_date: datetime | None
    indicators: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def registration_snapshot() -> dict[str, Any]:
    """What beat registers and what the gate refuses, from settings alone: no database."""
    split = plan(feeds(), active_policy())
    return {
        "registered": [spec.name for spec in split.beat],
        "refused": [{"name": one.name, "host": one.host, "rule": one.rule.value, "reason": one.reason} for one in split.refused],
    }


def feeds_snapshot() -> list[FeedSnapshot]:
    """Every feed with its state, refused and unconfigured ones too."""
    refused = {one.name: one for one in plan(feeds(), active_policy()).refused}
    cursors = {cursor.feed: cursor for cursor in FeedCursor.objects.all()}
    return [_snapshot(spec, refused.get(spec.name), cursors.get(spec.name)) for spec in feeds()]


def recent_runs(feed: str, limit: int = 20) -> list[FeedRun]:
    """The feed's latest runs, newest first."""
    return list(FeedRun.objects.filter(feed=feed).order_by("-id")[:limit])


def _snapshot(spec: FeedSpec, refused: RefusedFeed | None, cursor: FeedCursor | None) -> FeedSnapshot:
    runs = FeedRun.objects.filter(feed=spec.name)
    times = runs.aggregate(success=Max("finished_at", filter=Q(state=State.OK)), attempt=Max("started_at"))
    latest = runs.filter(started_at__isnull=False).order_by("-started_at").first()
    state, reason, rule = _verdict(spec, refused, latest, times["success"])
    scheduled = spec.url and refused is None
    return FeedSnapshot(
        name=spec.name,
        title=spec.title,
        kind=spec.kind,
        state=state,
        reason=reason,
        rule=rule or None,
        host=feed_host(spec) or None,
        every_seconds=int(spec.every.total_seconds()),
        last_success=times["success"],
        last_attempt=times["attempt"],
        next_run=_next_run(spec) if scheduled else None,
        data_date=cursor.data_date if cursor else None,
        indicators=cursor.live if cursor else 0,
    )


def _next_run(spec: FeedSpec) -> datetime | None:
    """When the scheduler comes round again: the queued run, else a period after the latest scheduled one."""
    queued = FeedRun.objects.filter(feed=spec.name, state=State.QUEUED).order_by("not_before").first()
    if queued is not None:
        return queued.not_before
    latest = FeedRun.objects.filter(feed=spec.name).exclude(slot__startswith="manual.").exclude(slot__startswith=IMPORT).order_by("-id").first()
    return latest.created_at + spec.every if latest is not None else None


def _verdict(spec: FeedSpec, refused: RefusedFeed | None, latest: FeedRun | None, success: datetime | None) -> tuple[Verdict, str, str]:
    if spec.offline and latest is not None:
        failed = latest.state in (State.FAILED, State.REFUSED)
        return (Verdict.ATTENTION, latest.reason, latest.rule) if failed else (Verdict.OK, "", "")
    if not spec.url:
        state = "Not configured, so nothing is polled; what it holds came earlier or as a file." if success is not None else "Not configured."
        return Verdict.OFF, f"{state} {spec.to_configure}".strip(), ""
    if refused is not None:
        return Verdict.REFUSED, refused.reason, refused.rule.value
    if latest is None:
        return Verdict.UNKNOWN, "Never polled yet; the first poll comes within 30 seconds of the scheduler's start.", ""
    if success is None:
        if latest.state == State.RUNNING:
            return Verdict.UNKNOWN, "The first poll is running.", ""
        return Verdict.FAILING, latest.reason, latest.rule
    age = timezone.now() - success
    failed = latest.state in (State.FAILED, State.REFUSED) or (latest.state == State.QUEUED and bool(latest.reason))
    if age > STALE_PERIODS * spec.every:
        why = latest.reason or "No poll has succeeded since."
        return Verdict.FAILING, f"The last success is {_span(age)} old, more than {STALE_PERIODS} periods. {why}", latest.rule
    if failed:
        return Verdict.ATTENTION, latest.reason, latest.rule
    return Verdict.OK, "", ""


def _span(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 1:
        return f"{int(age.total_seconds())} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
