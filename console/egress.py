"""What the page "Blocked egress" shows: the trail of a span as numbers, chart, groups and events, and who vouches for it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from django.utils import timezone

from airgap import clock
from airgap.active import active_policy
from airgap.events_api import PAGE
from airgap.fleet import open_until
from airgap.policy import Rule
from airgap.queries import SPANS, Choices, Group, Overview, attempts_in, attempts_lately, choices, events, overview
from airgap.snapshot import airgap_snapshot
from console.advice import Advice, Target, advise, host_port, why
from console.chart import Chart, Row, chart, step_words
from console.database import DATABASE_AWAY
from console.egress_filter import Asked, cursor_of
from console.egress_verdict import egress_banner
from console.fleet import Fleet, read_fleet
from console.marks import Marks, read_marks
from console.process import ProcessSnapshot, Witness, process_snapshot, witness
from console.verdict import Banner
from threatintel.registry import feeds

API: Final = "/api/v1/airgap/events"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Attempts of one caller to one host, why, and what to do. `listed`: on the allowlist of this process by now; `key` is stable."""

    key: str
    group: Group
    title: str
    where: str
    why: str
    advice: Advice
    listed: bool

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self.group), "why": self.why, "what_to_do": list(self.advice.steps), "allowlist_entry": self.advice.entry or None}


@dataclass(frozen=True, slots=True)
class Select:
    """One filter with its words; the one that was asked for is among them even when it no longer occurs."""

    name: str
    asked: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trail:
    """What the database gave. `attempts`: all of the span, without the filter. `open_until`: a process ran without the air gap in the span.

    `older`: the cursor of the next page of events, "" on the last.
    """

    overview: Overview
    attempts: int
    open_until: datetime | None
    marks: dict[datetime, Marks]
    chart: Chart
    groups: tuple[GroupRow, ...]
    events: tuple[dict[str, Any], ...]
    older: str
    choices: Choices


@dataclass(frozen=True, slots=True)
class EgressPage:
    """One answer of the page, in HTML, Markdown and JSON alike. `trail` is None when the database is away."""

    banner: Banner
    computed_at: datetime
    now: datetime
    witness: Witness
    asked: Asked
    fleet: Fleet
    trail: Trail | None

    @property
    def database_away(self) -> bool:
        return self.trail is None

    @property
    def since(self) -> datetime:
        return self.asked.span.since(self.now)

    @property
    def step(self) -> str:
        return step_words(self.asked.span.step)

    @property
    def busy(self) -> tuple[Row, ...]:
        """The steps in which something happened."""
        return tuple(row for row in self.trail.chart.rows if row.attempts or row.marks) if self.trail else ()

    @property
    def spans(self) -> Sequence[Any]:
        return SPANS

    @property
    def selects(self) -> tuple[Select, ...]:
        words = {name: getattr(self.trail.choices, name) if self.trail else () for name in ("node", "purpose", "rule", "tenant")}
        asked = {name: self.asked.words.get(name, "") for name in words}
        return tuple(Select(name, asked[name], tuple(sorted({*words[name], asked[name]} - {""}))) for name in words)

    @property
    def csv(self) -> str:
        return f"{API}.csv{self.asked.api_query(self.now)}"

    @property
    def jsonl(self) -> str:
        return f"{API}.jsonl{self.asked.api_query(self.now)}"

    @property
    def api(self) -> str:
        return f"{API}{self.asked.api_query(self.now)}"

    @property
    def older(self) -> str:
        return self.asked.query(cursor=self.trail.older) if self.trail and self.trail.older else ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.banner.verdict,
            "sentence": self.banner.sentence,
            "points": list(self.banner.points),
            "problems": list(self.asked.problems),
            "computed_at": self.computed_at,
            "seen_by": asdict(self.witness),
            "processes": self.fleet.tally,
            "filter": {"span": self.asked.span.word, "since": self.since, **self.asked.words},
            **(self._numbers(self.trail) if self.trail else {}),
        }

    def _numbers(self, trail: Trail) -> dict[str, Any]:
        bars = [
            {"start": begin, "attempts": count, "starts": found.starts, "policy_changes": found.changes}
            for begin, count in trail.overview.bars
            for found in (trail.marks.get(begin, Marks()),)
        ]
        return {
            "attempts": trail.overview.attempts,
            "hosts": trail.overview.hosts,
            "callers": trail.overview.callers,
            "bars": bars,
            "groups": [row.as_dict() for row in trail.groups],
            "more_groups": trail.overview.more_groups,
            "events": list(trail.events),
            "more_events": bool(trail.older),
        }


def blocked_lately() -> int | None:
    """Attempts of the last 24 hours: one sum over the totals. None when the database is away."""
    try:
        return attempts_lately(timezone.now())
    except DATABASE_AWAY:
        return None


def egress_page(asked: Asked) -> EgressPage:
    """The page with the database, or, when that is away, what this process knows alone."""
    this = process_snapshot()
    fleet = read_fleet(this).on(asked.words.get("node", ""))
    try:
        now = clock.now()
        trail: Trail | None = read_trail(asked, now)
    except DATABASE_AWAY:
        now, trail = timezone.now(), None
    return EgressPage(
        banner=_banner(asked, trail, fleet, this),
        computed_at=timezone.now(),
        now=now,
        witness=witness(),
        asked=asked,
        fleet=fleet,
        trail=trail,
    )


def read_trail(asked: Asked, now: datetime) -> Trail:
    """Raises django.db.Error when the database is away."""
    wanted = asked.wanted(now)
    found = overview(wanted, asked.span, now)
    marks = read_marks(asked.span, now, asked.words.get("node", ""))
    listed = list(events(wanted, asked.after, PAGE + 1))
    return Trail(
        overview=found,
        attempts=attempts_in(asked.span, now) if asked.words else found.attempts,
        open_until=open_until(asked.span.since(now)),
        marks=marks,
        chart=chart(asked.span, found.bars, marks),
        groups=group_rows(found.groups),
        events=tuple(event for _position, event in listed[:PAGE]),
        older=cursor_of(listed[PAGE - 1][0]) if len(listed) > PAGE else "",
        choices=choices(asked.span, now),
    )


def group_rows(groups: Iterable[Group]) -> tuple[GroupRow, ...]:
    variables = {spec.name: tuple(name for name in spec.variables if name.endswith("_URL")) for spec in feeds()}
    return tuple(_group_row(group, variables) for group in groups)


def _group_row(group: Group, variables: dict[str, tuple[str, ...]]) -> GroupRow:
    target = Target(group.host, group.port, group.rule, group.layer, group.purpose, group.tenant, group.caller)
    advice = advise(target, variables)
    return GroupRow(
        key=sha256(repr(target).encode()).hexdigest()[:12],
        group=group,
        title=host_port(group.host, group.port),
        where=group.where or "several",
        why=why(target, group.reason),
        advice=advice,
        listed=bool(advice.entry) and active_policy().decide_host(group.host, group.port).rule is Rule.ALLOWLISTED,
    )


def _banner(asked: Asked, trail: Trail | None, fleet: Fleet, this: ProcessSnapshot) -> Banner:
    return egress_banner(
        trail.overview if trail else None,
        in_all=trail.attempts if trail else 0,
        open_until=trail.open_until if trail else None,
        lately=asked.lately,
        filtered=asked.described,
        airgapped=airgap_snapshot().enabled,
        guard=this.guard,
        spool=this.checks.get("spool", ""),
        fleet=fleet,
    )
