"""What the page of channels shows: each channel with the gate's verdict and what came of its last delivery, and the deliveries one by one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from actions.models import Delivery
from actions.registry import Channel, channels, notifiers
from actions.snapshot import ChannelSnapshot, channels_snapshot
from console.advice import Target, allowlist_entry
from console.database import DATABASE_AWAY
from console.process import Witness, witness
from console.provenance import Origin, origin_of
from console.verdict import Banner
from console.wording import counted
from threatintel.snapshot import Verdict

AWAY: Final = "The database is away: deliveries are kept there. What the settings alone say is shown."
DELIVERIES: Final = 25  # a page
PATIENCE: Final = timedelta(minutes=1)  # in which a worker takes what is new
State = Delivery.State
WORDS: Final[Mapping[str, Verdict]] = {
    State.QUEUED: Verdict.UNKNOWN,
    State.SENT: Verdict.OK,
    State.FAILED: Verdict.FAILING,
    State.REFUSED: Verdict.REFUSED,
}


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel with what opens beneath it. entry: for AISOC_AIRGAP_ALLOWLIST, "" where none would let it through."""

    snapshot: ChannelSnapshot
    state: Verdict
    why: str
    variables: tuple[Origin, ...]
    entry: str

    @property
    def channel(self) -> Channel:
        return self.snapshot.channel

    @property
    def sent(self) -> int:
        return self.snapshot.counts.get(State.SENT, 0)

    @property
    def others(self) -> tuple[str, ...]:
        """How many are in the other states, where there are any."""
        counts = self.snapshot.counts
        words = ((State.QUEUED, "waiting"), (State.FAILED, "failed"), (State.REFUSED, "refused"))
        return tuple(f"{counts[state]:,} {word}" for state, word in words if counts.get(state))

    @property
    def can_test(self) -> bool:
        return self.channel.decision is not None and self.channel.decision.allowed


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader asked for; unknown words are no filter. before: a delivery, 0 for none."""

    channel: str = ""
    state: str = ""
    before: int = 0

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Filter":
        channel, state, before = query.get("channel", ""), query.get("state", ""), query.get("before", "")
        known = before.isascii() and before.isdigit() and len(before) < 19
        return cls(
            channel if channel in {row.name for row in notifiers()} else "", state if state in State.values else "", int(before) if known else 0
        )

    def __bool__(self) -> bool:
        return bool(self.channel or self.state)

    def deliveries(self) -> list[Delivery]:
        """One page of them, and one more when there are older ones."""
        found = Delivery.objects.order_by("-pk")
        if self.channel:
            found = found.filter(channel=self.channel)
        if self.state:
            found = found.filter(state=self.state)
        if self.before:
            found = found.filter(pk__lt=self.before)
        return list(found[: DELIVERIES + 1])


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as a row. next_attempt: None unless it waits for one."""

    row: Delivery
    verdict: Verdict
    title: str
    next_attempt: datetime | None


@dataclass(frozen=True, slots=True)
class Told:
    """What the product tells by itself, and where. channel: None when it tells nothing."""

    channel: Channel | None
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChannelsPage:
    """One answer of the page. older: the delivery after which the next page begins, None on the last."""

    banner: Banner
    computed_at: datetime
    witness: Witness
    rows: tuple[ChannelRow, ...]
    told: Told
    filter: Filter
    deliveries: tuple[DeliveryRow, ...]
    older: int | None
    database_away: bool

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.banner.verdict,
            "sentence": self.banner.sentence,
            "points": list(self.banner.points),
            "computed_at": self.computed_at,
            "seen_by": asdict(self.witness),
            "told_by_itself": {"channel": self.told.channel.name if self.told.channel else None, "events": list(self.told.kinds)},
            "results": [{**row.snapshot.as_dict(), "state": row.state, "why": row.why} for row in self.rows],
            "deliveries": [_as_dict(one) for one in self.deliveries],
        }


def channels_page(wanted: Filter) -> ChannelsPage:
    """The page with the database, or, when that is away, with what the settings alone say."""
    now = timezone.now()
    try:
        rows, found, away = tuple(_row(one, now) for one in channels_snapshot()), wanted.deliveries(), False
    except DATABASE_AWAY:
        rows, found, away = tuple(_row(ChannelSnapshot(one, None, {}), now, away=True) for one in channels()), [], True
    titles = {row.channel.name: row.channel.title for row in rows}
    told = _told(rows)
    return ChannelsPage(
        banner=channels_banner(rows, told, missing=(AWAY,) if away else ()),
        computed_at=now,
        witness=witness(),
        rows=rows,
        told=told,
        filter=wanted,
        deliveries=tuple(_delivery(one, titles) for one in found[:DELIVERIES]),
        older=found[DELIVERIES - 1].pk if len(found) > DELIVERIES else None,
        database_away=away,
    )


def channels_banner(rows: tuple[ChannelRow, ...], told: Told, *, missing: tuple[str, ...] = ()) -> Banner:
    """The worst state of the channels that may send. A refused one is the gate at work, unless the product itself would tell things there."""
    if missing:
        return Banner(Verdict.UNKNOWN, "The state of the channels could not be computed.", missing)
    by_state = {state: sum(row.state is state for row in rows) for state in Verdict}
    configured = len(rows) - by_state[Verdict.OFF]
    lost = _lost(told)
    if not configured and not lost:
        return Banner(Verdict.OFF, "No channel is configured: nobody is told anything. Set the variables of a channel below and restart.")
    troubled = by_state[Verdict.ATTENTION] + by_state[Verdict.FAILING]
    attention = f", {troubled} of them {'needs' if troubled == 1 else 'need'} attention" if troubled else ""
    sentence = (
        f"{counted(configured, 'channel')} configured{attention} · {by_state[Verdict.REFUSED]} refused by the gate · {by_state[Verdict.OFF]} off."
    )
    order = (Verdict.FAILING, Verdict.ATTENTION, Verdict.UNKNOWN, Verdict.OK)
    worst = next((state for state in order if by_state[state]), Verdict.REFUSED)
    return Banner(Verdict.FAILING if lost else worst, sentence, lost)


def channel_state(snapshot: ChannelSnapshot, now: datetime) -> tuple[Verdict, str]:
    """The configuration first, then the gate, then what the last delivery met."""
    channel, last = snapshot.channel, snapshot.last
    if channel.decision is None:
        return Verdict.OFF, channel.reason
    if not channel.decision.allowed:
        return Verdict.REFUSED, channel.reason
    if last is None:
        return Verdict.UNKNOWN, "Nothing was sent here yet. A test shows whether it arrives."
    if last.state == State.QUEUED and not last.attempts:
        if now - last.created_at > PATIENCE:
            return Verdict.ATTENTION, "A delivery waits and no worker takes it: does one run?"
        return Verdict.UNKNOWN, "A delivery waits for the worker; reload in a moment."
    if last.state == State.QUEUED:
        return Verdict.ATTENTION, f"It is tried again. {last.reason}".strip()
    return WORDS[last.state], last.reason


def _row(snapshot: ChannelSnapshot, now: datetime, *, away: bool = False) -> ChannelRow:
    channel = snapshot.channel
    state, why = channel_state(snapshot, now)
    if away and state is Verdict.UNKNOWN:
        why = "Its deliveries are kept in the database, which is away."
    variables = next(row.variables for row in notifiers() if row.name == channel.name)
    entry = ""
    if channel.decision is not None and not channel.decision.allowed:
        entry = allowlist_entry(Target(channel.host or "(malformed)", channel.port, channel.decision.rule, "http"))
    return ChannelRow(snapshot, state, why, tuple(origin_of(name) for name in variables), entry)


def _told(rows: tuple[ChannelRow, ...]) -> Told:
    env = settings.ENV
    channel = next((row.channel for row in rows if row.channel.name == env.notify_channel), None)
    return Told(channel, tuple(env.notify_events) if channel else ())


def _lost(told: Told) -> tuple[str, ...]:
    """Why what the product tells arrives nowhere, if so."""
    if told.channel is None or (told.channel.decision is not None and told.channel.decision.allowed):
        return ()
    what = "is refused by the gate" if told.channel.configured else "is not configured"
    return (f"AISOC_NOTIFY_CHANNEL names {told.channel.name}, which {what}: what the product itself tells arrives nowhere.",)


def _delivery(row: Delivery, titles: Mapping[str, str]) -> DeliveryRow:
    waits = row.state == State.QUEUED
    verdict = Verdict.ATTENTION if waits and row.attempts else WORDS[row.state]
    return DeliveryRow(row, verdict, titles.get(row.channel, row.channel), row.not_before if waits and row.attempts else None)


def _as_dict(one: DeliveryRow) -> dict[str, Any]:
    names = ("channel", "title", "severity", "origin", "state", "attempts", "reason", "rule", "created_at", "updated_at")
    return {"delivery": one.row.pk, **{name: getattr(one.row, name) for name in names}, "next_attempt": one.next_attempt}
