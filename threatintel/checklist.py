"""The checklist's items on feeds: their URLs are internal or allowlisted and use TLS, and each has succeeded within three of its periods. And what is
told of those that have not.
"""

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings

from airgap.active import active_policy
from airgap.announce import Announcement, Kind, Severity
from airgap.checklist import NOT_SAID, ChecklistItem, Finding, Look, Said, everywhere
from airgap.checklist import Verdict as Result
from airgap.facts import target_fact
from airgap.fleet import Process
from airgap.readiness import Target
from threatintel.registry import feeds
from threatintel.schedule import plan
from threatintel.snapshot import FeedSnapshot, Verdict, feeds_snapshot

MOST: Final = 50  # feeds that a process tells of by name


def feeds_fact() -> dict[str, Any]:
    """The configured feeds of this process with the hosts of their URLs: those it registers, and those that the gate refuses."""
    policy = active_policy()
    split = plan(feeds(), policy)
    registered = [{"name": spec.name, **target_fact(spec.url, policy)} for spec in split.beat]
    worst_first = sorted(registered, key=lambda fact: (fact["internal"] or fact["allowed"], fact["tls"]))
    return {"registered": worst_first[:MOST], "more": max(0, len(registered) - MOST), "refused": [one.name for one in split.refused][:MOST]}


def feeds_internal(seen: Look) -> Finding:
    """A feed refused at registration is the gate at work: it is told, and its registered neighbours are judged."""
    return everywhere(seen, _internal)


def _internal(process: Process) -> Said:
    fact = process.facts.get("feeds")
    if not isinstance(fact, dict):
        return NOT_SAID
    public = [feed for feed in fact["registered"] if not feed["internal"] and not feed["allowed"]]
    count = len(fact["registered"]) + fact["more"]
    refused = f"; refused at registration: {', '.join(fact['refused'])}" if fact["refused"] else ""
    if public:
        names = ", ".join(f"{feed['name']} at {feed['host']}" for feed in public)
        step = "Point the URL of each at the mirror inside, or put its host on AISOC_AIRGAP_ALLOWLIST, and restart."
        return Said(Result.FAILING, f"{len(public)} of {count} registered feeds would leave: {names}{refused}", step)
    listed = [f"{feed['name']} at {feed['host']}" for feed in fact["registered"] if not feed["internal"]]
    allowlisted = f" (allowlisted: {', '.join(listed)})" if listed else ""
    return Said(Result.OK, f"{count} registered {'feed' if count == 1 else 'feeds'}, each internal or allowlisted{allowlisted}{refused}")


def feeds_tls(seen: Look) -> Finding:
    return everywhere(seen, _tls)


def _tls(process: Process) -> Said:
    fact = process.facts.get("feeds")
    if not isinstance(fact, dict):
        return NOT_SAID
    clear = [f"{feed['name']} at {feed['host']}" for feed in fact["registered"] if not feed["tls"]]
    if clear:
        step = "Give the mirror a certificate of the site's CA (AISOC_CA_BUNDLE) and an https URL, or accept this item with the reason."
        return Said(Result.ATTENTION, f"in clear, without TLS: {', '.join(clear)}", step)
    return Said(Result.OK, "every registered feed is fetched over TLS" if fact["registered"] else "no feed is registered")


def feeds_fresh(_seen: Look) -> Finding:
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


def targets() -> Iterator[Target]:
    """For the readiness report: the feeds, and the live provider of enrichment."""
    for spec in feeds():
        if spec.url:
            yield Target("feed", spec.name, spec.url, tuple(name for name in spec.variables if name.endswith("_URL")))
    if settings.ENV.vt_api_key:
        yield Target("enrichment", "virustotal", settings.ENV.vt_base_url, ("VT_BASE_URL",))


_WORST_FIRST: Final = (Verdict.FAILING, Verdict.UNKNOWN, Verdict.ATTENTION)
FEEDS_FRESH: Final = ChecklistItem("feeds_fresh", "Every feed is fresh", feeds_fresh, order=12)
ITEMS: Final = (
    ChecklistItem("feeds_internal", "Feed URLs are internal or allowlisted", feeds_internal, order=6),
    FEEDS_FRESH,
    ChecklistItem("feeds_tls", "Mirrors are reached over TLS", feeds_tls, order=13),
)
