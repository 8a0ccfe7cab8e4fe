"""Reads a tenant's row and opens its key: what the resolver is given. One query; whatever is wrong is a `problem`, never "no row"."""

import threading
from typing import Final

import structlog
from django.db import DEFAULT_DB_ALIAS, Error, connections

from airgap.hosts import Malformed, Url
from llm.config import Provider, Secret, TenantOverride
from llm.models import TenantCredential
from llm.vault import VaultError, active_vault
from tenants.slugs import is_slug

CREDENTIALS_UNREADABLE = "llm.credentials_unreadable"
UNREADABLE: Final = "The database cannot be read, so nobody knows whether this tenant has a connection of its own; none is used."

log = structlog.stdlib.get_logger("llm")
_away = threading.Event()  # the database could not be read at the last try: said once


def override_of(slug: str) -> TenantOverride | None:
    """The connection of the tenant with this slug; None when it has no row. A database that is away makes a `problem` too."""
    if not is_slug(slug):
        return None
    try:
        row = _row(slug)
    except Error as error:
        if not _away.is_set():
            _away.set()
            log.warning(CREDENTIALS_UNREADABLE, error=type(error).__name__)
        return TenantOverride(slug, provider=Provider.NONE, problem=UNREADABLE)
    _away.clear()
    return None if row is None else opened(row, slug)


def opened(row: TenantCredential, slug: str) -> TenantOverride:
    """The row with its key. A disabled one is not opened."""
    try:
        provider = Provider(row.provider)
    except ValueError:
        return TenantOverride(slug, Provider.NONE, row.base_url, enabled=row.enabled, problem="The stored provider is not one of this version.")
    override = TenantOverride(slug, provider, row.base_url, Secret(), row.model, row.enabled)
    if not row.enabled or not row.sealed_key:
        return override
    try:
        key = active_vault().open_sealed(row.sealed_key, slug, origin_of(override.url))
    except VaultError as error:
        return TenantOverride(slug, provider, row.base_url, Secret(), row.model, row.enabled, str(error))
    return TenantOverride(slug, provider, row.base_url, key, row.model, row.enabled)


def origin_of(url: str) -> str:
    """What a key is bound to: scheme, host and port; "" for text that is no URL."""
    parts = Url.parse(url)
    return "" if isinstance(parts, Malformed) else parts.origin


def _row(slug: str) -> TenantCredential | None:
    """On PostgreSQL by a function of the database, which opens row-level security for its own body: a scope would take four statements more."""
    rows = TenantCredential.across_tenants
    if connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
        return next(iter(rows.raw("SELECT * FROM llm_credential_of(%s)", [slug])), None)
    return rows.filter(tenant__slug=slug).first()
