"""Tenants, memberships (user, role, tenant), API tokens bound to a role and a tenant, and what every row of a tenant has in common."""

from collections.abc import Collection
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from knox.models import AbstractAuthToken

from tenants import slugs
from tenants.owned import TenantForgotten, TenantManager
from tenants.roles import DEPLOYMENT_ROLES, TENANT_ROLES, Role

# Operators and auditors have no tenant, the others exactly one. A role of another version is no role here.
ROLE_FITS_TENANT = Q(role__in=sorted(DEPLOYMENT_ROLES), tenant__isnull=True) | Q(role__in=sorted(TENANT_ROLES), tenant__isnull=False)


class Tenant(models.Model):
    """One customer of the SOC. Found by its slug alone, which never changes: keys are sealed to it, and the trail names it."""

    slug = models.CharField(
        max_length=slugs.MAX_LENGTH,
        unique=True,
        validators=[RegexValidator(slugs.GRAMMAR, f"A slug is {slugs.IN_WORDS}.")],
        help_text="Never changes.",
    )
    name = models.CharField(max_length=120, help_text="For people to read; nothing is found by it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)
        constraints = (models.CheckConstraint(condition=Q(slug__regex=slugs.GRAMMAR), name="tenant_slug_follows_its_grammar"),)

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """One role of one user: over all tenants, or in one of them."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="memberships")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "role"], condition=Q(tenant__isnull=True), name="one_membership_a_role"),
            models.UniqueConstraint(fields=["user", "role", "tenant"], name="one_membership_a_role_and_tenant"),
            models.CheckConstraint(
                condition=ROLE_FITS_TENANT,
                name="membership_role_fits_tenant",
                violation_error_message="Operators and auditors have no tenant; tenant admins and analysts have one.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} is {self.role}" + (f" of {self.tenant}" if self.tenant else "")


class ApiToken(AbstractAuthToken):  # type: ignore[misc]
    """An API token: stored as a SHA-512 digest, with expiry, acting in exactly one role, for exactly one tenant or none."""

    role = models.CharField(max_length=16, choices=Role.choices)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = (models.CheckConstraint(condition=ROLE_FITS_TENANT, name="token_role_fits_tenant"),)

    def __str__(self) -> str:
        return f"token {self.token_key[:6]}… of {self.user} as {self.role}" + (f" of {self.tenant}" if self.tenant else "")


class TenantOwned(models.Model):
    """A row of one tenant. Inherit it, and give its migration `tenants.row_security.EnableRowSecurity(model)` after CreateModel.

    `Model.objects.for_tenant(tenant)` is the one way to the rows; any other use of `objects` raises TenantForgotten. `across_tenants` is every
    row, for jobs and for Django's own machinery (admin, validation), and says so where it is read. On PostgreSQL both see nothing outside of
    tenants.scope. A model with a manager of its own puts `default_manager_name = "across_tenants"` into its Meta.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")

    objects: ClassVar[TenantManager[Any]] = TenantManager()
    across_tenants: ClassVar[models.Manager[Any]] = models.Manager()
    _stored_for: int | None = None  # the tenant that the row was read with

    class Meta:
        abstract = True
        default_manager_name = "across_tenants"

    def save(self, *args: Any, **options: Any) -> None:
        """A new row is inserted, never written over one that has its key. Raises TenantForgotten for a stored row with another tenant in it."""
        if self._state.adding:
            if options.get("force_update") or options.get("update_fields"):
                raise TenantForgotten(f"A {type(self).__name__} that was not read from the database was about to be written over another row.")
            options["force_insert"] = True
        elif self.__dict__.get("tenant_id", self._stored_for) != self._stored_for:
            raise TenantForgotten(f"A stored {type(self).__name__} was about to be given to another tenant, or was read without its tenant.")
        super().save(*args, **options)
        self._stored_for = self.__dict__.get("tenant_id", self._stored_for)

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **options: Any) -> Self:
        row = super().from_db(db, field_names, values, **options)
        row._stored_for = row.__dict__.get("tenant_id")  # not there when the field was deferred
        return row
