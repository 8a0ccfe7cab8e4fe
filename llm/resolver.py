"""Resolves which LLM answers: the environment's connection, then the operator's policy, last. Records nothing."""

from dataclasses import dataclass
from enum import StrEnum

from airgap.policy import EgressPolicy, Rule
from llm.config import LLMConfig


class Path(StrEnum):
    """How an answer is made."""

    LIVE = "live"
    FALLBACK = "fallback"


class Source(StrEnum):
    """Where a connection comes from."""

    ENVIRONMENT = "environment"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ResolvedLLM:
    """The connection with its verdict. `compliant` is the policy's decision alone; `path` says whether a call would be tried."""

    config: LLMConfig
    source: Source
    compliant: bool
    rule: Rule | None
    path: Path
    reason: str

    @property
    def allowed(self) -> bool:
        return self.path is Path.LIVE


def resolve(environment: LLMConfig, policy: EgressPolicy) -> ResolvedLLM:
    """Judge the environment's connection. A hosted server needs a key; a local one does not."""
    if not environment.base_url:
        return ResolvedLLM(
            environment,
            Source.NONE,
            compliant=True,
            rule=None,
            path=Path.FALLBACK,
            reason="No LLM is configured; answers are deterministic. Set LLM_BASE_URL, for example to a local server, and restart.",
        )
    decision = policy.decide_url(environment.base_url)
    if not decision.allowed:
        return ResolvedLLM(environment, Source.ENVIRONMENT, compliant=False, rule=decision.rule, path=Path.FALLBACK, reason=decision.reason)
    if not environment.key and not environment.is_local:
        reason = f"The API key is missing: {environment.host} is a hosted service and needs one."
        return ResolvedLLM(environment, Source.ENVIRONMENT, compliant=True, rule=decision.rule, path=Path.FALLBACK, reason=reason)
    return ResolvedLLM(environment, Source.ENVIRONMENT, compliant=True, rule=decision.rule, path=Path.LIVE, reason=_live_reason(environment, policy))


def _live_reason(config: LLMConfig, policy: EgressPolicy) -> str:
    if not policy.enabled:
        return f"{'Local' if config.is_local else 'Hosted'} LLM in use; air-gap mode is off."
    if config.is_local:
        return "Local LLM in use; air-gap policy is satisfied."
    return f"{config.host} is on the allowlist; air-gap policy is satisfied."


def resolve_llm_config(tenant: object) -> ResolvedLLM:
    """For the runtime."""
    from llm.snapshot import resolved_environment

    return resolved_environment()
