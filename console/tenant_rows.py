"""Each tenant's connection as the pages show it: where it comes from, what the gate says, whether it works. Reads alone, records nothing."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import connection

from airgap.active import active_policy, active_tenant_rule
from console.database import DATABASE_AWAY
from console.llm_path import PathShown, path_shown
from console.wording import counted
from llm.config import Provider, TenantOverride
from llm.credential_rows import opened
from llm.credentials import host_of
from llm.models import TenantCredential
from llm.outcomes import EndpointHealth, healths_of, key_of
from llm.resolver import ResolvedLLM, Source, environment_llm, resolve
from llm.vault import active_vault
from tenants.acting import Acting
from tenants.models import Tenant
from tenants.roles import Role
from tenants.scope import acting_scope
from threatintel.snapshot import Verdict


@dataclass(frozen=True, slots=True)
class Gate:
    """What the policy and the tenant rule say. word: stable, for filters and JSON."""

    word: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant with the connection that its calls use now. credential: its own row, in use or not; override: that row as the resolver was given it."""

    tenant: Tenant
    credential: TenantCredential | None
    override: TenantOverride | None
    resolved: ResolvedLLM
    health: EndpointHealth | None
    airgapped: bool

    @property
    def own(self) -> bool:
        return self.resolved.source is Source.TENANT

    @property
    def source(self) -> str:
        return {Source.TENANT: "tenant row", Source.ENVIRONMENT: "environment", Source.NONE: "none"}[self.resolved.source]

    @property
    def problem(self) -> str:
        return self.override.problem if self.override else ""

    @property
    def host(self) -> str:
        """With the port, where it is not the scheme's own."""
        return host_of(self.resolved.base_url)

    @property
    def key_words(self) -> str:
        if self.own and self.problem and (self.credential is None or self.credential.sealed_key):
            return "set, does not open"
        return "set" if self.resolved.key_set else "unset"

    @property
    def gate(self) -> Gate:
        resolved = self.resolved
        if resolved.rule is None:
            return Gate("none", Verdict.OFF, "nothing to judge")
        if not resolved.compliant:
            return Gate("refused", Verdict.REFUSED, resolved.reason)
        if not self.airgapped:
            return Gate("allowed", Verdict.OFF, "air-gap mode is off")
        return Gate("allowed", Verdict.OK, resolved.rule.value.replace("_", " "))

    @property
    def path(self) -> PathShown:
        return path_shown(self.resolved, self.health, self.problem)

    @property
    def verdict(self) -> Verdict:
        """The gate's refusal, else how the connection answers."""
        return Verdict.REFUSED if self.gate.verdict is Verdict.REFUSED else self.path.verdict

    @property
    def sentence(self) -> str:
        """What the verdict says, in full."""
        if self.gate.verdict is Verdict.REFUSED:
            return f"{self.gate.text} Answers are deterministic."
        path = self.path
        return {
            "live": f"{self.host} answers. {path.why}",
            "failing": f"{self.host} is failing. {path.why} Answers are deterministic meanwhile.",
            "untried": f"Configured, and nothing was asked of {self.host} yet. {path.why}",
            "fallback": path.why,
        }[path.state]

    def as_dict(self, *, changes: bool) -> dict[str, Any]:
        """changes: whether the reader may see who changed it."""
        resolved, path, credential = self.resolved, self.path, self.credential if changes else None
        return {
            "tenant": self.tenant.slug,
            "source": resolved.source.value,
            "own_row": self.credential is not None,
            "provider": resolved.config.provider.value if resolved.config.provider is not Provider.NONE else None,
            "host": self.host or None,
            "base_url": resolved.base_url or None,
            "model": resolved.model or None,
            "key": self.key_words,
            "gate": self.gate.word,
            "rule": resolved.rule.value if resolved.rule else None,
            "path": path.state,
            "verdict": self.verdict.value,
            "reason": path.why,
            "since": path.since,
            **({"changed_at": credential.updated_at, "changed_by": credential.updated_by} if credential else {}),
        }


@dataclass(frozen=True, slots=True)
class Tally:
    """Tenants by where their connection comes from; of those with an own row in use, what the gate says."""

    inherit: int
    allowed: int
    refused: int

    @property
    def own(self) -> int:
        return self.allowed + self.refused

    @property
    def words(self) -> str:
        inherit = f"{counted(self.inherit, 'tenant inherits', 'tenants inherit')} the operator's connection"
        if not self.own:
            return f"{inherit} · none brings its own"
        return f"{inherit} · {counted(self.own, 'brings its own', 'bring their own')}: {self.allowed:,} allowed, {self.refused:,} refused"


def read_rows(now: Acting) -> list[TenantRow]:
    """The tenants that this reader sees, by slug. Raises django.db.Error when the database is away."""
    stored = _stored(now)
    return rows_of([(tenant, credential, opened(credential, tenant.slug) if credential else None) for tenant, credential in stored])


def rows_of(found: Sequence[tuple[Tenant, TenantCredential | None, TenantOverride | None]]) -> list[TenantRow]:
    """Resolves each as the runtime would, and reads how those that would be called answered lately."""
    environment, policy, rule = environment_llm(), active_policy(), active_tenant_rule()
    resolved = [resolve(environment, override, policy, rule) for _tenant, _credential, override in found]
    healths = healths_of(one for one in resolved if one.allowed)
    return [
        TenantRow(tenant, credential, override, one, healths.get(key_of(one)), policy.enabled)
        for (tenant, credential, override), one in zip(found, resolved, strict=True)
    ]


def tally(rows: Sequence[TenantRow]) -> Tally:
    own = [row for row in rows if row.own]
    refused = sum(row.gate.word == "refused" for row in own)
    return Tally(len(rows) - len(own), len(own) - refused, refused)


def deployment_tally() -> Tally | None:
    """Over all tenants, counted without a key being opened; None when the database is away."""
    try:
        allowed = _allowed(Acting(Role.AUDITOR, None))
        return Tally(Tenant.objects.count() - len(allowed), sum(allowed), len(allowed) - sum(allowed))
    except DATABASE_AWAY:
        return None


def refused_note(now: Acting) -> str:
    """The count beside the page's title; raises nothing."""
    try:
        return f"{_allowed(now).count(False):,} refused"
    except DATABASE_AWAY:
        return "unknown"


def newest_seal(credential: TenantCredential) -> bool:
    """Is the key sealed with the first vault key?"""
    return credential.key_fingerprint == active_vault().fingerprint


def _allowed(now: Acting) -> list[bool]:
    """What the gate says of each own row in use that this reader sees. The key does not matter, so none is opened."""
    environment, policy, rule = environment_llm(), active_policy(), active_tenant_rule()
    with _reading(now):
        found = TenantCredential.objects.for_tenant(now.tenant) if now.tenant is not None else TenantCredential.across_tenants.all()
        rows = list(found.filter(enabled=True).values_list("tenant__slug", "provider", "base_url"))
    known = {provider.value: provider for provider in Provider}
    return [resolve(environment, TenantOverride(slug, known.get(name, Provider.NONE), url), policy, rule).compliant for slug, name, url in rows]


def _stored(now: Acting) -> list[tuple[Tenant, TenantCredential | None]]:
    with _reading(now):
        if now.tenant is not None:
            return [(now.tenant, TenantCredential.objects.for_tenant(now.tenant).first())]
        rows = {row.tenant_id: row for row in TenantCredential.across_tenants.all()}
        return [(tenant, rows.get(tenant.pk)) for tenant in Tenant.objects.order_by("slug")]


def _reading(now: Acting) -> AbstractContextManager[None]:
    """SQLite has no lock between tenants, and a transaction there would keep every reader waiting for the one who writes."""
    scope = acting_scope(now)
    return scope if connection.vendor == "postgresql" else nullcontext()
