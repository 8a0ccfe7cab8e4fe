"""What each process says of itself for the checklist, beside its policy: facts by name, registered by the apps that know them.

A fact goes into the database with each heartbeat: hosts, words and booleans, never a secret, a URL or a path.
"""

from collections.abc import Callable
from typing import Any

import structlog

from airgap.policy import EgressPolicy, Rule, classify
from airgap.snapshot import explain_url

log = structlog.stdlib.get_logger("airgap")
_readers: dict[str, Callable[[], Any]] = {}


def register(name: str, read: Callable[[], Any]) -> None:
    """`read` gives what JSON can hold. Raises ValueError for a name that another reader has."""
    if _readers.setdefault(name, read) is not read:
        raise ValueError(f"Two facts are named {name!r}.")


def own_facts() -> dict[str, Any]:
    """The facts of this process. One that cannot be read is left out, which the checklist takes for not known: a heartbeat goes on."""
    found = {}
    for name, read in list(_readers.items()):
        try:
            found[name] = read()
        except Exception:
            log.exception("fleet.fact_failed", fact=name)
    return found


def target_fact(url: str, policy: EgressPolicy) -> dict[str, Any]:
    """A URL as a fact: its host, whether that is internal by its look, and whether the air gap lets it through, switched on or not."""
    decision = explain_url(url, EgressPolicy(True, policy.allowlist))
    return {
        "host": (decision.host or "(malformed)")[:120],
        "internal": classify(url) not in (Rule.PUBLIC, Rule.MALFORMED),
        "allowed": decision.allowed,
        "tls": url.strip()[:8].lower() == "https://",
    }
