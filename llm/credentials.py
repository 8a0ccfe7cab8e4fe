"""Writes of tenants' LLM credentials: each with its rules, its version and its audit row, in one transaction.

CredentialError     what is wrong with a request: status, code and field for the API, one sentence for people
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from airgap.active import active_policy, active_tenant_rule
from airgap.announce import Kind, Severity, announce
from airgap.hosts import Malformed, Url
from airgap.tenant_rule import TenantRule
from llm.config import DEFAULT_URLS, VENDORS, LLMConfig, Provider, Secret, TenantOverride
from llm.credential_rows import opened, origin_of
from llm.models import TENANT_PROVIDERS, CredentialChange, TenantCredential
from llm.outcomes import begin_anew
from llm.resolver import resolve
from llm.vault import active_vault
from tenants.models import Tenant
from tenants.scope import tenant_scope

CREDENTIAL_SAVED = "credential.saved"
CREDENTIAL_REMOVED = "credential.removed"
CREDENTIAL_TESTED = "credential.tested"
CREDENTIAL_RESEALED = "credential.resealed"
KEY_REMOVED: Final = "key removed"  # the note of such a change
MAX_URL: Final = 500
MAX_MODEL: Final = 200
MAX_KEY: Final = 4096

log = structlog.stdlib.get_logger("llm")


class CredentialError(Exception):
    """A request that is not carried out. `field` is "" where it is about none."""

    def __init__(self, status: int, code: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a row shall be. None keeps what is stored; a key that is blank does too, unless drop_key. version: the one that the writer has seen."""

    provider: str | None = None
    base_url: str | None = None
    model: str | None = None
    api_key: Secret = Secret()  # noqa: RUF009 - immutable
    enabled: bool | None = None
    version: int | None = None
    drop_key: bool = False


@dataclass(frozen=True, slots=True)
class _Checked:
    """Wanted, with what is stored filled in and every rule kept."""

    provider: Provider
    base_url: str
    model: str
    enabled: bool
    key: Secret
    drop_key: bool

    @property
    def url(self) -> str:
        return self.base_url or DEFAULT_URLS.get(self.provider, "")


def save_credential(tenant: Tenant, wanted: Wanted, *, by: str) -> TenantCredential:
    """Make or change the tenant's row. Raises CredentialError, and then nothing is changed."""
    with tenant_scope(tenant):
        row = TenantCredential.objects.for_tenant(tenant).first()
        checked = _checked(wanted, row, active_tenant_rule())
        _check_version(wanted.version, row)
        _check_key(checked, row)
        now = timezone.now()
        saved, change = _make(tenant, checked, by, now) if row is None else _change(tenant, row, checked, by, now)
        _write_down(tenant, change)
        if "api_key" in change.fields:
            own = TenantOverride(tenant.slug, checked.provider, checked.base_url, model=checked.model)
            begin_anew(resolve(LLMConfig(), own, active_policy()))
    log.info(CREDENTIAL_SAVED, tenant=tenant.slug, by=by, action=change.action, fields=change.fields, host=change.new_host)
    if change.fields:
        _announce(tenant, f"{change.action} by {by}: {', '.join(change.fields)}; host {change.new_host or 'none'}.")
    return saved


def preview_credential(tenant: Tenant, wanted: Wanted) -> TenantOverride:
    """What save_credential would store, with its key opened: for the resolver. Nothing is written. Raises CredentialError as that does."""
    with tenant_scope(tenant):
        row = TenantCredential.objects.for_tenant(tenant).first()
    checked = _checked(wanted, row, active_tenant_rule())
    _check_version(wanted.version, row)
    _check_key(checked, row)
    if row is None or checked.key or checked.drop_key:
        return TenantOverride(tenant.slug, checked.provider, checked.base_url, checked.key, checked.model, checked.enabled)
    row.provider, row.base_url, row.model, row.enabled = checked.provider.value, checked.base_url, checked.model, checked.enabled
    return opened(row, tenant.slug)


def remove_credential(tenant: Tenant, *, by: str) -> bool:
    """Remove the tenant's row; False when there is none, and then nothing is written down either."""
    with tenant_scope(tenant):
        row = TenantCredential.objects.for_tenant(tenant).select_for_update().first()
        if row is None:
            return False
        TenantCredential.objects.for_tenant(tenant).filter(pk=row.pk).delete()
        change = CredentialChange(at=timezone.now(), by=by, action=CredentialChange.Action.REMOVED, old_host=host_of(url_of(row)))
        _write_down(tenant, change)
    log.info(CREDENTIAL_REMOVED, tenant=tenant.slug, by=by, host=change.old_host)
    _announce(tenant, f"removed by {by}; host was {change.old_host or 'none'}.")
    return True


def _announce(tenant: Tenant, what: str) -> None:
    """After the commit: what is told must not be undone, and telling must not undo the write."""
    title = f"LLM credential of {tenant.slug} changed"
    transaction.on_commit(lambda: announce(Kind.CREDENTIAL, tenant.slug, title, f"{what[:1].upper()}{what[1:]}", Severity.LOW))


def note_test(tenant: Tenant, *, by: str, host: str, outcome: str) -> None:
    """Write down that the tenant's connection was tried, and the word that came of it."""
    with tenant_scope(tenant):
        _write_down(tenant, CredentialChange(at=timezone.now(), by=by, action=CredentialChange.Action.TESTED, new_host=host, note=outcome))
    log.info(CREDENTIAL_TESTED, tenant=tenant.slug, by=by, host=host, outcome=outcome)


def reseal(tenant: Tenant, *, by: str) -> bool:
    """Seal the tenant's key anew with the first vault key; False when it is already, or when there is none. Raises VaultError.

    The version stays: nobody's edit is lost by it.
    """
    vault = active_vault()
    with tenant_scope(tenant):
        row = TenantCredential.objects.for_tenant(tenant).select_for_update().first()
        if row is None or not row.sealed_key:
            return False
        origin = origin_of(row.base_url or DEFAULT_URLS.get(Provider(row.provider), ""))
        key = vault.open_sealed(row.sealed_key, tenant.slug, origin)
        if row.sealed_key.startswith(f"v1.{vault.fingerprint}."):
            return False
        sealed = vault.seal(key, tenant.slug, origin)
        rows = TenantCredential.objects.for_tenant(tenant).filter(pk=row.pk, sealed_key=row.sealed_key)
        if not rows.update(sealed_key=sealed, key_fingerprint=vault.fingerprint):
            return False  # another write was faster, and sealed with the first key
        _write_down(tenant, CredentialChange(at=timezone.now(), by=by, action=CredentialChange.Action.RESEALED, new_host=host_of(url_of(row))))
    log.info(CREDENTIAL_RESEALED, tenant=tenant.slug, by=by)
    return True


# ── Rules ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _checked(wanted: Wanted, row: TenantCredential | None, rule: TenantRule) -> _Checked:
    provider = _provider(wanted.provider if wanted.provider is not None or row is None else row.provider)
    base_url = (wanted.base_url if wanted.base_url is not None else row.base_url if row else "").strip()
    model = (wanted.model if wanted.model is not None else row.model if row else "").strip()
    enabled = wanted.enabled if wanted.enabled is not None else row.enabled if row else True
    if len(model) > MAX_MODEL or not model.isprintable():
        raise CredentialError(422, "invalid", f"A model's name has at most {MAX_MODEL} printable characters.", "model")
    key = Secret(wanted.api_key.reveal().strip())
    if len(key.reveal()) > MAX_KEY or not key.sendable:
        raise CredentialError(422, "invalid", f"A key has at most {MAX_KEY} printable ASCII characters and no blank.", "api_key")
    if key and wanted.drop_key:
        raise CredentialError(422, "invalid", "Send a key or have the stored one removed, not both.", "api_key")
    checked = _Checked(provider, base_url, model, enabled, key, wanted.drop_key)
    _check_url(checked, rule)
    return checked


def _provider(text: str | None) -> Provider:
    names = {provider.value: provider for provider in TENANT_PROVIDERS}
    if text not in names:
        raise CredentialError(422, "unknown_provider", f"The provider is one of {', '.join(names)}.", "provider")
    return names[text]


def _check_url(checked: _Checked, rule: TenantRule) -> None:
    provider = checked.provider
    if not checked.url:
        raise CredentialError(422, "required", f"The provider {provider} needs a base URL, for example http://litellm.internal:4000/v1.", "base_url")
    url = Url.parse(checked.url)
    if isinstance(url, Malformed):
        raise CredentialError(422, "malformed", url.reason, "base_url")
    if url.userinfo or url.query or "#" in checked.url or len(checked.url) > MAX_URL:
        detail = f"A base URL has no user info, query or fragment, and at most {MAX_URL} characters. The key goes into api_key."
        raise CredentialError(422, "malformed", detail, "base_url")
    if refusal := rule.refusal_of_url(checked.url):
        raise CredentialError(422, refusal.rule.value, refusal.reason, "base_url")
    if (own := DEFAULT_URLS.get(provider)) and url.origin != origin_of(own):
        detail = f"The provider {provider} is at {origin_of(own)}; for another server that speaks like it, choose custom."
        raise CredentialError(422, "foreign_host", detail, "base_url")


def _check_version(version: int | None, row: TenantCredential | None) -> None:
    if row is not None and version is None:
        raise CredentialError(422, "required", f"There is a row already. Send the version that you have seen; it is {row.version} now.", "version")
    if version != (row.version if row else None):
        now = f"it is {row.version} now" if row else "there is no row any more"
        raise CredentialError(409, "stale", f"Somebody else has changed this meanwhile: {now}. Load it again.", "version")


def _check_key(checked: _Checked, row: TenantCredential | None) -> None:
    if checked.key:
        return
    if row is not None and row.sealed_key and not checked.drop_key:
        if origin_of(url_of(row)) != origin_of(checked.url):
            detail = "The base URL moves to another scheme, host or port, and a key does not follow it there: send the key again."
            raise CredentialError(422, "key_required", detail, "api_key")
        return
    if LLMConfig.of(checked.url, Secret(), checked.model, checked.provider).provider in VENDORS:
        raise CredentialError(422, "key_required", f"The provider {checked.provider} is a hosted service and needs a key.", "api_key")


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _make(tenant: Tenant, checked: _Checked, by: str, now: datetime) -> tuple[TenantCredential, CredentialChange]:
    values = {**_values(tenant, checked, by, now), "created_at": now}
    try:
        with transaction.atomic():
            row = TenantCredential.objects.for_tenant(tenant).create(**values)
    except IntegrityError:
        raise CredentialError(409, "stale", "Somebody else has made this row meanwhile. Load it again.", "version") from None
    changed = [name for name in ("provider", "base_url", "model", "api_key", "enabled") if name != "api_key" or checked.key]
    return row, CredentialChange(at=now, by=by, action=CredentialChange.Action.SAVED, fields=changed, new_host=host_of(url_of(row)))


def _change(tenant: Tenant, row: TenantCredential, checked: _Checked, by: str, now: datetime) -> tuple[TenantCredential, CredentialChange]:
    changed = [name for name in ("provider", "base_url", "model", "enabled") if getattr(row, name) != getattr(checked, name)]
    old_host, row_key = host_of(url_of(row)), row.sealed_key
    rows = TenantCredential.objects.for_tenant(tenant).filter(pk=row.pk, version=row.version)
    if not rows.update(**_values(tenant, checked, by, now), version=F("version") + 1):
        raise CredentialError(409, "stale", "Somebody else has changed this meanwhile. Load it again.", "version")
    row.refresh_from_db()
    action = CredentialChange.Action.ROTATED if checked.key else CredentialChange.Action.SAVED
    dropped = checked.drop_key and bool(row_key)
    fields = [*changed, *(["api_key"] if checked.key or dropped else [])]
    note = KEY_REMOVED if dropped else ""
    return row, CredentialChange(at=now, by=by, action=action, fields=fields, old_host=old_host, new_host=host_of(url_of(row)), note=note)


def _values(tenant: Tenant, checked: _Checked, by: str, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {
        "provider": checked.provider.value,
        "base_url": checked.base_url,
        "model": checked.model,
        "enabled": checked.enabled,
        "updated_at": now,
        "updated_by": by,
    }
    if checked.key:
        vault = active_vault()
        values |= {"sealed_key": vault.seal(checked.key, tenant.slug, origin_of(checked.url)), "key_fingerprint": vault.fingerprint}
        values |= {"last_rotated_at": now}
    elif checked.drop_key:
        values |= {"sealed_key": "", "key_fingerprint": ""}
    return values


def _write_down(tenant: Tenant, change: CredentialChange) -> None:
    """In the transaction of what it tells of: where this fails, that has not happened."""
    change.tenant = tenant
    change.save(force_insert=True)


def url_of(row: TenantCredential) -> str:
    return row.base_url or next((url for provider, url in DEFAULT_URLS.items() if provider.value == row.provider), "")


def host_of(base_url: str) -> str:
    """host, or host:port where the port is not the scheme's own, IPv6 in brackets; "" for text that is no URL."""
    url = Url.parse(base_url)
    if isinstance(url, Malformed):
        return ""
    return url.origin.partition("://")[2]
