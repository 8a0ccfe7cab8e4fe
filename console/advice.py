"""Why an attempt was refused and what to do about it, chosen by rule, purpose and layer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airgap import policy
from airgap.events import Layer
from airgap.policy import Rule
from airgap.segments import OTHER

CHANNELS: Final[Mapping[str, str]] = {
    "slack": "SLACK_WEBHOOK_URL",
    "teams": "TEAMS_WEBHOOK_URL",
    "webhook": "ALERT_WEBHOOK_URL",
    "pagerduty": "PAGERDUTY_URL",
    "opsgenie": "OPSGENIE_URL",
    "mail": "EMAIL_URL",
}
MALFORMED: Final = frozenset({"(malformed)", "(proxy)"})  # in place of a host that could not be read
RULES: Final[Mapping[str, str]] = {
    Rule.MALFORMED: "This is not a host that every reader reads alike.",
    Rule.PUBLIC: "This is a public name or address, and not on AISOC_AIRGAP_ALLOWLIST.",
    Rule.PRIVATE_NAME_PUBLIC_ANSWER: "The name looks internal, but it answers with a public address.",
}
UNKNOWN_RULE: Final = "The policy of that process refused it."


@dataclass(frozen=True, slots=True)
class Target:
    """One group of attempts, as far as advice depends on it."""

    host: str
    port: int | None
    rule: str
    layer: str
    purpose: str = ""
    tenant: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """`steps` in the order in which to try them; `variables` that they name; `entry` for AISOC_AIRGAP_ALLOWLIST, "" where none makes sense."""

    steps: tuple[str, ...]
    variables: tuple[str, ...] = ()
    entry: str = ""


def advise(target: Target, feed_variables: Mapping[str, tuple[str, ...]]) -> Advice:
    """`feed_variables`: the variables that hold the address of a feed, by its name."""
    if target.host == OTHER:
        return Advice(
            (
                "These attempts were beyond the bounds of a minute or an hour: they are counted, their details are not kept.",
                "First deal with the callers that are named, then see whether this row still grows.",
            )
        )
    steps, variables = _by_origin(target, feed_variables)
    if target.layer == Layer.PROXY:
        steps = [*steps, "The way out was a proxy: look at AISOC_EGRESS_PROXY, and at the target that was asked of it."]
        variables = [*variables, "AISOC_EGRESS_PROXY"]
    return Advice((*_by_rule(target), *steps), tuple(variables), allowlist_entry(target))


def why(target: Target, recorded: str) -> str:
    """The reason that the gate itself gave; in its absence, what the rule means."""
    return recorded or RULES.get(target.rule, UNKNOWN_RULE)


def host_port(host: str, port: int | None) -> str:
    """`host:port`, IPv6 in brackets when a port follows."""
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def allowlist_entry(target: Target) -> str:
    """The entry that would let this target through; "" where none does, or none should."""
    return policy.allowlist_entry(target.host, target.port, target.rule)


def _by_rule(target: Target) -> list[str]:
    if target.rule == Rule.MALFORMED or target.host in MALFORMED:
        return ["A disguised or damaged address, perhaps behind a redirect: look here first."]
    if target.rule == Rule.PRIVATE_NAME_PUBLIC_ANSWER:
        return [f"The name looks internal and its DNS answer is public: check what the DNS says of {target.host}. Listing the name permits it."]
    return []


def _by_origin(target: Target, feed_variables: Mapping[str, tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """What to do where the attempt came from, and the variables to look at."""
    kind, _dot, name = target.purpose.partition(".")
    if kind == "feed":
        variables = list(feed_variables.get(name, ()))
        if not variables:
            return [f"The feed {name} asked: point it at the mirror inside and restart."], []
        return [f"The feed {name} asked: point {' or '.join(variables)} at the mirror inside and restart."], variables
    if kind == "llm" or target.layer == Layer.LLM:
        if target.tenant:
            return [f"The tenant {target.tenant} has an LLM address of its own: change it in the tenant's row (Tenants & keys)."], []
        return ["The language model's address is public: point LLM_BASE_URL at a model inside and restart."], ["LLM_BASE_URL"]
    if kind == "mail" or target.layer == Layer.MAIL:
        return ["Mail wanted to leave: point EMAIL_URL at the relay inside and restart."], ["EMAIL_URL"]
    if kind == "actions":
        variable = CHANNELS.get(name)
        where = variable or "the URL of that channel"
        return [f"The channel {name or 'of an action'} wanted to send: point {where} at the relay inside and restart."], [
            variable
        ] if variable else []
    if kind == "guard":
        return [f"A client that this product did not write asked, in module {target.caller or 'unknown'}: remove it, or point it inside."], []
    return [f"Find where {target.caller or 'the caller'} has this address from, and remove it or point it inside."], []
