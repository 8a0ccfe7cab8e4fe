"""Tenants and memberships are edited here; tokens are listed and revoked, never made or shown."""

from django.contrib import admin
from django.http import HttpRequest

from tenants.models import ApiToken, Membership, Tenant


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A tenant's slug never changes and is never free again: keys are sealed to it, and the trail names it."""

    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    fields = ("slug", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        return False


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "role", "tenant")
    list_filter = ("role", "tenant")
    list_select_related = ("user", "tenant")


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("token_key", "user", "role", "tenant", "created", "expiry")
    fields = ("token_key", "user", "role", "tenant", "created", "expiry")
    list_select_related = ("user", "tenant")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False
