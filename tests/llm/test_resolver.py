"""The resolver: whole connections, the tenant rule, the operator's policy last; and status, probe and runtime agree on every configuration."""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path as Folder
from typing import Any

import httpx
import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from airgap.policy import EgressPolicy, Rule
from airgap.tenant_rule import Own, TenantRule
from aisoc_admin import env
from console.admin import _shown
from console.tenant_rows import rows_of
from llm import credential_rows
from llm.client import ChatClient, LLMBlocked, Message
from llm.config import LLMConfig, Provider, Secret, TenantOverride, from_environment
from llm.credentials import Wanted, save_credential
from llm.models import TenantCredential
from llm.probe import ProbeOutcome, probe
from llm.resolver import ResolvedLLM, Source, resolve, resolve_llm_config
from llm.snapshot import snapshot_of, tenant_snapshot
from llm.vault import active_vault
from tenants.accounts import issue_token
from tenants.models import Tenant
from tenants.roles import Role
from tenants.scope import all_tenants
from tests.airgap.test_transport import spooled
from tests.llm.model_server import completion, model_server, sends

OPERATOR, TENANT = "sk-planted-operator-0001", "sk-planted-tenant-0002"
ON = EgressPolicy.from_text("1", "")
OFF = EgressPolicy()
HOSTED = from_environment({"LLM": ("https://api.openai.com", OPERATOR, "gpt"), "OPENAI": ("", "", "")})
LOCAL = from_environment({"LLM": ("http://ollama:11434", "", "llama"), "OPENAI": ("", "", "")})
NOTHING = LLMConfig()
Environment = Callable[..., env.Environment]


def row(url: str = "", key: str = TENANT, provider: Provider = Provider.CUSTOM, **more: Any) -> TenantOverride:
    return TenantOverride("acme", provider, url, Secret(key), "m", **more)


# ── Pure ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("override", "policy", "allowed", "source", "base_url", "word"),
    [
        (None, OFF, True, Source.ENVIRONMENT, "https://api.openai.com/v1", "off"),
        (row("https://llm.acme.example"), OFF, True, Source.TENANT, "https://llm.acme.example/v1", "off"),
        (row("https://llm.acme.example", enabled=False), OFF, True, Source.ENVIRONMENT, "https://api.openai.com/v1", "off"),
        (row(provider=Provider.OPENAI), OFF, True, Source.TENANT, "https://api.openai.com/v1", "off"),
        (row(provider=Provider.ANTHROPIC), OFF, True, Source.TENANT, "https://api.anthropic.com/v1", "off"),
        (row("https://llm.acme.example", key=""), OFF, False, Source.TENANT, "https://llm.acme.example/v1", "operator's key is not used"),
        (row(provider=Provider.OPENAI, key=""), OFF, False, Source.TENANT, "https://api.openai.com/v1", "operator's key is not used"),
        (row("http://10.0.42.5:8080", key=""), OFF, True, Source.TENANT, "http://10.0.42.5:8080/v1", "Local"),
        (row("http://vllm.corp", key="", provider=Provider.LOCAL_VLLM), ON, True, Source.TENANT, "http://vllm.corp/v1", "Local"),
        (row("http://litellm.internal:4000"), ON, True, Source.TENANT, "http://litellm.internal:4000/v1", "Local"),
        (row("http://ollama"), ON, True, Source.TENANT, "http://ollama/v1", "Local"),
        (row("http://10.0.42.5:8080"), ON, True, Source.TENANT, "http://10.0.42.5:8080/v1", "Local"),
        (row(provider=Provider.OPENAI), ON, False, Source.TENANT, "https://api.openai.com/v1", "not on AISOC_AIRGAP_ALLOWLIST"),
        (row(provider=Provider.ANTHROPIC), ON, False, Source.TENANT, "https://api.anthropic.com/v1", "not on AISOC_AIRGAP_ALLOWLIST"),
        (row("https://x.openai.azure.com"), ON, False, Source.TENANT, "https://x.openai.azure.com/openai/v1", "not on AISOC_AIRGAP_ALLOWLIST"),
        (row("http://127.0.0.1:8000"), OFF, False, Source.TENANT, "http://127.0.0.1:8000/v1", "this machine"),
        (row("http://db.corp:5432"), OFF, False, Source.TENANT, "http://db.corp:5432/v1", "own database"),
        (row("http://gw.corp", problem="It cannot be opened."), OFF, False, Source.TENANT, "http://gw.corp/v1", "cannot be opened"),
        (row(problem="It cannot be opened."), OFF, False, Source.TENANT, "", "cannot be opened"),
        (row(""), OFF, False, Source.TENANT, "", "no base URL"),
        (row("http://134744072"), OFF, False, Source.TENANT, "", "dotted quad"),
    ],
)
def test_the_connection_is_whole_and_its_reason_is_said(
    override: TenantOverride | None, policy: EgressPolicy, allowed: bool, source: Source, base_url: str, word: str
) -> None:
    resolved = resolve(HOSTED, override, policy, TenantRule((Own("database", "db.corp", 5432),)))
    assert (resolved.allowed, resolved.source, resolved.base_url) == (allowed, source, base_url)
    assert word in resolved.reason
    assert bool(resolved.key) == (allowed and bool(override.key if override and override.enabled else OPERATOR))
    if source is Source.TENANT:
        assert resolved.key.reveal() != OPERATOR
        assert resolved.tenant == "acme"


def test_the_operators_allowlist_opens_a_tenants_public_host() -> None:
    policy = EgressPolicy.from_text("1", "api.openai.com")
    assert resolve(NOTHING, row(provider=Provider.OPENAI), policy).allowed


def test_the_pure_resolver_needs_no_rule_to_keep_tenants_off_this_machine() -> None:
    assert resolve(NOTHING, row("http://169.254.169.254"), OFF).rule is Rule.TENANT_METADATA


@pytest.mark.parametrize(
    ("said", "url", "provider"),
    [
        (Provider.CUSTOM, "https://api.anthropic.com", Provider.ANTHROPIC),
        (Provider.LOCAL_VLLM, "https://api.openai.com", Provider.OPENAI),
        (Provider.CUSTOM, "https://x.openai.azure.com", Provider.AZURE_OPENAI),
        (Provider.AZURE_OPENAI, "https://llm.acme.example", Provider.AZURE_OPENAI),
        (Provider.LOCAL_VLLM, "http://10.0.0.5", Provider.LOCAL_VLLM),
        (Provider.CUSTOM, "http://ollama", Provider.CUSTOM),
    ],
)
def test_a_vendors_host_speaks_the_vendors_dialect_whatever_the_row_says(said: Provider, url: str, provider: Provider) -> None:
    assert resolve(NOTHING, row(url, provider=said), OFF).config.provider is provider


# ── With rows ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def test_no_tenant_reads_no_database(environment: Environment) -> None:
    environment(LLM_BASE_URL="http://ollama:11434")
    for nobody in (None, "", "Not A Slug"):  # without the django_db mark a query would raise
        assert resolve_llm_config(nobody).source is Source.ENVIRONMENT


@pytest.mark.django_db
def test_a_tenant_costs_one_query(acme: Tenant) -> None:
    save_credential(acme, Wanted(provider="custom", base_url="http://gw.corp", api_key=Secret(TENANT)), by="alice")
    for tenant in (acme, "acme", "nobody"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            resolve_llm_config(tenant)
        assert len(queries) == 1


@pytest.mark.django_db
def test_a_tenant_is_found_by_its_slug_alone(acme: Tenant) -> None:
    impostor = Tenant.objects.create(slug="evil", name="acme")
    save_credential(impostor, Wanted(provider="local-vllm", base_url="http://evil.corp"), by="mallory")
    for text in ("acme", "Acme", str(impostor.pk), "ACME", "acme "):
        assert resolve_llm_config(text).source is Source.NONE


@pytest.mark.django_db
def test_a_refusal_is_recorded_for_the_runtime_and_not_for_status(
    acme: Tenant, environment: Environment, spool_dir: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    environment(AISOC_AIRGAPPED="1")
    save_credential(acme, Wanted(provider="openai", api_key=Secret(TENANT)), by="alice")
    token = issue_token("alice", Role.TENANT_ADMIN, 1, "acme")
    with caplog.at_level(logging.WARNING):
        tenant_snapshot("acme")
        assert Client().get("/api/v1/llm/status?tenant=acme", headers={"Authorization": f"Token {token}"}).json()["effective_path"] == "fallback"
        assert spooled(spool_dir) == []
        resolved = resolve_llm_config("acme", purpose="llm.explain")
    assert (resolved.allowed, bool(resolved.key), resolved.key_set) == (False, False, True)
    assert spooled(spool_dir) == [("api.openai.com", "public", "llm")]
    (line,) = [record.msg for record in caplog.records if isinstance(record.msg, dict) and record.msg["event"] == "airgap.block"]
    assert (line["layer"], line["tenant"], line["purpose"], line["url"]) == ("llm", "acme", "llm.explain", "https://api.openai.com:443/v1")
    assert TENANT not in caplog.text


@pytest.mark.django_db
def test_a_database_that_is_away_is_no_guess(
    acme: Tenant, environment: Environment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment(LLM_BASE_URL="http://ollama:11434")

    def away(_slug: str) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(credential_rows, "_row", away)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            resolved = resolve_llm_config(acme)
            assert (resolved.allowed, resolved.source, resolved.base_url) == (False, Source.TENANT, "")
    assert resolve_llm_config(None).allowed
    assert [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)] == ["llm.credentials_unreadable"]
    monkeypatch.undo()
    assert resolve_llm_config(acme).allowed


# ── One answer everywhere ────────────────────────────────────────────────────────────────────────────────────────────
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {},
    {"LLM_BASE_URL": "http://ollama:11434/v1/", "LLM_API_KEY": OPERATOR},
    {"OPENAI_API_KEY": OPERATOR},
    {"LLM_BASE_URL": "https://llm.example.com", "LLM_API_KEY": OPERATOR, "LLM_MODEL": "m", "OPENAI_API_KEY": OPERATOR},
    {"LLM_BASE_URL": "https://api.anthropic.com"},
)
POLICIES: tuple[dict[str, str], ...] = (
    {},
    {"AISOC_AIRGAPPED": "1"},
    {"AISOC_AIRGAPPED": "1", "AISOC_AIRGAP_ALLOWLIST": "api.openai.com,llm.example.com:443,127.0.0.1"},
    {"AISOC_BYOK_DENIED_HOSTS": "gw.corp", "DATABASE_URL": "postgres://u@10.0.42.5/x"},
)
URLS = (
    "http://gw.corp/team",
    "http://10.0.42.5:8080",
    "https://llm.example.com/v1",
    "http://169.254.169.254",
    "http://127.0.0.1:11434",
    "http://1.2",
)
# (values of the row, what it is sealed for: "" no key, "plain" unsealed text, else a tenant's slug and whether for this origin)
ROWS: tuple[tuple[dict[str, Any], str] | None, ...] = (
    None,
    ({"provider": "openai"}, "acme"),
    ({"provider": "openai"}, ""),
    ({"provider": "anthropic"}, "acme"),
    ({"provider": "custom"}, "acme"),  # no URL: never written by this product
    ({"provider": "quantum", "base_url": URLS[0]}, "acme"),
    *[({"provider": provider, "base_url": url}, "acme") for url in URLS for provider in ("custom", "azure-openai")],
    *[({"provider": provider, "base_url": url}, "") for url in URLS[:3] for provider in ("custom", "local-vllm")],
    ({"provider": "custom", "base_url": URLS[0]}, "globex"),
    ({"provider": "custom", "base_url": URLS[0]}, "elsewhere"),
    ({"provider": "custom", "base_url": URLS[0]}, "plain"),
    ({"provider": "custom", "base_url": URLS[0], "enabled": False}, "acme"),
    ({"provider": "custom", "base_url": URLS[0], "enabled": False}, "plain"),
)
CONFIGURATIONS = tuple(itertools.product(ENVIRONMENTS, POLICIES, ROWS))


def sealed(values: dict[str, Any], how: str) -> str:
    if how in ("", "plain"):
        return how and TENANT
    url = values.get("base_url") or {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}.get(values["provider"], "")
    origin = "https://elsewhere.corp" if how == "elsewhere" else credential_rows.origin_of(url)
    return active_vault().seal(Secret(TENANT), "acme" if how == "elsewhere" else how, origin)


@pytest.mark.django_db
def test_status_admin_probe_and_runtime_agree_on_every_configuration(acme: Tenant, environment: Environment) -> None:
    assert len(CONFIGURATIONS) >= 500
    now = acme.created_at
    token = issue_token("olga", Role.AUDITOR, 1)
    seen: set[tuple[str, str]] = set()
    for number, (variables, policy, stored) in enumerate(CONFIGURATIONS):
        if stored is ROWS[0]:
            environment(**variables, **policy)
        with all_tenants():
            TenantCredential.across_tenants.all().delete()
            if stored is not None:
                values = {"model": "m", **stored[0], "sealed_key": sealed(*stored), "created_at": now, "updated_at": now, "updated_by": "x"}
                TenantCredential.across_tenants.create(tenant=acme, **values)
        status, runtime = tenant_snapshot("acme"), resolve_llm_config(acme)
        assert status == {
            **snapshot_of(runtime, ON).as_dict(),
            "airgap_enabled": status["airgap_enabled"],
            "source": runtime.source,
            "reason": runtime.reason,
        }
        with all_tenants():
            row = TenantCredential.across_tenants.select_related("tenant").first()
        shown = _shown(row) if row else rows_of([(acme, None, None)])[0]  # in the admin and on the page
        assert snapshot_of(shown.resolved, ON) == snapshot_of(runtime, ON)
        assert (shown.resolved.source, shown.resolved.rule, shown.resolved.reason) == (runtime.source, runtime.rule, runtime.reason)
        called = calls_of(runtime)
        assert (status["effective_path"] == "live") == bool(called) == runtime.allowed, (variables, stored, policy)
        for url, headers in called:
            assert url.startswith(status["base_url"])
            sent = {name for name, value in headers.items() if OPERATOR in value}
            assert not (sent and status["source"] == "tenant")
            assert bool(runtime.key) == bool({"authorization", "api-key", "x-api-key"} & set(headers))
            assert not ({name for name, value in headers.items() if TENANT in value} and status["source"] == "environment")
        if not runtime.allowed:
            assert not runtime.key
            assert probe(runtime).outcome is ProbeOutcome.BLOCKED
        text = f"{status}{runtime}"
        assert not [key for key in (OPERATOR, TENANT) if key in text]
        if number % 40 == 0:
            answer = Client().get("/api/v1/llm/status", {"tenant": "acme"}, headers={"Authorization": f"Token {token}"})
            assert answer.json() == status
        seen.add((status["source"], status["effective_path"]))
    assert seen == {("none", "fallback"), ("environment", "live"), ("environment", "fallback"), ("tenant", "live"), ("tenant", "fallback")}


def calls_of(resolved: ResolvedLLM) -> list[tuple[str, dict[str, str]]]:
    """What the runtime really sends, with the network behind the gate replaced."""
    sent: list[tuple[str, dict[str, str]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append((str(request.url), dict(request.headers)))
        return httpx.Response(503)

    try:
        ChatClient(resolved, purpose="test", inner=httpx.MockTransport(answer)).complete([Message("user", "x")], max_tokens=1)
    except LLMBlocked:
        assert sent == []
    except Exception as error:
        assert "503" in str(error)
    return sent


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("who", "slug", "status"),
    [
        ((Role.TENANT_ADMIN, "acme"), "acme", 200),
        ((Role.ANALYST, "acme"), "acme", 200),
        ((Role.OPERATOR, ""), "acme", 200),
        ((Role.AUDITOR, ""), "acme", 200),
        ((Role.AUDITOR, ""), "nobody", 404),
        ((Role.ANALYST, "acme"), "globex", 404),
        ((Role.ANALYST, "acme"), "", 400),
        (None, "acme", 401),
        (None, "", 401),
    ],
)
def test_a_tenants_status_is_for_those_who_may_see_it(acme: Tenant, who: tuple[Role, str] | None, slug: str, status: int) -> None:
    Tenant.objects.create(slug="globex", name="Globex")
    headers = {"Authorization": f"Token {issue_token('u', who[0], 1, who[1])}"} if who else {}
    response = Client().get("/api/v1/llm/status", {"tenant": slug}, headers=headers)
    assert response.status_code == status
    if status == 200:
        assert list(response.json())[-2:] == ["source", "reason"]


# ── The probe ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (completion("x", "length"), ProbeOutcome.OK),
        (sends(b"no", status=401), ProbeOutcome.REJECTED),
        (sends(b"planted-reply"), ProbeOutcome.REJECTED),
    ],
)
def test_the_probe_says_a_word_and_none_of_the_other_sides(answer: Any, outcome: ProbeOutcome) -> None:
    with model_server() as server:
        server.answers = [answer]
        found = probe(resolve(LLMConfig.of(server.url, Secret(TENANT), "m"), None, OFF))
        assert server.requests[0][2]["max_tokens"] == 1
    assert (found.outcome, found.model) == (outcome, "m")
    assert found.latency_ms is not None
    assert "planted-reply" not in found.detail
    assert probe(resolve(LLMConfig.of(server.url, Secret(), "m"), None, OFF)).outcome is ProbeOutcome.UNREACHABLE
    assert probe(resolve(NOTHING, row("http://127.0.0.1:1"), OFF)).outcome is ProbeOutcome.BLOCKED
