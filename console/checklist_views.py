"""The audit checklist, and what changes it: an attestation, an acceptance, a sign-off."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe

from airgap.attest import AttestError, accept, attest
from airgap.audit import audit
from airgap.signoff import sign_off
from console.access import ReaderRequest, for_readers, for_writers
from console.checklist import Asked, ChecklistPage, Form, checklist_page
from console.downloads import MARKDOWN, download

TYPED = {attest: ("note", "ticket", "days", "evidence"), accept: ("note", "ticket", "days")}


@require_safe
@for_readers
def checklist(request: ReaderRequest) -> HttpResponse:
    """Audit checklist. `?span=` is how far back refused attempts count, `?against=` the sign-off to compare with."""
    return _page(request, checklist_page(Asked.read(request.GET)))


@require_safe
@for_readers
def checklist_json(request: ReaderRequest) -> HttpResponse:
    page = checklist_page(Asked.read(request.GET))
    return download(JsonResponse(page.as_dict(), status=503 if page.database_away else 200), "checklist.json")


@require_safe
@for_readers
def checklist_md(request: ReaderRequest) -> HttpResponse:
    page = checklist_page(Asked.read(request.GET))
    return HttpResponse(_markdown(request, page), content_type=MARKDOWN, status=503 if page.database_away else 200)


def attest_item(request: HttpRequest, item: str) -> HttpResponseBase:
    """A GET, as after a login that came in between, goes to the page. So with the others."""
    return _write_item(request, item, attest, "attested") if request.method == "POST" else redirect("console:checklist")


def accept_item(request: HttpRequest, item: str) -> HttpResponseBase:
    return _write_item(request, item, accept, "accepted; its verdict stays") if request.method == "POST" else redirect("console:checklist")


def sign_off_now(request: HttpRequest) -> HttpResponseBase:
    return _sign_off(request) if request.method == "POST" else redirect("console:checklist")


@for_writers
def _write_item(request: ReaderRequest, item: str, write: Callable[..., Any], done: str) -> HttpResponse:
    typed = {name: request.POST[name] for name in TYPED[write] if name in request.POST}
    given: dict[str, Any] = dict(typed)
    days = given.get("days", "").strip()
    if "days" in given:
        given["days"] = int(days) if days.isascii() and days.isdigit() and len(days) < 6 else days
    try:
        row = write(item, by=request.user.get_username(), **{"note": "", **given})
    except AttestError as error:
        if error.missing:
            raise Http404(str(error)) from None
        page = checklist_page(Asked(), Form(item, typed, str(error), error.field))
        return _page(request, page, status=422)
    messages.success(request, f"The item is {done}, until {row.expires_at:%Y-%m-%d}.")
    return redirect(f"{reverse('console:checklist')}#item-{row.item}")


@for_writers
def _sign_off(request: ReaderRequest) -> HttpResponse:
    note = request.POST.get("note", "")
    try:
        row = sign_off(audit(thorough=True), by=request.user.get_username(), note=note)
    except AttestError as error:
        return _page(request, checklist_page(Asked(), Form("", {"note": note}, str(error), error.field)), status=422)
    messages.success(request, f"Signed off as {row.verdict}. Digest {row.digest}")
    return redirect(f"{reverse('console:checklist')}#signed")


def _page(request: HttpRequest, page: ChecklistPage, *, status: int = 200) -> HttpResponse:
    context = {"page": page, "markdown": _markdown(request, page)}
    return render(request, "console/checklist.html", context, status=503 if page.database_away else status)


def _markdown(request: HttpRequest, page: ChecklistPage) -> str:
    return render_to_string("console/checklist.md", {"page": page, "address": request.build_absolute_uri(reverse("console:checklist"))})
