"""The pages of tenants' connections. What changes one goes through llm.credentials alone."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from console import errors
from console.access import ReaderRequest, for_roles
from console.downloads import MARKDOWN, download
from console.tenant import tenant_page
from console.tenant_form import NotSaved, TenantForm, preview, save
from console.tenant_rows import read_rows
from console.tenants import GATES, PATHS, SOURCES, TenantFilter, TenantsPage, tenants_page
from llm.credentials import remove_credential, reseal
from llm.limits import TooOften
from llm.probe import ProbeOutcome, probe_tenant
from llm.vault import VaultError
from tenants.acting import Acting
from tenants.models import Tenant
from tenants.queries import tenant_of_slug
from tenants.roles import CREDENTIAL_WRITERS, EVERY_ROLE, WRITERS
from threatintel.snapshot import Verdict


@require_safe
@for_roles(EVERY_ROLE)
def tenants(request: ReaderRequest) -> HttpResponse:
    """Every tenant that the reader sees. `?gate=`, `?source=`, `?path=` and `?q=` filter."""
    page = tenants_page(request.acting, TenantFilter.read(request.GET))
    filters = (
        ("gate", "Gate", list(GATES.items()), page.filter.gate),
        ("source", "Source", list(SOURCES.items()), page.filter.source),
        ("path", "Path", list(PATHS.items()), page.filter.path),
    )
    next_page = f"?{urlencode({**page.filter.asked, 'after': page.next_after})}" if page.next_after else ""
    context = {"page": page, "markdown": _markdown(request, page), "filters": filters, "next_page": next_page}
    return render(request, "console/tenants.html", context)


@require_safe
@for_roles(EVERY_ROLE)
def tenants_json(request: ReaderRequest) -> HttpResponse:
    page = tenants_page(request.acting, TenantFilter.read(request.GET), whole=True)
    return download(JsonResponse(page.as_dict()), "tenants.json")


@require_safe
@for_roles(EVERY_ROLE)
def tenants_md(request: ReaderRequest) -> HttpResponse:
    page = tenants_page(request.acting, TenantFilter.read(request.GET), whole=True)
    return HttpResponse(_markdown(request, page), content_type=MARKDOWN)


@sensitive_post_parameters("api_key")
@require_http_methods(["GET", "HEAD", "POST"])
@for_roles(EVERY_ROLE)
def tenant(request: ReaderRequest, name: str) -> HttpResponseBase:
    """One tenant; a POST previews or saves what was typed, as `do` says."""
    if request.method != "POST":
        return _page(request, _owner(request, name))
    if request.acting.role not in CREDENTIAL_WRITERS:
        return errors.role_refused(request, request.acting, CREDENTIAL_WRITERS)
    owner = _owner(request, name)
    try:
        if request.POST.get("do") != "save":
            return _page(request, owner, preview(owner, request.POST))
        save(owner, request.POST, by=request.user.get_username())
    except NotSaved as error:
        return _page(request, owner, error.form, status=error.status)
    _tell_saved(request, owner)
    return redirect("console:tenant", name)


def test(request: HttpRequest, name: str) -> HttpResponseBase:
    """Ask the tenant's model for one token. A GET, as after a login that came in between, goes to the page."""
    return test_now(request, name) if request.method == "POST" else redirect("console:tenant", name)


@for_roles(CREDENTIAL_WRITERS)
def test_now(request: ReaderRequest, name: str) -> HttpResponse:
    owner = _owner(request, name)
    try:
        found = probe_tenant(owner, by=request.user.get_username())
    except TooOften as error:
        messages.warning(request, f"Not tested. {error.detail}")
        return redirect("console:tenant", name)
    took = f" It took {found.latency_ms:,} ms." if found.latency_ms is not None else ""
    text = f"Test: {found.outcome.value}. {found.detail}{took}"
    if found.outcome is ProbeOutcome.OK:
        messages.success(request, text)
    elif found.outcome is ProbeOutcome.BLOCKED:
        messages.warning(request, text)
    else:
        messages.error(request, text)
    return redirect("console:tenant", name)


def remove(request: HttpRequest, name: str) -> HttpResponseBase:
    """Remove the tenant's own row. A GET goes to the page."""
    return remove_now(request, name) if request.method == "POST" else redirect("console:tenant", name)


@for_roles(CREDENTIAL_WRITERS)
def remove_now(request: ReaderRequest, name: str) -> HttpResponse:
    owner = _owner(request, name)
    if "sure" not in request.POST:
        messages.warning(request, "Nothing was removed: tick that you want it, then send it again.")
    elif remove_credential(owner, by=request.user.get_username()):
        messages.success(request, f"The connection of {owner.slug} is removed, key and all: it inherits the operator's now.")
    else:
        messages.warning(request, f"{owner.slug} has no connection of its own; there was nothing to remove.")
    return redirect("console:tenant", name)


def reseal_key(request: HttpRequest, name: str) -> HttpResponseBase:
    """Seal the tenant's key with the newest vault key. A GET goes to the page."""
    return reseal_now(request, name) if request.method == "POST" else redirect("console:tenant", name)


@for_roles(WRITERS)
def reseal_now(request: ReaderRequest, name: str) -> HttpResponse:
    owner = _owner(request, name)
    try:
        done = reseal(owner, by=request.user.get_username())
    except VaultError as error:
        messages.error(request, f"The key of {owner.slug} was not re-sealed. {error}")
    else:
        text = f"The key of {owner.slug} is sealed with the newest vault key"
        messages.success(request, f"{text} now." if done else f"{text} already, or there is none.")
    return redirect("console:tenant", name)


def _owner(request: ReaderRequest, slug: str) -> Tenant:
    """The tenant of the address. Raises Http404 for another one than the reader acts for."""
    now = request.acting
    found = (now.tenant if now.slug == slug else None) if now.tenant is not None else tenant_of_slug(slug)
    if found is None:
        raise Http404("There is no such tenant here.")
    return found


def _page(request: ReaderRequest, owner: Tenant, form: TenantForm | None = None, *, status: int = 200) -> HttpResponse:
    page = tenant_page(Acting(request.acting.role, owner), request.GET.get("before", ""), form)
    return render(request, "console/tenant.html", {"page": page}, status=status)


def _tell_saved(request: ReaderRequest, owner: Tenant) -> None:
    """A refused host is saved, for policy may change; never silently."""
    (row,) = read_rows(Acting(request.acting.role, owner))
    if row.own and row.verdict is Verdict.REFUSED:
        text = f"Saved, and REFUSED now: {row.gate.text} A saved row does not open the gate; ask the operator for an allowlist entry."
        messages.warning(request, text)
    else:
        messages.success(request, "Saved.")


def _markdown(request: HttpRequest, page: TenantsPage) -> str:
    query = f"?{urlencode(page.filter.asked)}" if page.filter else ""
    return render_to_string("console/tenants.md", {"page": page, "address": request.build_absolute_uri(reverse("console:tenants") + query)})
