"""The checklist's item on feeds: every feed that is polled has succeeded within three of its periods. And what is told of those that have not."""

from collections.abc import Iterator
from typing import Final

from airgap.announce import Announcement, Kind, Severity
from airgap.checklist import ChecklistItem, Finding
from airgap.checklist import Verdict as Result
from threatintel.snapshot import FeedSnapshot, Verdict, feeds_snapshot


def feeds_fresh() -> Finding:
    """Refused feeds are the gate at work, and unconfigured ones nobody waits for: both are told and fail nothing."""
    seen = feeds_snapshot()
    polled = [feed for feed in seen if feed.state not in (Verdict.OFF, Verdict.REFUSED)]
    refused = [feed.name for feed in seen if feed.state is Verdict.REFUSED]
    worst = next((verdict for verdict in _WORST_FIRST if any(feed.state is verdict for feed in polled)), Verdict.OK)
    told = [_told(feed) for feed in polled] or ["No feed is polled."]
    if refused:
        told.append(f"Refused by the gate: {', '.join(refused)}.")
    return Finding(Result(worst.value), " ".join(told), "" if worst is Verdict.OK else "Open Feeds: each says its reason and what to do.")


def stale_feeds() -> Iterator[Announcement]:
    """Each feed whose data is older than three of its periods, or that never succeeded."""
    for feed in feeds_snapshot():
        if feed.state is Verdict.FAILING:
            yield Announcement(Kind.FEED_STALE, feed.name, f"Feed {feed.title} is stale", f"{feed.reason} {_told(feed)}".strip(), Severity.MEDIUM)


def _told(feed: FeedSnapshot) -> str:
    success = f"last success {feed.last_success:%Y-%m-%d %H:%M} UTC" if feed.last_success else "no success yet"
    data = f", data of {feed.data_date:%Y-%m-%d %H:%M} UTC" if feed.data_date else ""
    return f"{feed.name}: {feed.state.value}, {success}{data}."


_WORST_FIRST: Final = (Verdict.FAILING, Verdict.UNKNOWN, Verdict.ATTENTION)
FEEDS_FRESH: Final = ChecklistItem("feeds_fresh", "Every feed is fresh", feeds_fresh)
