"""The LLM snapshots: the public one (CONTRACTS.md 2.2, exactly these keys in this order) and a tenant's, computed by the resolver the runtime uses."""

from dataclasses import asdict, dataclass
from typing import Any

from airgap.active import active_policy
from airgap.policy import EgressPolicy
from llm.config import LLMConfig
from llm.resolver import ResolvedLLM, environment_llm, resolve, resolved_for


@dataclass(frozen=True, slots=True)
class LLMSnapshot:
    """Never any part of a key: only whether one is set."""

    provider: str
    model: str | None
    base_url: str | None
    host: str | None
    key_set: bool
    airgap_enabled: bool
    airgap_compliant: bool
    is_local: bool
    effective_path: str
    policy_note: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def llm_snapshot(environment: LLMConfig | None = None, policy: EgressPolicy | None = None) -> LLMSnapshot:
    """The operator's LLM as the runtime would use it now."""
    policy = policy or active_policy()
    return snapshot_of(resolve(environment or environment_llm(), None, policy), policy)


def tenant_snapshot(slug: str) -> dict[str, Any]:
    """The same for one tenant, with where its connection comes from and why it is used or not. One query; records nothing."""
    resolved = resolved_for(slug)
    return {**snapshot_of(resolved, active_policy()).as_dict(), "source": resolved.source.value, "reason": resolved.reason}


def snapshot_of(resolved: ResolvedLLM, policy: EgressPolicy) -> LLMSnapshot:
    """What was resolved, as it is shown."""
    config = resolved.config
    return LLMSnapshot(
        provider=config.provider.value,
        model=config.model or None,
        base_url=config.base_url or None,
        host=config.host or None,
        key_set=resolved.key_set,
        airgap_enabled=policy.enabled,
        airgap_compliant=resolved.compliant,
        is_local=config.is_local,
        effective_path=resolved.path.value,
        policy_note=resolved.reason,
    )
