"""Enrichment: what the local store, the warning lists and, where the gate allows, live providers say of observables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from django.utils import timezone

from airgap.policy import Rule, classify
from threatintel.benign import BenignError, BenignLists, benign_lists
from threatintel.canonical import NotCanonical, typed
from threatintel.lookup import exactly, lookup
from threatintel.models import FeedCursor
from threatintel.providers import providers
from threatintel.providers.answers import LiveAnswer, Pair, Path, Provider, Verdict
from threatintel.queries import IndicatorView
from threatintel.specs import Tlp

BENIGN_UNREADABLE = "enrich.benign_unreadable"
MAX_ASKED_LENGTH: Final = 2048  # characters of a value that leaves this place
OPEN: Final = frozenset({Tlp.CLEAR.value, Tlp.GREEN.value})

log = structlog.stdlib.get_logger("threatintel")


@dataclass(frozen=True, slots=True)
class Enriched:
    """One observable. verdicts: of live providers; they are nobody's but the provider's word and are not stored. paths: where it stands in the alert."""

    type: str
    value: str
    matches: list[IndicatorView]
    benign_lists: list[str]
    verdicts: list[Verdict]
    paths: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "value": self.value,
            "matches": [match.as_dict() for match in self.matches],
            "benign_lists": self.benign_lists,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "paths": self.paths,
        }


@dataclass(frozen=True, slots=True)
class Enrichment:
    """CONTRACTS.md 2.7. data_age: seconds of each feed's data by its own date, else since it last changed. benign: version and state of the lists."""

    observables: list[Enriched]
    providers: list[dict[str, Any]]
    data_age: dict[str, int]
    benign: dict[str, Any]
    cut: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "observables": [observable.as_dict() for observable in self.observables],
            "providers": self.providers,
            "data_age": self.data_age,
            "benign": self.benign,
            "cut": self.cut,
        }


def enrich(paths: Mapping[Pair, Sequence[str]], cut: Sequence[str] = ()) -> Enrichment:
    """What is known of each pair (type, canonical value), in the order given. cut: what the caller left out, in sentences."""
    known = lookup(paths)
    lists, benign = _benign()
    named = {pair: lists.naming(*pair) if lists is not None else [] for pair in paths}
    asked = [(provider, _ask(provider, named)) for provider in providers()]
    return Enrichment(
        observables=[
            Enriched(*pair, known.get(pair, []), named[pair], [answer.verdicts[pair] for _, answer in asked if pair in answer.verdicts], list(where))
            for pair, where in paths.items()
        ],
        providers=[{"name": provider.name, "path": answer.path.value, "reason": answer.reason, "rule": answer.rule} for provider, answer in asked],
        data_age=data_age(),
        benign=benign,
        cut=list(cut),
    )


def data_age() -> dict[str, int]:
    """Seconds by feed, of every feed that has ever brought data."""
    now = timezone.now()
    held = FeedCursor.objects.order_by("feed").values_list("feed", "data_date", "moved_at")
    return {feed: _seconds(now, then) for feed, own, moved in held if (then := own or moved) is not None}


def _seconds(now: datetime, then: datetime) -> int:
    return max(0, int((now - then).total_seconds()))


def _benign() -> tuple[BenignLists | None, dict[str, Any]]:
    """The lists, and what the answer says of them: without them it is whole but for their names."""
    try:
        lists = benign_lists()
    except BenignError as error:
        log.warning(BENIGN_UNREADABLE, reason=str(error))
        return None, {"version": None, "lists": 0, "reason": str(error)}
    return lists, {"version": lists.version, "lists": len(lists.lists), "reason": ""}


def _ask(provider: Provider, named: Mapping[Pair, list[str]]) -> LiveAnswer:
    if not provider.url:
        return LiveAnswer(Path.FALLBACK, f"Not configured. {provider.to_configure}".strip())
    outside = [pair for pair in named if pair[0] in provider.types and may_leave(pair)]
    withheld = restricted(outside)
    # What the lists do not know first: the values that one request may ask about are few.
    pairs = sorted((pair for pair in outside if pair not in withheld), key=lambda pair: bool(named[pair]))
    if not pairs:
        return LiveAnswer(Path.FALLBACK, "Nothing here is to be asked about: no value of its types, or only internal and restricted ones.")
    return provider.ask(provider, pairs)


def may_leave(pair: Pair) -> bool:
    """Whether a value may by itself be shown to somebody outside: nothing that names an internal host or a user."""
    type, value = pair
    if len(value) > MAX_ASKED_LENGTH or ("/" in value and type in ("ipv4-addr", "ipv6-addr")):
        return False
    if type in ("ipv4-addr", "ipv6-addr", "domain-name"):
        return _is_public(value)
    if type == "url":
        parts = urlsplit(value)
        return "@" not in parts.netloc and _is_public(parts.hostname or "")
    return True


def restricted(pairs: Sequence[Pair]) -> set[Pair]:
    """Those that any source, of whatever status and as context too, marks as more than TLP:GREEN; a URL also by its host, which it shows."""
    shown = {pair: {pair, *_host_of(pair)} for pair in pairs}
    marked = {(one.type, one.value) for one in exactly(set().union(*shown.values())) if one.tlp not in OPEN}
    return {pair for pair, parts in shown.items() if parts & marked}


def _host_of(pair: Pair) -> set[Pair]:
    try:
        return {typed("domain-name", urlsplit(pair[1]).hostname or "")} if pair[0] == "url" else set()
    except NotCanonical:
        return set()


def _is_public(host: str) -> bool:
    return classify(host) is Rule.PUBLIC
