"""The pages of deployment, feeds and egress. Each renders what its builder computed; the one form that changes anything forgets a process."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods, require_safe

from console import errors
from console.access import ReaderRequest, for_readers, for_writers, needs_database
from console.database import ask_database
from console.deployment import DeploymentPage, deployment_page
from console.downloads import MARKDOWN, download
from console.egress import EgressPage, egress_page
from console.egress_filter import Asked
from console.feed_import import ImportForm
from console.feeds import FeedsPage, Filter, feeds_page
from console.fleet import forget_process
from console.host_check import LADDER, try_host
from console.nav import first_page
from tenants.acting import acting, choices, choose
from threatintel.snapshot import Verdict

NO_TENANT = "*"  # in the form; no slug reads like this


@require_safe
@needs_database
def home(request: HttpRequest) -> HttpResponse:
    """The first page that the reader may open."""
    now = acting(request) if request.user.is_authenticated else None
    return redirect(first_page(now.role) if now else "console:deployment")


@require_http_methods(["GET", "HEAD", "POST"])
@needs_database
def act_for(request: HttpRequest) -> HttpResponseBase:
    """Choose the tenant to act for, of those that the reader has a role in; kept in the session. A GET goes to the first page."""
    if request.method == "POST" and request.user.is_authenticated:
        slug = request.POST.get("tenant", "")
        if choose(request, "" if slug == NO_TENANT else slug) is None:
            return errors.choose_tenant(request, held) if (held := choices(request)) else errors.no_role(request)
    return redirect("console:home")


@require_safe
@for_readers
def deployment(request: ReaderRequest) -> HttpResponse:
    """Deployment & AI. `?host=` tries a host."""
    page = deployment_page()
    context = {
        "page": page,
        "markdown": deployment_markdown(request, page),
        "answer": try_host(request.GET.get("host", "")),
        "asked": "host" in request.GET,
        "ladder": LADDER,
    }
    return render(request, "console/deployment.html", context, status=503 if page.fleet.away else 200)


@require_safe
@for_readers
def deployment_json(request: ReaderRequest) -> HttpResponse:
    page = deployment_page()
    return download(JsonResponse(page.as_dict(), status=503 if page.fleet.away else 200), "deployment.json")


@require_safe
@for_readers
def deployment_md(request: ReaderRequest) -> HttpResponse:
    page = deployment_page()
    return HttpResponse(deployment_markdown(request, page), content_type=MARKDOWN, status=503 if page.fleet.away else 200)


def forget(request: HttpRequest, instance: str) -> HttpResponseBase:
    """Take a silent process off the list. A GET, as after a login that came in between, goes to the page."""
    return forget_now(request, instance) if request.method == "POST" else redirect("console:deployment")


@for_writers
def forget_now(request: ReaderRequest, instance: str) -> HttpResponse:
    answer = forget_process(instance, by=request.user.get_username())
    messages.add_message(request, messages.SUCCESS if answer.done else messages.WARNING, answer.sentence)
    return redirect(f"{reverse('console:deployment')}#processes")


@require_safe
@for_readers
def egress(request: ReaderRequest) -> HttpResponse:
    """Blocked egress. The query filters; 503 while the database is away."""
    page = egress_page(Asked.read(request.GET))
    context = {"page": page, "markdown": egress_markdown(request, page), "link": egress_address(request, page)}
    return render(request, "console/egress.html", context, status=503 if page.database_away else 200)


@require_safe
@for_readers
def egress_json(request: ReaderRequest) -> HttpResponse:
    page = egress_page(Asked.read(request.GET))
    return download(JsonResponse(page.as_dict(), status=503 if page.database_away else 200), "egress.json")


@require_safe
@for_readers
def egress_md(request: ReaderRequest) -> HttpResponse:
    page = egress_page(Asked.read(request.GET))
    return HttpResponse(egress_markdown(request, page), content_type=MARKDOWN, status=503 if page.database_away else 200)


@require_safe
@for_readers
def feeds(request: ReaderRequest) -> HttpResponse:
    """Threat-intel feeds. `?state=` and `?q=` filter; 503 while the database is away."""
    page = feeds_page(Filter.read(request.GET.get("state", ""), request.GET.get("q", "")))
    states = [(state, page.counts[state]) for state in Verdict]
    context = {"page": page, "markdown": feeds_markdown(request, page), "states": states, "form": ImportForm()}
    return render(request, "console/feeds.html", context, status=503 if page.database_away else 200)


@require_safe
@for_readers
def feeds_json(request: ReaderRequest) -> HttpResponse:
    page = feeds_page(Filter())
    return download(JsonResponse(page.as_dict(), status=503 if page.database_away else 200), "feeds.json")


@require_safe
@for_readers
def feeds_md(request: ReaderRequest) -> HttpResponse:
    page = feeds_page(Filter())
    return HttpResponse(feeds_markdown(request, page), content_type=MARKDOWN, status=503 if page.database_away else 200)


@method_decorator(needs_database, name="dispatch")
class Login(LoginView):
    """The login page; 503 at once when nobody could sign in anyway."""

    template_name = "console/login.html"
    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        ask_database()
        return super().dispatch(request, *args, **kwargs)


@method_decorator(needs_database, name="dispatch")
class Logout(LogoutView):
    """POST only."""


def deployment_markdown(request: HttpRequest, page: DeploymentPage) -> str:
    return render_to_string("console/deployment.md", {"page": page, "address": request.build_absolute_uri(reverse("console:deployment"))})


def egress_markdown(request: HttpRequest, page: EgressPage) -> str:
    return render_to_string("console/egress.md", {"page": page, "address": egress_address(request, page)})


def egress_address(request: HttpRequest, page: EgressPage) -> str:
    """The page with its filters, to hand on."""
    return request.build_absolute_uri(f"{reverse('console:egress')}{page.asked.query()}")


def feeds_markdown(request: HttpRequest, page: FeedsPage) -> str:
    return render_to_string("console/feeds.md", {"page": page, "address": request.build_absolute_uri(reverse("console:feeds"))})
