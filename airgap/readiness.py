"""What the air gap would refuse if it were on: the targets that the settings name, told by the apps that know them, and those contacted lately.

Asks the policy alone: nothing is sent, resolved or recorded.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import Error as DatabaseError

from airgap.active import active_policy
from airgap.contacts import sealed
from airgap.models import Contact
from airgap.policy import EgressPolicy, allowlist_entry
from airgap.segments import OTHER
from airgap.snapshot import explain_url

CONTACTED: Final = "contacted"
MOST: Final = 500  # contacted targets that are told


@dataclass(frozen=True, slots=True)
class Target:
    """A host that something in the deployment would turn to. kind: `feed`, `llm`, `setting`, …; name: which of them."""

    kind: str
    name: str
    url: str  # asked of the policy, never shown
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WouldRefuse:
    """One target that would be refused. allowlist: the entry that would permit it, "" where none would. count: of clients that turned to it."""

    kind: str
    name: str
    host: str
    port: int | None
    rule: str
    reason: str
    allowlist: str
    variables: tuple[str, ...] = ()
    count: int | None = None
    last_seen: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "variables": list(self.variables)}


@dataclass(frozen=True, slots=True)
class Readiness:
    """`checked`: targets looked at; `results`: those that would be (or, with the air gap on, are) refused. missing: what could not be read."""

    enabled: bool
    checked: int
    results: tuple[WouldRefuse, ...]
    missing: str = ""

    @property
    def sentence(self) -> str:
        if self.missing:
            return self.missing
        verb = "is refused" if self.enabled else "would be refused"
        verbs = "are refused" if self.enabled else "would be refused"
        count = len(self.results)
        if not count:
            return f"Nothing {verb}: {self.checked} targets were looked at."
        return f"{count} of {self.checked} targets {verb if count == 1 else verbs}."

    def as_dict(self) -> dict[str, Any]:
        return {
            "enabled": self.enabled,
            "sentence": self.sentence,
            "checked": self.checked,
            "results": [one.as_dict() for one in self.results],
            "next": None,
        }


Contributor = Callable[[], Iterable[Target]]
_contributors: list[Contributor] = []


def register(contributor: Contributor) -> None:
    """Have the targets of one more part of the product told. Registering it again changes nothing."""
    if contributor not in _contributors:
        _contributors.append(contributor)


def readiness(policy: EgressPolicy | None = None) -> Readiness:
    """Everything that would be refused, configured targets first. Raises nothing when the database is away: `missing` says so."""
    policy = policy or active_policy()
    results: list[WouldRefuse] = []
    checked, missing = 0, ""
    try:
        for contributor in list(_contributors):
            for target in contributor():
                checked += 1
                results += _judged(target, sealed(policy))
        contacts = list(Contact.objects.order_by("-last_seen")[:MOST])
    except DatabaseError as error:
        contacts, missing = [], f"The database cannot be read ({type(error).__name__}): not every target could be looked at."
    for contact in contacts:
        checked += 1
        results += _contacted(contact, sealed(policy))
    return Readiness(policy.enabled, checked, tuple(results), missing)


def _judged(target: Target, policy: EgressPolicy) -> list[WouldRefuse]:
    decision = explain_url(target.url, policy)
    if decision.allowed:
        return []
    entry = allowlist_entry(decision.host or "", decision.port, decision.rule)
    host = decision.host or "(malformed)"
    return [WouldRefuse(target.kind, target.name, host, decision.port, decision.rule, decision.reason, entry, target.variables)]


def _contacted(contact: Contact, policy: EgressPolicy) -> list[WouldRefuse]:
    """By the policy of now: the allowlist may have changed since."""
    port = contact.port or None
    if contact.host == OTHER:
        reason = "Further targets, beyond what is kept: they are counted, not named."
        return [WouldRefuse(CONTACTED, "", OTHER, None, "", reason, "", count=contact.count, last_seen=contact.last_seen)]
    decision = policy.decide_host(contact.host, port)
    if decision.allowed:
        return []
    entry = allowlist_entry(contact.host, port, decision.rule)
    return [
        WouldRefuse(
            CONTACTED, contact.purpose, contact.host, port, decision.rule, decision.reason, entry, count=contact.count, last_seen=contact.last_seen
        )
    ]
