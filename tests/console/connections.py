"""Tenants with connections of their own, as the pages meet them."""

from typing import Any

from django.utils import timezone

from llm.config import Secret
from llm.credentials import Wanted, save_credential
from llm.models import EndpointOutcome, TenantCredential
from llm.outcomes import key_of
from llm.resolver import resolved_for
from tenants.models import Tenant
from tenants.scope import all_tenants, tenant_scope

KEY = "sk-planted-page-4471"
GATEWAY = "http://litellm.internal:4000/v1"


def tenant(slug: str = "acme", **wanted: Any) -> Tenant:
    """The tenant, with a row of its own when something is wanted."""
    made = Tenant.objects.get_or_create(slug=slug, defaults={"name": slug.title()})[0]
    if wanted:
        save_credential(made, Wanted(api_key=Secret(wanted.pop("api_key", "")), **wanted), by="alice")
    return made


def edit(owner: Tenant, **values: Any) -> None:
    """What somebody does who can write the database."""
    with all_tenants():
        TenantCredential.across_tenants.filter(tenant=owner).update(**values)


def stored(owner: Tenant) -> dict[str, Any] | None:
    with tenant_scope(owner):
        return TenantCredential.objects.for_tenant(owner).values().first()


def one_of_each() -> dict[str, Tenant]:
    """One tenant of each kind that UI.md 2.5 draws, and a few worse ones."""
    made = {
        "acme": tenant("acme", provider="openai", model="gpt-4o-mini", api_key=KEY),
        "globex": tenant("globex", provider="local-litellm", base_url=GATEWAY, model="llama3.1:70b", api_key=KEY),
        "hooli": tenant("hooli"),
        "initech": tenant("initech", provider="custom", base_url="http://vllm.corp", api_key=KEY),
        "umbrella": tenant("umbrella", provider="custom", base_url="http://gw.corp", api_key=KEY),
        "wayne": tenant("wayne", provider="local-vllm", base_url="http://vllm.lan:8000", enabled=False),
    }
    edit(made["umbrella"], sealed_key="v1.0000000000000000.AAAA")
    now = timezone.now()
    EndpointOutcome.objects.create(key=key_of(resolved_for("globex")), succeeded_at=now)
    EndpointOutcome.objects.create(key=key_of(resolved_for("initech")), failed_at=now, failing_since=now, reason="vllm.corp: no connection.")
    return made
