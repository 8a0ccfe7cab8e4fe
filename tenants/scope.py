"""Whose rows a transaction may touch: the second lock of PostgreSQL's row-level security, set for one transaction and gone with it.

Without a scope PostgreSQL shows no tenant-owned row and takes none. SQLite has no such lock; the order of scopes is held there too.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from tenants.acting import Acting
from tenants.models import Tenant
from tenants.roles import DEPLOYMENT_ROLES

TENANT_SETTING: Final = "aisoc.tenant"
ALL_SETTING: Final = "aisoc.all_tenants"
ALL: Final = "on"


class ScopeError(RuntimeError):
    """A scope that would open more than the one around it."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """tenant: its primary key, None for all of them."""

    tenant: int | None

    def settings(self) -> tuple[str, str]:
        return ("", ALL) if self.tenant is None else (str(self.tenant), "")


_current: ContextVar[_Scope | None] = ContextVar("tenant_scope", default=None)


@contextmanager
def tenant_scope(tenant: Tenant) -> Iterator[None]:
    """A transaction that sees and takes this tenant's rows only. Raises ScopeError inside another tenant's scope, or for an unsaved tenant."""
    if tenant.pk is None:
        raise ScopeError("This tenant is not stored, so it has no rows.")
    with _scope(_Scope(tenant.pk)):
        yield


@contextmanager
def all_tenants() -> Iterator[None]:
    """A transaction that sees every tenant's rows: for operators, auditors and jobs. Raises ScopeError inside one tenant's scope."""
    with _scope(_Scope(None)):
        yield


def acting_scope(now: Acting) -> AbstractContextManager[None]:
    """What a request may touch: its tenant's rows, or for an operator or auditor who acts for none every tenant's."""
    if now.tenant is not None:
        return tenant_scope(now.tenant)
    if now.role not in DEPLOYMENT_ROLES:
        raise ScopeError(f"The role {now.role.value} acts for one tenant, and none was given.")
    return all_tenants()


@contextmanager
def _scope(wanted: _Scope) -> Iterator[None]:
    around = _current.get()
    if around is not None and around.tenant is not None and around != wanted:
        raise ScopeError("Inside one tenant's scope neither another tenant's nor every tenant's can be opened.")
    token = _current.set(wanted)
    try:
        with transaction.atomic():
            before = _put(wanted.settings())
            yield
            _put(before)  # a released savepoint would keep them; a rolled back one, or the end of the transaction, does not
    finally:
        _current.reset(token)


def _put(values: tuple[str, str]) -> tuple[str, str]:
    """Set both settings until the end of the transaction; returns what they were."""
    if connection.vendor != "postgresql":
        return values
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true), current_setting(%s, true)", (TENANT_SETTING, ALL_SETTING))
        tenant, every = cursor.fetchone()
        cursor.execute("SELECT set_config(%s, %s, true), set_config(%s, %s, true)", (TENANT_SETTING, values[0], ALL_SETTING, values[1]))
    return tenant or "", every or ""
