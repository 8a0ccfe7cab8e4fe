"""What the pages of feeds show: the snapshots of the API, with runs, counts by day, variables and the gate's decision a feed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from airgap.snapshot import UrlDecision, explain_url
from console.advice import Target, allowlist_entry
from console.counts import all_feeds, one_feed
from console.database import DATABASE_AWAY
from console.day_chart import DayChart
from console.process import Witness, witness
from console.provenance import Origin, origin_of
from console.push_row import PushRow, push_row
from console.verdict import Banner, feeds_banner
from threatintel.beat import LEASE_NAME
from threatintel.models import FeedRun, SchedulerLease
from threatintel.offline import KINDS
from threatintel.registry import feed_named, feeds
from threatintel.snapshot import FeedSnapshot, Verdict, feeds_snapshot, recent_runs, registration_snapshot
from threatintel.specs import FeedSpec

AWAY = "The database is away: runs, times and indicator counts are kept there. What the settings alone say is shown."
RUNS = 25  # a page of one feed
STATE_AWAY = "The state of this feed is kept in the database, which is away."


@dataclass(frozen=True, slots=True)
class Run:
    """One poll as a row."""

    started_at: datetime | None
    took: timedelta | None
    state: str
    fetched: int
    added: int
    changed: int
    retired: int
    skipped: int
    skips: tuple[tuple[str, int], ...]
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class ToDo:
    """What to do about a refused feed. entry: for AISOC_AIRGAP_ALLOWLIST, "" where none would let it through; kind: of file to import instead, or ""."""

    variables: tuple[str, ...]
    entry: str
    kind: str


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A feed with what opens beneath it. `added` is of the last successful poll, None when there was none."""

    snapshot: FeedSnapshot
    variables: tuple[Origin, ...]
    decision: UrlDecision | None
    runs: tuple[Run, ...]
    added: int | None

    @property
    def can_poll(self) -> bool:
        return self.decision is not None and self.decision.allowed

    @property
    def runs_caption(self) -> str:
        title, runs = self.snapshot.title, len(self.runs)
        return f"The only run of {title} so far" if runs == 1 else f"Last {runs} runs of {title}, newest first"

    @property
    def to_do(self) -> ToDo | None:
        """None unless the gate refuses the feed."""
        if self.decision is None or self.decision.allowed:
            return None
        target = Target(self.decision.host or "(malformed)", self.decision.port, self.decision.rule, "http")
        names = tuple(origin.variable for origin in self.variables if origin.variable.endswith("_URL"))
        return ToDo(names, allowlist_entry(target), self.snapshot.kind if self.snapshot.kind in KINDS else "")


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The holder of the scheduler's lease. Not `running` when the lease has passed."""

    holder: str
    running: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader asked for; an unknown state is no filter."""

    state: str = ""
    text: str = ""

    @classmethod
    def read(cls, state: str, text: str) -> "Filter":
        return cls(state if state in set(Verdict) else "", text.strip()[:200])

    def __bool__(self) -> bool:
        return bool(self.state or self.text)

    def covers(self, feed: FeedSnapshot) -> bool:
        haystack = " ".join((feed.name, feed.title, feed.kind, feed.host or "", feed.reason)).lower()
        return (not self.state or feed.state == self.state) and self.text.lower() in haystack


@dataclass(frozen=True, slots=True)
class FeedsPage:
    """One answer of the page. `rows` passed the filter; `counts` are of all feeds."""

    banner: Banner
    computed_at: datetime
    witness: Witness
    rows: tuple[FeedRow, ...]
    counts: dict[Verdict, int]
    filter: Filter
    scheduler: Scheduler | None
    database_away: bool
    push: PushRow | None
    chart: DayChart | None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.banner.verdict,
            "sentence": self.banner.sentence,
            "points": list(self.banner.points),
            "computed_at": self.computed_at,
            "seen_by": asdict(self.witness),
            "results": [self._result(row) for row in self.rows],
        }

    def _result(self, row: FeedRow) -> dict[str, Any]:
        unknown = {"indicators": None} if self.database_away else {}
        return {**row.snapshot.as_dict(), **unknown, "runs": [{**asdict(run), "skips": dict(run.skips)} for run in row.runs]}


def feeds_page(wanted: Filter) -> FeedsPage:
    """The page with the database, or, when that is away, with what the settings alone say."""
    try:
        snapshots: Sequence[FeedSnapshot] = feeds_snapshot()
        runs = {feed.name: recent_runs(feed.name) for feed in snapshots}
        scheduler, push, chart = scheduler_now(), None if wanted else push_row(), None if wanted else all_feeds()
        away = False
    except DATABASE_AWAY:
        snapshots, runs, scheduler, push, chart, away = registered_only(), {}, None, None, None, True
    specs = {spec.name: spec for spec in feeds()}
    return FeedsPage(
        banner=feeds_banner(snapshots, missing=(AWAY,) if away else ()),
        computed_at=timezone.now(),
        witness=witness(),
        rows=tuple(feed_row(feed, specs[feed.name], runs.get(feed.name, [])) for feed in snapshots if wanted.covers(feed)),
        counts={state: sum(feed.state is state for feed in snapshots) for state in Verdict},
        filter=wanted,
        scheduler=scheduler,
        database_away=away,
        push=push,
        chart=chart,
    )


@dataclass(frozen=True, slots=True)
class FeedPage:
    """One feed alone. `row.runs` is one page of them; older: the run after which the next page begins, None on the last."""

    computed_at: datetime
    witness: Witness
    row: FeedRow
    before: int | None
    older: int | None
    chart: DayChart | None
    problems: tuple[str, ...]
    database_away: bool = False
    filter: Filter = Filter()


def feed_page(name: str, before_text: str) -> FeedPage | None:
    """None when there is no such feed. Raises django.db.Error when the database is away."""
    snapshot = next((one for one in feeds_snapshot() if one.name == name), None)
    spec = feed_named(name)
    if snapshot is None or spec is None:
        return None
    known = before_text.isascii() and before_text.isdigit() and 0 < int(before_text[:19]) < 2**62
    before = int(before_text[:19]) if known else None
    found = FeedRun.objects.filter(feed=name)
    runs = list((found.filter(pk__lt=before) if before else found).order_by("-id")[: RUNS + 1])
    return FeedPage(
        computed_at=timezone.now(),
        witness=witness(),
        row=feed_row(snapshot, spec, runs[:RUNS]),
        before=before,
        older=runs[RUNS - 1].pk if len(runs) > RUNS else None,
        chart=one_feed(name, spec.title),
        problems=("before: this is no run of this feed. The latest runs are shown.",) if before_text and not known else (),
    )


def feed_row(feed: FeedSnapshot, spec: FeedSpec, runs: Sequence[FeedRun]) -> FeedRow:
    return FeedRow(
        snapshot=feed,
        variables=tuple(origin_of(name) for name in spec.variables),
        decision=explain_url(spec.url) if spec.url else None,
        runs=tuple(_run(run) for run in runs),
        added=next((run.added for run in runs if run.state == FeedRun.State.OK), None),
    )


def registered_only() -> list[FeedSnapshot]:
    """Every feed as far as the settings say: refused, off, or registered with a state that nobody can tell now."""
    refused = {one["name"]: one for one in registration_snapshot()["refused"]}
    return [_without_database(spec, refused.get(spec.name)) for spec in feeds()]


def scheduler_now() -> Scheduler | None:
    """Who holds the scheduler's lease; None when no scheduler has ever started."""
    lease = SchedulerLease.objects.filter(name=LEASE_NAME).first()
    if lease is None or not lease.holder:
        return None
    return Scheduler(lease.holder, running=lease.expires_at is not None and lease.expires_at >= timezone.now())


def _run(run: FeedRun) -> Run:
    took = run.finished_at - run.started_at if run.finished_at and run.started_at and run.finished_at >= run.started_at else None
    skips = tuple(sorted(((str(reason), int(times)) for reason, times in run.skips.items()), key=lambda one: -one[1]))
    return Run(run.started_at, took, run.state, run.fetched, run.added, run.changed, run.retired, run.skipped, skips, run.reason, run.source)


def _without_database(spec: FeedSpec, refused: dict[str, Any] | None) -> FeedSnapshot:
    decision = explain_url(spec.url) if spec.url else None
    if decision is None:
        state, reason = Verdict.OFF, f"Not configured. {spec.to_configure}".strip()
    elif refused is not None:
        state, reason = Verdict.REFUSED, refused["reason"]
    else:
        state, reason = Verdict.UNKNOWN, STATE_AWAY
    return FeedSnapshot(
        name=spec.name,
        title=spec.title,
        kind=spec.kind,
        state=state,
        reason=reason,
        rule=refused["rule"] if refused else None,
        host=decision.host if decision else None,
        every_seconds=int(spec.every.total_seconds()),
        last_success=None,
        last_attempt=None,
        next_run=None,
        data_date=None,
        indicators=0,
    )
