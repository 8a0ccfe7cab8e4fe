"""The checklist's items on the language model: its endpoint is internal, and no key in the environment is for a public one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import Count

from airgap.active import active_policy
from airgap.checklist import NOT_SAID, ChecklistItem, Finding, Look, Said, Verdict, everywhere
from airgap.facts import target_fact
from airgap.fleet import Process
from airgap.readiness import Target
from llm.config import OPENAI_URL
from llm.credentials import url_of
from llm.models import TenantCredential
from llm.resolver import environment_llm
from llm.vault import active_vault
from tenants.scope import all_tenants

ANTHROPIC_URL: Final = "https://api.anthropic.com"


def llm_fact() -> dict[str, Any] | None:
    """Where the language model of this process is; None when there is none."""
    url = environment_llm().base_url
    return target_fact(url, active_policy()) if url else None


def keys_fact() -> list[dict[str, Any]]:
    """Each key of a hosted service that is set, with where it would be sent. Never any part of a key."""
    return [{"variable": variable, **target_fact(url, active_policy())} for variable, _base, url in _keys()]


def _keys() -> Iterator[tuple[str, str, str]]:
    """Variable of the key, variable of its URL, the URL; of those keys that are set."""
    env = settings.ENV
    if env.openai_api_key:
        yield "OPENAI_API_KEY", "OPENAI_BASE_URL", env.openai_base_url or OPENAI_URL
    if env.anthropic_api_key:
        yield "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", env.anthropic_base_url or ANTHROPIC_URL


def llm_internal(seen: Look) -> Finding:
    return everywhere(seen, _endpoint)


def _endpoint(process: Process) -> Said:
    if "llm" not in process.facts:
        return NOT_SAID
    fact = process.facts["llm"]
    if fact is None:
        return Said(Verdict.OK, "no language model is configured; answers are deterministic")
    if fact["internal"]:
        return Said(Verdict.OK, f"{fact['host']} is internal")
    if fact["allowed"]:
        step = "Confirm that the allowlisted host of the language model is yours and inside, and accept this item with that reason."
        return Said(Verdict.ATTENTION, f"{fact['host']} is not internal by its name; it is on the allowlist", step)
    step = "Point LLM_BASE_URL at a server inside (a service name, a private suffix or a private address) and restart."
    return Said(Verdict.FAILING, f"{fact['host']} is a public host", step)


def no_public_llm_keys(seen: Look) -> Finding:
    return everywhere(seen, _keys_of)


def _keys_of(process: Process) -> Said:
    if "llm_keys" not in process.facts:
        return NOT_SAID
    keys = process.facts["llm_keys"]
    public = [key for key in keys if not key["internal"] and not key["allowed"]]
    if public:
        names = " and ".join(f"{key['variable']} is set for {key['host']}" for key in public)
        step = f"Unset {' and '.join(key['variable'] for key in public)}, or point its base URL at an internal gateway, and restart."
        return Said(Verdict.FAILING, names, step)
    listed = [key for key in keys if not key["internal"]]
    if listed:
        names = " and ".join(f"{key['variable']} is set for {key['host']}, which is on the allowlist" for key in listed)
        return Said(Verdict.ATTENTION, names, "Confirm that the allowlisted host is your gateway, and accept this item with that reason.")
    if keys:
        return Said(Verdict.OK, " and ".join(f"{key['variable']} is for the internal host {key['host']}" for key in keys))
    return Said(Verdict.OK, "OPENAI_API_KEY and ANTHROPIC_API_KEY are unset")


def targets() -> Iterator[Target]:
    """For the readiness report: the endpoint, and where each key would go."""
    url = environment_llm().base_url
    if url:
        yield Target("llm", "language model", url, ("LLM_BASE_URL", "OPENAI_BASE_URL"))
    for variable, base, of_key in _keys():
        if of_key.rstrip("/") != url.rstrip("/"):
            yield Target("llm", variable, of_key, (variable, base))
    with _reading():
        rows = list(TenantCredential.across_tenants.filter(enabled=True).select_related("tenant").order_by("tenant__slug"))
    for row in rows:
        yield Target("tenant", row.tenant.slug, url_of(row))


def keys_newest(_seen: Look) -> Finding:
    """Every stored key is sealed with the newest vault key, so that the old ones can be taken away."""
    vault = active_vault()
    with _reading():
        found = dict(TenantCredential.across_tenants.exclude(sealed_key="").order_by().values_list("key_fingerprint").annotate(rows=Count("pk")))
    stored = sum(found.values())
    lost = sum(rows for fingerprint, rows in found.items() if not vault.knows(fingerprint))
    old = stored - found.get(vault.fingerprint, 0) - lost
    if lost:
        step = "Put the vault key that sealed them on AISOC_CREDENTIAL_KEY_ROTATION_FROM and restart, or have the tenants send their keys again."
        return Finding(Verdict.FAILING, f"{lost} of {stored} stored keys are sealed with a vault key that this deployment does not have.", step)
    if old:
        step = "Run manage.py rotate_credentials, then take the old keys off AISOC_CREDENTIAL_KEY_ROTATION_FROM."
        return Finding(Verdict.ATTENTION, f"{old} of {stored} stored keys are sealed with an old vault key.", step)
    return Finding(
        Verdict.OK,
        f"{stored} stored {'key' if stored == 1 else 'keys'}, each sealed with the newest vault key." if stored else "No tenant has stored a key.",
    )


def _reading() -> AbstractContextManager[None]:
    """Every tenant's rows. On SQLite, which hides none, without a transaction: it would wait for whoever writes."""
    return all_tenants() if connection.vendor == "postgresql" else nullcontext()


ITEMS: Final = (
    ChecklistItem("llm_internal", "The LLM endpoint is internal", llm_internal, order=4),
    ChecklistItem("no_public_llm_keys", "No OpenAI or Anthropic key for a public host", no_public_llm_keys, order=5),
    ChecklistItem("credential_keys", "Tenants' keys are sealed with the newest vault key", keys_newest, order=15),
)
