"""Querysets that cannot forget the tenant: a tenant-owned model is asked for one tenant's rows, or refuses."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from django.db import models

if TYPE_CHECKING:  # models.py imports this module
    from tenants.models import Tenant

M = TypeVar("M", bound=models.Model)


class TenantForgotten(RuntimeError):
    """A query of tenant-owned rows that names no tenant, or a row of another tenant written through one tenant's queryset."""


class TenantQuerySet(models.QuerySet[M]):
    """The rows of one tenant. What is made through it is that tenant's, and none of it can be given to another."""

    _owner: int | None = None

    def _clone(self) -> "TenantQuerySet[M]":
        clone: TenantQuerySet[M] = super()._clone()  # type: ignore[misc]
        clone._owner = self._owner
        return clone

    def create(self, **values: Any) -> M:
        return super().create(**self._owned(values))

    def update(self, **values: Any) -> int:
        return super().update(**(self._owned(values) if {"tenant", "tenant_id"} & values.keys() else values))

    def bulk_create(self, objs: Iterable[M], batch_size: int | None = None, **options: Any) -> list[M]:  # type: ignore[override]  # words for options
        rows = list(objs)
        for row in rows:
            self._owned({"tenant_id": row.tenant_id})  # type: ignore[attr-defined]
        if options.get("update_conflicts") and not {"tenant", "tenant_id"} & set(options.get("unique_fields") or ()):
            raise TenantForgotten("Rows that are written over have the tenant among their unique_fields.")
        made = super().bulk_create(rows, batch_size, **options)
        for row in made:
            row._stored_for = self._owner  # type: ignore[attr-defined]
        return made

    def raw(self, *args: Any, **options: Any) -> NoReturn:
        raise TenantForgotten("SQL by hand does not know the tenant of these rows: ask across_tenants.")

    def extra(self, *args: Any, **options: Any) -> NoReturn:
        raise TenantForgotten("SQL by hand can widen the rows of a tenant: use expressions.")

    def _owned(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values with the owner in them. Raises TenantForgotten when they name another."""
        named = [getattr(values["tenant"], "pk", None)] if "tenant" in values else []
        named += [values["tenant_id"]] if "tenant_id" in values else []
        if self._owner is None or any(pk != self._owner for pk in named):
            raise TenantForgotten(f"A row of {self.model.__name__} was about to be written for another tenant than the one asked for.")
        return {**{name: value for name, value in values.items() if name not in ("tenant", "tenant_id")}, "tenant_id": self._owner}


class TenantManager(models.Manager[M]):
    """`for_tenant` and nothing else: all, filter, get, create, count and the rest raise TenantForgotten."""

    def for_tenant(self, tenant: "Tenant") -> TenantQuerySet[M]:
        owner = getattr(tenant, "pk", None)
        if owner is None:
            raise TenantForgotten(f"{self.model.__name__} was asked for the rows of no tenant.")
        rows: TenantQuerySet[M] = TenantQuerySet(self.model, using=self._db).filter(tenant_id=owner)
        rows._owner = owner
        return rows

    def get_queryset(self) -> models.QuerySet[M]:
        raise TenantForgotten(
            f"Ask {self.model.__name__}.objects.for_tenant(tenant), or {self.model.__name__}.across_tenants for every tenant's rows."
        )
