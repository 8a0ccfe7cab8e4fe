"""Tenants' credentials: every rule of a write, its version, its audit row in the same transaction, and what a hostile admin or database writer gets."""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import DatabaseError, connection, transaction

from aisoc_admin import env
from llm import credentials, outcomes
from llm.config import Provider, Secret
from llm.credentials import CredentialError, Wanted, note_test, preview_credential, remove_credential, reseal, save_credential
from llm.models import CredentialChange, TenantCredential
from llm.outcomes import Lately
from llm.resolver import Source, resolved_for
from llm.vault import Vault, VaultError
from tenants.models import Tenant
from tenants.scope import all_tenants, tenant_scope

pytestmark = pytest.mark.django_db
KEY, OTHER = "sk-planted-tenant-7788", "sk-planted-other-9911"
GATEWAY = "http://litellm.internal:4000/v1"
Environment = Callable[..., env.Environment]


@pytest.fixture(autouse=True)
def _open(environment: Environment) -> None:
    environment(
        CELERY_BROKER_URL="redis://valkey.corp:6379/0",
        DATABASE_URL="postgres://u@10.9.9.9:5432/aisoc",
        EMAIL_URL="smtp://mail.corp",
        AISOC_BYOK_DENIED_HOSTS="vault.corp",
    )


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def put(tenant: Tenant, **values: Any) -> TenantCredential:
    key = Secret(values.pop("api_key", ""))
    return save_credential(tenant, Wanted(api_key=key, **values), by="alice")


def refusal(tenant: Tenant, **values: Any) -> CredentialError:
    before = stored(tenant), changes(tenant)
    with pytest.raises(CredentialError) as caught:
        put(tenant, **values)
    assert (stored(tenant), changes(tenant)) == before
    assert KEY not in repr(caught.value) + caught.value.detail
    return caught.value


def stored(tenant: Tenant) -> dict[str, Any] | None:
    with tenant_scope(tenant):
        return TenantCredential.objects.for_tenant(tenant).values().first()


def changes(tenant: Tenant) -> list[tuple[str, list[str], str, str]]:
    with tenant_scope(tenant):
        rows = CredentialChange.objects.for_tenant(tenant).order_by("pk")
        return [(row.action, row.fields, row.old_host, row.new_host) for row in rows]


def edit(tenant: Tenant, **values: Any) -> None:
    """What somebody does who can write the database."""
    with all_tenants():
        TenantCredential.across_tenants.filter(tenant=tenant).update(**values)


# ── What holds of a key that is there now ────────────────────────────────────────────────────────────────────────────
def test_how_the_endpoint_answered_to_another_key_says_nothing_of_this_one(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_noted", {})
    row = put(acme, provider="custom", base_url=GATEWAY, model="mixtral", api_key=KEY)
    outcomes.note(resolved_for("acme"), "")
    assert outcomes.health_of(resolved_for("acme")).state is Lately.LIVE
    row = put(acme, version=row.version, enabled=True)
    assert outcomes.health_of(resolved_for("acme")).state is Lately.LIVE, "the key is the same"
    row = put(acme, version=row.version, api_key=OTHER)
    assert outcomes.health_of(resolved_for("acme")).state is Lately.NEVER_TRIED
    outcomes.note(resolved_for("acme"), "")
    assert outcomes.health_of(resolved_for("acme")).state is Lately.LIVE, "its first answer is written at once"
    outcomes.note(resolved_for("acme"), "litellm.internal does not accept the key (HTTP 401).")
    row = put(acme, version=row.version, api_key=KEY)
    assert outcomes.health_of(resolved_for("acme")).state is Lately.NEVER_TRIED
    outcomes.note(resolved_for("acme"), "")
    put(acme, version=row.version, drop_key=True)
    assert outcomes.health_of(resolved_for("acme")).state is Lately.NEVER_TRIED


def test_a_save_that_changes_nothing_is_not_told_as_a_change(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    said: list[str] = []
    monkeypatch.setattr(credentials, "announce", lambda _kind, _key, _title, message, _severity: said.append(message))
    with django_capture_on_commit_callbacks(execute=True):
        row = put(acme, provider="custom", base_url=GATEWAY, model="mixtral", api_key=KEY)
        put(acme, version=row.version, model="mixtral")
    assert said == ["Saved by alice: provider, base_url, model, api_key, enabled; host litellm.internal:4000."]
    assert [fields for _action, fields, _old, _new in changes(acme)][-1] == [], "the history has it"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[fd00::2]:9110/v1", "[fd00::2]:9110"),
        ("http://[fd00::2]/v1", "[fd00::2]"),
        ("https://gw.corp/v1", "gw.corp"),
        ("http://10.0.0.5:8000", "10.0.0.5:8000"),
        ("no URL", ""),
    ],
)
def test_a_host_and_its_port_are_told_apart(url: str, host: str) -> None:
    assert credentials.host_of(url) == host


# ── Rules ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_key_is_stored_sealed_and_opens_for_the_runtime(acme: Tenant) -> None:
    row = put(acme, provider="custom", base_url=GATEWAY, model="m", api_key=f"  {KEY}\n")
    assert (row.version, row.enabled, row.has_api_key, row.updated_by) == (1, True, True, "alice")
    assert row.last_rotated_at == row.created_at == row.updated_at
    assert KEY not in str(stored(acme))
    resolved = resolved_for(acme)
    assert (resolved.source, resolved.allowed, resolved.key.reveal()) == (Source.TENANT, True, KEY)
    assert changes(acme) == [("saved", ["provider", "base_url", "model", "api_key", "enabled"], "", "litellm.internal:4000")]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "azure-openai"])
def test_a_hosted_provider_needs_a_key(acme: Tenant, provider: str) -> None:
    url = "https://x.openai.azure.com" if provider == "azure-openai" else ""
    for blank in ("", "   "):
        error = refusal(acme, provider=provider, base_url=url, model="m", api_key=blank)
        assert (error.status, error.field) == (422, "api_key")
    assert put(acme, provider=provider, base_url=url, model="m", api_key=KEY).version == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [
        *[({"provider": name, "base_url": ""}, "base_url") for name in ("local-ollama", "local-vllm", "local-litellm", "custom", "azure-openai")],
        *[({"provider": name, "base_url": GATEWAY}, "provider") for name in ("", "local", "none", "OpenAI", "ollama", "custom ")],
        ({"base_url": GATEWAY}, "provider"),
        *[
            ({"provider": "custom", "base_url": url}, "base_url")
            for url in (
                "ftp://gw.corp",
                "ws://gw.corp",
                "http://",
                "gw.corp",
                "//gw.corp",
                "http://u:p@gw.corp",
                "http://gw.corp?x=1",
                "http://gw.corp#x",
            )
        ],
        ({"provider": "custom", "base_url": "http://gw.corp/" + "x" * 500}, "base_url"),
        ({"provider": "openai", "base_url": "https://gw.corp"}, "base_url"),
        ({"provider": "openai", "base_url": "http://api.openai.com"}, "base_url"),
        ({"provider": "openai", "base_url": "https://api.openai.com.evil.net"}, "base_url"),
        ({"provider": "anthropic", "base_url": "https://api.openai.com"}, "base_url"),
        ({"provider": "custom", "base_url": GATEWAY, "model": "x" * 201}, "model"),
        ({"provider": "custom", "base_url": GATEWAY, "model": "a\nb"}, "model"),
        ({"provider": "custom", "base_url": GATEWAY, "api_key": "a\nb"}, "api_key"),
        ({"provider": "custom", "base_url": GATEWAY, "api_key": "schlüssel"}, "api_key"),
        ({"provider": "custom", "base_url": GATEWAY, "api_key": "x" * 4097}, "api_key"),
    ],
)
def test_bad_input_names_its_field(acme: Tenant, values: dict[str, Any], field: str) -> None:
    error = refusal(acme, **{"api_key": KEY, **values})
    assert (error.status, error.field) == (422, field)
    assert error.detail.endswith(".")


@pytest.mark.parametrize("on", ["0", "1"])
@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest", "tenant_metadata"),
        ("http://metadata.google.internal", "tenant_metadata"),
        ("http://localhost:11434", "tenant_loopback"),
        ("http://[::ffff:127.0.0.1]:11434", "tenant_loopback"),
        ("http://169.254.1.1", "tenant_link_local"),
        ("http://0.0.0.0:8000", "tenant_unspecified"),
        ("http://10.9.9.9:5432", "tenant_infrastructure"),
        ("http://valkey.corp:6379", "tenant_infrastructure"),
        ("http://MAIL.corp.", "tenant_infrastructure"),
        ("http://vault.corp:8200", "tenant_denied"),
        ("http://2130706433", "malformed"),
    ],
)
def test_what_no_tenant_may_reach_is_refused_with_the_rule_in_both_modes(
    acme: Tenant, airgapped: Callable[..., object], url: str, code: str, on: str
) -> None:
    airgapped(on=on)
    error = refusal(acme, provider="custom", base_url=url, api_key=KEY)
    assert (error.status, error.code, error.field) == (422, code, "base_url")


def test_a_public_host_under_air_gap_is_saved_and_not_used(acme: Tenant, airgapped: Callable[..., object]) -> None:
    airgapped()
    put(acme, provider="openai", api_key=KEY)
    resolved = resolved_for("acme")
    assert (resolved.allowed, resolved.rule, resolved.source, bool(resolved.key)) == (False, "public", Source.TENANT, False)
    airgapped("api.openai.com")
    assert resolved_for("acme").allowed


def test_azure_may_be_any_host(acme: Tenant) -> None:
    put(acme, provider="azure-openai", base_url="https://llm.acme.example", model="m", api_key=KEY)
    resolved = resolved_for(acme)
    assert (resolved.config.provider, resolved.base_url) == (Provider.AZURE_OPENAI, "https://llm.acme.example/openai/v1")


# ── Changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_without_a_key_the_stored_one_is_kept(acme: Tenant) -> None:
    first = put(acme, provider="custom", base_url=GATEWAY, model="m", api_key=KEY)
    second = put(acme, provider="custom", base_url="http://litellm.internal:4000/team/v1", model="n", version=1)
    assert (second.last_rotated_at, second.version, second.sealed_key) == (first.last_rotated_at, 2, first.sealed_key)
    assert resolved_for(acme).key.reveal() == KEY
    assert changes(acme)[1] == ("saved", ["base_url", "model"], "litellm.internal:4000", "litellm.internal:4000")


def test_what_is_left_out_is_kept(acme: Tenant) -> None:
    put(acme, provider="custom", base_url=GATEWAY, model="m", api_key=KEY)
    row = put(acme, enabled=False, version=1)
    assert (row.provider, row.base_url, row.model, row.enabled, row.has_api_key) == ("custom", GATEWAY, "m", False, True)


@pytest.mark.parametrize(
    "moved",
    ["https://litellm.internal:4000/v1", "http://litellm.internal:4001/v1", "http://litellm.internal/v1", "http://evil.internal:4000/v1"],
)
def test_a_key_does_not_follow_to_another_origin(acme: Tenant, moved: str) -> None:
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    error = refusal(acme, provider="custom", base_url=moved, version=1)
    assert (error.status, error.field) == (422, "api_key")
    assert "send the key again" in error.detail
    assert put(acme, provider="custom", base_url=moved, version=1, api_key=OTHER).version == 2
    assert resolved_for(acme).key.reveal() == OTHER


def test_a_key_does_not_follow_to_another_vendor(acme: Tenant) -> None:
    put(acme, provider="openai", api_key=KEY)
    assert refusal(acme, provider="anthropic", base_url="", version=1).field == "api_key"


def test_a_key_can_be_dropped_where_none_is_needed(acme: Tenant) -> None:
    put(acme, provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    put(acme, base_url="http://vllm.corp", drop_key=True, version=1)
    assert ((stored(acme) or {})["sealed_key"], (stored(acme) or {})["key_fingerprint"]) == ("", "")
    assert (resolved_for(acme).allowed, resolved_for(acme).key_set) == (True, False)
    assert changes(acme)[1:] == [("saved", ["base_url", "api_key"], "litellm.internal:4000", "vllm.corp")]
    put(acme, drop_key=True, version=2)
    assert changes(acme)[2:] == [("saved", [], "vllm.corp", "vllm.corp")]


def test_a_key_that_a_hosted_service_needs_is_not_dropped(acme: Tenant) -> None:
    put(acme, provider="openai", api_key=KEY)
    assert refusal(acme, drop_key=True, version=1).code == "key_required"
    assert refusal(acme, drop_key=True, api_key=OTHER, version=1).field == "api_key"


def test_a_preview_keeps_every_rule_and_writes_nothing(acme: Tenant) -> None:
    with pytest.raises(CredentialError) as caught:
        preview_credential(acme, Wanted(provider="openai"))
    assert caught.value.code == "key_required"
    assert preview_credential(acme, Wanted(provider="openai", api_key=Secret(KEY))).key.reveal() == KEY
    put(acme, provider="local-litellm", base_url=GATEWAY, api_key=KEY)
    with pytest.raises(CredentialError):
        preview_credential(acme, Wanted(base_url="http://evil.corp", version=1))
    assert preview_credential(acme, Wanted(model="n", version=1)).key.reveal() == KEY
    edit(acme, sealed_key="rubbish")
    assert preview_credential(acme, Wanted(model="n", version=1)).problem == "The stored key is not sealed, so it is not used."
    assert ((stored(acme) or {})["model"], len(changes(acme))) == ("", 1)


def test_a_new_key_is_a_rotation(acme: Tenant) -> None:
    first = put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    second = put(acme, base_url="http://vllm.corp", api_key=OTHER, version=1)
    assert second.last_rotated_at > first.last_rotated_at
    assert second.created_at == first.created_at
    assert changes(acme)[1] == ("rotated", ["base_url", "api_key"], "litellm.internal:4000", "vllm.corp")


def test_versions_keep_writers_from_each_other(acme: Tenant) -> None:
    put(acme, provider="custom", base_url=GATEWAY, model="m")
    assert (refusal(acme, model="x").status, refusal(acme, model="x").field) == (422, "version")
    put(acme, model="first", version=1)
    assert (refusal(acme, model="second", version=1).status, refusal(acme, model="second", version=3).status) == (409, 409)
    assert stored(acme)["model"] == "first"
    remove_credential(acme, by="alice")
    assert refusal(acme, provider="custom", base_url=GATEWAY, version=2).status == 409


def test_a_writer_who_reads_before_the_other_writes_is_stale(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    put(acme, provider="custom", base_url=GATEWAY)
    real = credentials._check_key

    def meanwhile(*args: Any) -> None:
        edit(acme, version=2) if connection.vendor == "sqlite" else TenantCredential.objects.for_tenant(acme).update(version=2)
        real(*args)

    monkeypatch.setattr(credentials, "_check_key", meanwhile)
    monkeypatch.setattr(credentials, "tenant_scope", lambda tenant: all_tenants())
    with pytest.raises(CredentialError) as caught:
        put(acme, model="x", version=1)
    assert caught.value.status == 409


@pytest.mark.parametrize("act", ["save", "change", "remove", "reseal"])
def test_where_the_audit_row_cannot_be_written_nothing_is(acme: Tenant, act: str, monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    if act != "save":
        put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    before = stored(acme), changes(acme)

    def fails(*_args: object, **_options: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(CredentialChange, "save", fails)
    settings.CREDENTIAL_KEYS = (Fernet.generate_key().decode(), *settings.CREDENTIAL_KEYS)
    calls: dict[str, Callable[[], object]] = {
        "save": lambda: put(acme, provider="custom", base_url=GATEWAY),
        "change": lambda: put(acme, model="x", version=1),
        "remove": lambda: remove_credential(acme, by="alice"),
        "reseal": lambda: reseal(acme, by="alice"),
    }
    with pytest.raises(DatabaseError):
        calls[act]()
    assert (stored(acme), changes(acme)) == before


def test_removing_twice_writes_one_audit_row(acme: Tenant) -> None:
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    assert [remove_credential(acme, by="alice") for _ in range(2)] == [True, False]
    assert stored(acme) is None
    assert changes(acme)[1:] == [("removed", [], "litellm.internal:4000", "")]
    assert resolved_for(acme).source is Source.NONE


def test_what_was_done_is_not_rewritten(acme: Tenant) -> None:
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    with pytest.raises(DatabaseError), all_tenants():
        CredentialChange.across_tenants.update(by="mallory")
    if connection.vendor == "postgresql":
        with pytest.raises(DatabaseError), all_tenants():
            CredentialChange.across_tenants.all().delete()
    assert len(changes(acme)) == 1


def test_neither_log_nor_audit_row_holds_a_key(acme: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
        put(acme, api_key=OTHER, version=1)
        note_test(acme, by="alice", host="litellm.internal:4000", outcome="ok")
        remove_credential(acme, by="alice")
    sealed_heads = ("v1.", "gAAAA")
    with tenant_scope(acme):
        rows = str(list(CredentialChange.objects.for_tenant(acme).values()))
    for text in (caplog.text, rows):
        assert not [word for word in (KEY, OTHER, *sealed_heads) if word in text]
    events = [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]
    assert events == ["credential.saved", "credential.saved", "credential.tested", "credential.removed"]


# ── Whoever can write the database ───────────────────────────────────────────────────────────────────────────────────
def error_state(tenant: Tenant, word: str) -> None:
    """The row is an error with its reason: no key, and not the operator's connection instead."""
    resolved = resolved_for(tenant)
    assert (resolved.allowed, resolved.source, bool(resolved.key)) == (False, Source.TENANT, False)
    assert word in resolved.reason


@pytest.fixture
def operators_key(environment: Environment) -> None:
    environment(LLM_BASE_URL="http://ollama:11434", LLM_API_KEY="sk-planted-operator-1")


@pytest.mark.usefixtures("operators_key")
def test_a_url_edited_in_the_database_gets_no_key(acme: Tenant) -> None:
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    edit(acme, base_url="http://evil.internal/v1")
    error_state(acme, "another scheme, host or port")


@pytest.mark.usefixtures("operators_key")
def test_a_sealed_key_moved_to_another_tenants_row_does_not_open(acme: Tenant) -> None:
    globex = Tenant.objects.create(slug="globex", name="Globex")
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    put(globex, provider="custom", base_url=GATEWAY, api_key=OTHER)
    edit(globex, sealed_key=stored(acme)["sealed_key"])
    error_state(globex, "another tenant")
    assert resolved_for(acme).allowed


@pytest.mark.usefixtures("operators_key")
@pytest.mark.parametrize(
    ("sealed", "word"),
    [
        ("sk-plain-text", "not sealed"),
        (Vault([Fernet.generate_key().decode()]).seal(Secret(KEY), "acme", "http://litellm.internal:4000"), "vault key that is not here"),
    ],
)
def test_stored_text_that_is_not_sealed_here_is_never_used_as_a_key(acme: Tenant, sealed: str, word: str) -> None:
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    edit(acme, sealed_key=sealed)
    error_state(acme, word)


@pytest.mark.usefixtures("operators_key")
def test_a_row_without_its_key_does_not_get_the_operators(acme: Tenant) -> None:
    put(acme, provider="openai", api_key=KEY)
    edit(acme, sealed_key="")
    error_state(acme, "key is missing")
    edit(acme, provider="custom", base_url="https://evil.example.com")
    error_state(acme, "key is missing")


@pytest.mark.usefixtures("operators_key")
@pytest.mark.parametrize(
    ("url", "rule"), [("http://169.254.169.254/", "tenant_metadata"), ("http://127.0.0.1:6379", "tenant_loopback"), ("http://1.2", "malformed")]
)
def test_a_url_that_no_tenant_may_use_is_refused_when_it_came_past_the_rules(acme: Tenant, url: str, rule: str) -> None:
    put(acme, provider="local-vllm", base_url=GATEWAY)
    edit(acme, base_url=url)
    assert (resolved_for(acme).allowed, resolved_for(acme).rule) == (False, rule)


def test_a_provider_of_another_version_is_an_error(acme: Tenant) -> None:
    put(acme, provider="custom", base_url=GATEWAY)
    edit(acme, provider="quantum")
    error_state(acme, "not one of this version")


def test_a_disabled_row_leaves_the_environment(acme: Tenant, environment: Environment) -> None:
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY, enabled=False)
    edit(acme, sealed_key="rubbish")
    environment(LLM_BASE_URL="http://ollama:11434")
    assert (resolved_for(acme).source, resolved_for(acme).host) == (Source.ENVIRONMENT, "ollama")


# ── Re-sealing ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_resealing_moves_a_key_to_the_first_vault_key_once(acme: Tenant, settings: object) -> None:
    put(acme, provider="openai", api_key=KEY)
    old, new = settings.CREDENTIAL_KEYS[0], Fernet.generate_key().decode()
    settings.CREDENTIAL_KEYS = (new, old)
    assert [reseal(acme, by="rotate") for _ in range(2)] == [True, False]
    settings.CREDENTIAL_KEYS = (new,)
    assert resolved_for(acme).key.reveal() == KEY
    row = stored(acme)
    assert (row["key_fingerprint"], row["version"]) == (Vault([new]).fingerprint, 1)
    assert changes(acme)[1:] == [("resealed", [], "", "api.openai.com")]


def test_resealing_says_what_it_cannot_open(acme: Tenant, settings: object) -> None:
    put(acme, provider="openai", api_key=KEY)
    settings.CREDENTIAL_KEYS = (Fernet.generate_key().decode(),)
    with pytest.raises(VaultError):
        reseal(acme, by="rotate")


# ── The second lock ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.skipif(connection.vendor != "postgresql", reason="row-level security is PostgreSQL's")
def test_without_a_scope_the_database_shows_no_row_but_the_one_that_is_asked_for_by_slug(acme: Tenant) -> None:
    globex = Tenant.objects.create(slug="globex", name="Globex")
    put(acme, provider="custom", base_url=GATEWAY, api_key=KEY)
    put(globex, provider="custom", base_url=GATEWAY, api_key=OTHER)
    with transaction.atomic(), connection.cursor() as cursor:
        role = connection.ops.quote_name(f"plain_{connection.settings_dict['NAME']}")  # a role is the whole server's
        cursor.execute(f"CREATE ROLE {role} NOLOGIN")
        tables = "llm_tenantcredential, llm_credentialchange, llm_endpointoutcome, tenants_tenant"
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}")
        cursor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        cursor.execute(f"SET LOCAL ROLE {role}")  # the suite's own is a superuser, whom no policy binds
        assert TenantCredential.across_tenants.count() == CredentialChange.across_tenants.count() == 0
        assert resolved_for("acme").key.reveal() == KEY
        assert resolved_for("globex").key.reveal() == OTHER
        assert TenantCredential.across_tenants.count() == 0  # the function has opened nothing for what comes after it
        with tenant_scope(acme):
            assert [row.tenant_id for row in TenantCredential.across_tenants.all()] == [acme.pk]
            assert resolved_for("globex").key.reveal() == OTHER
            assert TenantCredential.across_tenants.count() == 1
        assert put(acme, model="n", api_key=OTHER, version=1).version == 2
        note_test(acme, by="alice", host="x", outcome="ok")
        assert [remove_credential(acme, by="alice") for _ in range(2)] == [True, False]
        assert [action for action, *_ in changes(acme)] == ["saved", "rotated", "tested", "removed"]
        assert [action for action, *_ in changes(globex)] == ["saved"]
        cursor.execute("RESET ROLE")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no functions of its own.")
def test_a_database_that_made_the_function_with_a_set_clause_gets_the_one_without() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION llm_credential_of(slug text) RETURNS SETOF llm_tenantcredential"
            " LANGUAGE sql STABLE SET aisoc.all_tenants = 'on' AS"
            " $$ SELECT c.* FROM llm_tenantcredential c JOIN tenants_tenant t ON t.id = c.tenant_id WHERE t.slug = $1 $$"
        )
        with connection.schema_editor() as editor:
            import_module("llm.migrations.0004_credential_of").replace(None, editor)
        cursor.execute(
            "SELECT proconfig, lanname, provolatile FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE proname = 'llm_credential_of'"
        )
        assert cursor.fetchall() == [(None, "plpgsql", "v")]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no roles.")
def test_an_owner_of_the_tables_who_is_no_superuser_can_make_what_a_resolve_asks(acme: Tenant) -> None:
    put(acme, provider="local-litellm", base_url=GATEWAY)
    globex = Tenant.objects.create(slug="globex", name="Globex")
    put(globex, provider="local-litellm", base_url="http://other.internal:4000/v1")
    owner = f"makes_in_{connection.settings_dict['NAME']}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {owner}; GRANT CREATE ON SCHEMA public TO {owner}; GRANT SELECT ON tenants_tenant, llm_tenantcredential TO {owner}"
        )
        cursor.execute(f"DROP FUNCTION llm_credential_of(text); SET LOCAL ROLE {owner}")
        cursor.execute(import_module("llm.migrations.0002_credentials").CREDENTIAL_OF)
    hosts = {slug: resolved_for(slug).host for slug in ("acme", "globex", "nobody")}
    assert hosts == {"acme": "litellm.internal", "globex": "other.internal", "nobody": ""}
    with tenant_scope(acme):
        assert resolved_for("globex").host == "other.internal"
        assert [row.tenant_id for row in TenantCredential.across_tenants.all()] == [acme.pk]
    assert not TenantCredential.across_tenants.exists()
