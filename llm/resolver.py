"""Resolves which LLM answers: the environment's connection, a tenant's own over it, the tenant rule, and the operator's policy, last.

resolve() is pure and records nothing. resolved_for() asks it for a tenant or none, for status, pages and probes;
resolve_llm_config() is the same for the runtime and records what the policy refuses.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from django.conf import settings

from airgap import events
from airgap.active import active_policy, active_tenant_rule
from airgap.events import Layer
from airgap.hosts import Malformed, Url
from airgap.policy import Decision, EgressPolicy, Rule
from airgap.tenant_rule import TenantPolicy, TenantRule
from llm.config import LLMConfig, Secret, TenantOverride, from_environment


class Slugged(Protocol):
    """A tenant, as far as it is looked at here."""

    slug: str


class Path(StrEnum):
    """How an answer is made."""

    LIVE = "live"
    FALLBACK = "fallback"


class Source(StrEnum):
    """Where a connection comes from."""

    ENVIRONMENT = "environment"
    TENANT = "tenant"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ResolvedLLM:
    """The connection with its verdict. `compliant` is the policy's decision alone; `path` says whether a call would be tried.

    config holds the key only when a call is allowed; key_set says whether there is one. tenant: whose URL it is, "" for the operator's.
    """

    config: LLMConfig
    source: Source
    compliant: bool
    rule: Rule | None
    path: Path
    reason: str
    tenant: str = ""
    key_set: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_set", bool(self.config.key) or self.key_set)
        if self.path is not Path.LIVE:
            object.__setattr__(self, "config", replace(self.config, key=Secret()))

    @property
    def allowed(self) -> bool:
        return self.path is Path.LIVE

    @property
    def base_url(self) -> str:
        return self.config.base_url

    @property
    def host(self) -> str:
        return self.config.host

    @property
    def model(self) -> str:
        return self.config.model

    @property
    def key(self) -> Secret:
        return self.config.key


_RULE: Final = TenantRule()


def resolve(environment: LLMConfig, override: TenantOverride | None, policy: EgressPolicy, rule: TenantRule = _RULE) -> ResolvedLLM:
    """Which connection is used, and whether it may be. A tenant's enabled row replaces the environment's connection as a whole.

    The operator's key never goes to a tenant's URL: the two are never mixed. A row that cannot be used is an error, not "no row":
    the environment does not step in for it.
    """
    if override is not None and override.enabled:
        return _of_tenant(override, TenantPolicy(rule, policy))
    if environment.base_url:
        return _judged(environment, Source.ENVIRONMENT, policy.decide_url(environment.base_url), policy)
    reason = "No LLM is configured; answers are deterministic. Set LLM_BASE_URL, for example to a local server, and restart."
    return ResolvedLLM(environment, Source.NONE, compliant=True, rule=None, path=Path.FALLBACK, reason=reason)


def _of_tenant(override: TenantOverride, policy: TenantPolicy) -> ResolvedLLM:
    if not override.url:
        reason = override.problem or f"The connection of {override.tenant} has no base URL."
        config = LLMConfig(provider=override.provider, model=override.model)
        return ResolvedLLM(config, Source.TENANT, compliant=True, rule=None, path=Path.FALLBACK, reason=reason, tenant=override.tenant)
    decision = policy.decide_url(override.url)
    try:
        config = LLMConfig.of(override.url, override.key, override.model, override.provider)
    except ValueError:  # what decide_url refuses as malformed
        config = LLMConfig(provider=override.provider, model=override.model)
    return _judged(config, Source.TENANT, decision, policy.policy, override.tenant, override.problem)


def _judged(config: LLMConfig, source: Source, decision: Decision, policy: EgressPolicy, tenant: str = "", problem: str = "") -> ResolvedLLM:
    """The policy's refusal first, then what is wrong with the connection itself."""
    if decision.allowed and not problem and not config.key and config.needs_key:
        problem = f"The API key is missing: {config.host} is a hosted service and needs one."
        if tenant:
            problem = f"{problem} The operator's key is not used for a tenant's URL."
    if not config.key.sendable:
        problem = problem or "The API key has characters that no HTTP header may have. Enter it again."
    reason = problem or _live_reason(config, policy) if decision.allowed else decision.reason
    path = Path.FALLBACK if problem or not decision.allowed else Path.LIVE
    return ResolvedLLM(config, source, compliant=decision.allowed, rule=decision.rule, path=path, reason=reason, tenant=tenant)


def _live_reason(config: LLMConfig, policy: EgressPolicy) -> str:
    if not policy.enabled:
        return f"{'Local' if config.is_local else 'Hosted'} LLM in use; air-gap mode is off."
    if config.is_local:
        return "Local LLM in use; air-gap policy is satisfied."
    return f"{config.host} is on the allowlist; air-gap policy is satisfied."


# ── The running deployment ───────────────────────────────────────────────────────────────────────────────────────────
def environment_llm() -> LLMConfig:
    """The operator's connection, from settings."""
    return from_environment(settings.ENV.llm_families)


def resolve_llm_config(tenant: str | Slugged | None = None, *, purpose: str = "llm") -> ResolvedLLM:
    """The LLM to use now for a tenant (or its slug), or for none; a refusal by the policy or the tenant rule is recorded."""
    resolved = resolved_for(tenant)
    if not resolved.compliant and resolved.rule is not None:
        _record(resolved, resolved.rule, purpose, _slug(tenant))
    return resolved


def resolved_for(tenant: str | Slugged | None) -> ResolvedLLM:
    """The same, and nothing is recorded: for status, pages, previews and probes."""
    from llm.credential_rows import override_of  # here, so that resolve() needs no database to be imported

    slug = _slug(tenant)
    return resolve(environment_llm(), override_of(slug) if slug else None, active_policy(), active_tenant_rule())


def _slug(tenant: str | Slugged | None) -> str:
    return tenant if isinstance(tenant, str) else "" if tenant is None else tenant.slug


def _record(resolved: ResolvedLLM, rule: Rule, purpose: str, tenant: str) -> None:
    url = Url.parse(resolved.base_url) if resolved.base_url else Malformed("")
    decision = Decision(False, rule, resolved.reason)
    if isinstance(url, Malformed):
        events.record(events.refusal_of(decision, host="(malformed)", port=None, layer=Layer.LLM, purpose=purpose, tenant=tenant))
    else:
        events.record(
            events.refusal_of(
                decision, host=str(url.host), port=url.port, layer=Layer.LLM, scheme=url.scheme, path=url.path, purpose=purpose, tenant=tenant
            )
        )
