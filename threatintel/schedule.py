"""Splits feeds into what beat may run and what the gate refuses. Pure: sends nothing, resolves nothing."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from airgap.hosts import Malformed, Url
from airgap.policy import EgressPolicy, Rule
from threatintel.specs import FeedSpec


@dataclass(frozen=True, slots=True)
class RefusedFeed:
    """A configured feed that is never registered, and why."""

    name: str
    host: str
    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """beat: the feeds that get a schedule entry. refused: the configured ones that do not. Unconfigured feeds are in neither."""

    beat: tuple[FeedSpec, ...]
    refused: tuple[RefusedFeed, ...]


def plan(feeds: Iterable[FeedSpec], policy: EgressPolicy) -> Plan:
    """Judge every configured feed's URL."""
    permitted: list[FeedSpec] = []
    refused: list[RefusedFeed] = []
    for spec in feeds:
        if not spec.url:
            continue
        decision = policy.decide_url(spec.url)
        if decision.allowed:
            permitted.append(spec)
        else:
            refused.append(RefusedFeed(spec.name, feed_host(spec), decision.rule, decision.reason))
    return Plan(tuple(permitted), tuple(refused))


def feed_host(spec: FeedSpec) -> str:
    """The host of a feed's URL for people to read; "" when there is none."""
    url = Url.parse(spec.url)
    return "" if isinstance(url, Malformed) else str(url.host)


def config_digest(spec: FeedSpec, policy: EgressPolicy) -> str:
    """Changes with the feed's URL or the policy: a slot of another configuration is another slot."""
    allowlist = ",".join(str(entry) for entry in policy.allowlist)
    return hashlib.sha256(f"{spec.url}\n{policy.enabled}\n{allowlist}".encode()).hexdigest()[:12]
