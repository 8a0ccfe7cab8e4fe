"""Tenants' connections in Django's admin, to read and to re-seal; what changes one is the page of the tenant."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from console.tenant_rows import TenantRow, rows_of
from llm.credential_rows import opened
from llm.credentials import reseal
from llm.models import TenantCredential
from llm.vault import VaultError
from tenants.acting import acting
from tenants.roles import READERS, WRITERS, Role
from tenants.scope import all_tenants


@admin.register(TenantCredential)
class TenantCredentialAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For staff who are operators or auditors. No field holds the sealed key."""

    list_display = ("tenant", "in_use", "host", "model", "key", "gate", "explain_takes", "updated_by", "updated_at")
    list_filter = ("provider", "enabled")
    list_select_related = ("tenant",)
    search_fields = ("tenant__slug", "base_url", "model")
    ordering = ("tenant__slug",)
    fields = (
        *("tenant", "page", "provider", "base_url", "model", "enabled", "key", "gate", "explain_takes"),
        *("version", "updated_by", "updated_at"),
    )
    readonly_fields = fields
    actions = ("re_seal",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _role(request) in READERS

    def has_view_permission(self, request: HttpRequest, obj: TenantCredential | None = None) -> bool:
        return _role(request) in READERS

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TenantCredential | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: TenantCredential | None = None) -> bool:
        return False

    def has_reseal_permission(self, request: HttpRequest) -> bool:
        return _role(request) in WRITERS

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        with all_tenants():
            return _rendered(super().changelist_view(request, extra_context))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with all_tenants():
            return _rendered(super().changeform_view(request, object_id, form_url, extra_context))

    @admin.action(description="Re-seal with the newest vault key", permissions=["reseal"])
    def re_seal(self, request: HttpRequest, queryset: QuerySet[TenantCredential]) -> None:
        done = 0
        for row in queryset.select_related("tenant"):
            try:
                done += reseal(row.tenant, by=request.user.get_username())
            except VaultError as error:
                self.message_user(request, f"{row.tenant.slug} was not re-sealed. {error}", messages.ERROR)
        self.message_user(request, f"{done} re-sealed; those that were sealed with the newest vault key already, or have no key, stay as they are.")

    @admin.display(description="in use", boolean=True)
    def in_use(self, row: TenantCredential) -> bool:
        return row.enabled

    @admin.display
    def host(self, row: TenantCredential) -> str:
        return _shown(row).host or "–"

    @admin.display
    def key(self, row: TenantCredential) -> str:
        return _shown(row).key_words

    @admin.display
    def gate(self, row: TenantCredential) -> str:
        gate = _shown(row).gate
        return f"{gate.verdict}: {gate.text}"

    @admin.display(description="explain takes")
    def explain_takes(self, row: TenantCredential) -> str:
        path = _shown(row).path
        return f"{path.words}: {path.why}"

    @admin.display(description="change it, its history")
    def page(self, row: TenantCredential) -> str:
        return format_html('<a href="{}">Tenants &amp; keys: {}</a>', reverse("console:tenant", args=(row.tenant.slug,)), row.tenant.slug)


def _shown(row: TenantCredential) -> TenantRow:
    """Resolved once a row and request: the row of a list is one object."""
    kept: TenantRow | None = row.__dict__.get("_shown")
    if kept is None:
        (kept,) = rows_of([(row.tenant, row, opened(row, row.tenant.slug))])
        row.__dict__["_shown"] = kept
    return kept


def _role(request: HttpRequest) -> Role | None:
    now = acting(request) if request.user.is_staff else None
    return now.role if now and now.tenant is None else None


def _rendered(response: HttpResponse) -> HttpResponse:
    """The rows are read while the template is, which must be inside the scope."""
    render = getattr(response, "render", None)
    rendered: HttpResponse = response if render is None else render()
    return rendered
