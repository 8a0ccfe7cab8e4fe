"""The public snapshots of the air gap: what status, health, command and page show, in the order and words of the contract."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.conf import settings

from airgap import guard
from airgap.active import active_policy
from airgap.hosts import Url
from airgap.policy import IMPLICIT_PRIVATE_SUFFIXES, EgressPolicy

ON_SENTENCE = (
    "All outbound HTTP is blocked except to private/loopback/link-local addresses, localhost, names with a private suffix, "
    "single-label service names and the hosts on AISOC_AIRGAP_ALLOWLIST."
)
DIGEST_LENGTH: Final = 12
OFF_SENTENCE = "Air-gap mode is off: outbound HTTP is unrestricted. Set AISOC_AIRGAPPED=1 and restart to turn it on."


@dataclass(frozen=True, slots=True)
class AirgapSnapshot:
    """CONTRACTS.md 2.1: exactly these keys, in this order. No secret."""

    enabled: bool
    allowlist: tuple[str, ...]
    implicit_private_suffixes: tuple[str, ...]
    policy: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "allowlist": list(self.allowlist), "implicit_private_suffixes": list(self.implicit_private_suffixes)}


def airgap_snapshot(policy: EgressPolicy | None = None) -> AirgapSnapshot:
    """The policy this process runs under."""
    policy = policy or active_policy()
    return AirgapSnapshot(
        enabled=policy.enabled,
        allowlist=tuple(str(entry) for entry in policy.allowlist),
        implicit_private_suffixes=IMPLICIT_PRIVATE_SUFFIXES,
        policy=ON_SENTENCE if policy.enabled else OFF_SENTENCE,
    )


def policy_digest(snapshot: AirgapSnapshot) -> str:
    """The first hexadecimal digits of the SHA-256 of the public snapshot: equal in processes that run the same policy."""
    body = json.dumps(snapshot.as_dict(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True, slots=True)
class GuardSnapshot:
    """The process guard of this process: enforce, report or off as asked for, inactive where it is not installed."""

    mode: str
    active: bool
    selftest: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def guard_snapshot() -> GuardSnapshot:
    """The guard of this process, tested now. It is installed only under air gap, and not at all when AISOC_AIRGAP_GUARD=off."""
    installed = guard.current()
    if installed is not None:
        return GuardSnapshot(installed.mode, active=True, selftest=installed.selftest())
    if settings.AIRGAP_POLICY.enabled and settings.AIRGAP_GUARD == "off":
        return GuardSnapshot("off", active=False, selftest=False)
    return GuardSnapshot("inactive", active=False, selftest=False)


@dataclass(frozen=True, slots=True)
class UrlDecision:
    """One line of airgap_check: the decision for a URL, with the host and port it was read as (null when malformed)."""

    url: str
    allowed: bool
    rule: str
    reason: str
    host: str | None
    port: int | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def explain_url(url: str, policy: EgressPolicy | None = None) -> UrlDecision:
    """The decision for a URL. Sends nothing, resolves nothing, records nothing."""
    decision = (policy or active_policy()).decide_url(url)
    parsed = Url.parse(url)
    host, port = (str(parsed.host), parsed.port) if isinstance(parsed, Url) else (None, None)
    return UrlDecision(url, decision.allowed, decision.rule.value, decision.reason, host, port)
