"""Try a host: the policy's decision with the rules it looked at. Sends nothing, resolves nothing, records nothing."""

from dataclasses import dataclass
from enum import StrEnum

from airgap.active import active_policy
from airgap.policy import Rule
from airgap.snapshot import UrlDecision, explain_url

LONGEST = 2000  # characters that are read


class Looked(StrEnum):
    """What came of one rule."""

    NO = "no"
    YES = "yes"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of the ladder."""

    rule: Rule
    title: str
    looked: Looked


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """The decision for what was typed. `read_as` is the host or URL that was judged."""

    text: str
    read_as: str
    decision: UrlDecision
    ladder: tuple[Step, ...]


# In the order in which EgressPolicy looks at them; the first that matches decides.
LADDER: tuple[tuple[Rule, str], ...] = (
    (Rule.AIRGAP_OFF, "Air-gap mode is off"),
    (Rule.MALFORMED, "Malformed or ambiguous"),
    (Rule.ALLOWLISTED, "On AISOC_AIRGAP_ALLOWLIST"),
    (Rule.PRIVATE_ADDRESS, "Private, loopback or link-local address"),
    (Rule.LOCALHOST, "Exactly localhost"),
    (Rule.PRIVATE_SUFFIX, "Private suffix"),
    (Rule.SINGLE_LABEL, "Single-label service name"),
    (Rule.PUBLIC, "Anything else is public"),
)


def try_host(text: str) -> HostAnswer | None:
    """The answer for a URL or a bare host, with or without a port; None for blank text."""
    text = text.strip()[:LONGEST]
    if not text:
        return None
    read_as, decision = _decide(text)
    return HostAnswer(text, read_as, decision, _ladder(decision.rule))


def _decide(text: str) -> tuple[str, UrlDecision]:
    if "://" in text:
        return text, explain_url(text)
    bare = active_policy().decide_host(text)
    if bare.rule is Rule.MALFORMED:  # host:port, [IPv6]:port and host/path are read as a URL
        as_url = f"https://{text}"
        with_scheme = explain_url(as_url)
        if with_scheme.rule != Rule.MALFORMED:
            return as_url, with_scheme
    return text, UrlDecision(text, bare.allowed, bare.rule.value, bare.reason, None, None)


def _ladder(decisive: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    looked = Looked.NO
    for rule, title in LADDER:
        if rule == decisive:
            looked = Looked.YES
        steps.append(Step(rule, title, looked))
        if looked is Looked.YES:
            looked = Looked.NOT_LOOKED_AT
    return tuple(steps)
