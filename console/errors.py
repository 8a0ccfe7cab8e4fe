"""Answers to what went wrong: a calm page that says what to do, or {"code", "detail"} below /api/. Never a traceback.

No function here but no_role and choose_tenant, which know their user, needs the database, a session or a context processor.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone

from airgap.snapshot import airgap_snapshot, guard_snapshot
from console.database import DATABASE_AWAY
from console.deployment import language_model
from console.guard import guard_note, guard_sentence
from console.verdict import Banner
from tenants.acting import Acting
from tenants.roles import EVERY_ROLE, Role
from threatintel.snapshot import Verdict

API = "/api/"
RETRY_SECONDS = 10
SCOPE: Final[Mapping[Role, str]] = {
    Role.OPERATOR: "reads and changes everything",
    Role.AUDITOR: "reads everything and changes nothing",
    Role.TENANT_ADMIN: "reads shared threat intel and looks after its own tenant",
    Role.ANALYST: "reads shared threat intel and works for its own tenant",
}


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(
        request,
        400,
        "bad_request",
        "The request could not be read.",
        ("Check the address and try again.", "If this is a new host name of this deployment, its operator adds it to ALLOWED_HOSTS and restarts."),
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(
        request,
        403,
        "permission_denied",
        "This is not open to your account.",
        ("Sign in with another account, or ask an operator for the role that it needs.",),
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, 404, "not_found", "There is nothing at this address.", ("Check the address, or start from the first page.",))


def server_error(request: HttpRequest) -> HttpResponse:
    """500; 503 where the cause is a database that is away, as of any page or endpoint that does not see to it itself."""
    if isinstance(sys.exc_info()[1], DATABASE_AWAY):
        return database_away(request)
    return _answer(
        request,
        500,
        "server_error",
        "This request failed.",
        ("Try again. If it fails again, the log of this process says why: look for the level error.", "The air gap holds whether or not pages work."),
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW. `reason` is for the log alone."""
    return _answer(
        request,
        403,
        "csrf_failed",
        "This form is too old, or cookies are blocked.",
        ("Go back, reload the page and send the form again.", "If it happens again, allow cookies of this site."),
    )


def role_refused(request: HttpRequest, now: Acting, open_to: frozenset[Role]) -> HttpResponse:
    """A page, or a change, that is not for the role of this reader."""
    return _answer(
        request,
        403,
        "permission_denied",
        "Your role does not allow this.",
        (f"Your role is {now.role.label.lower()}, which {SCOPE[now.role]}.", f"Ask someone with the role {_either(open_to)} to do it."),
    )


def no_role(request: HttpRequest) -> HttpResponse:
    """A login without a role. Rendered with the request: the page offers to sign out."""
    name = getattr(request.user, get_user_model().USERNAME_FIELD)
    context = _context(
        403,
        "Your account has no role yet.",
        (f"You are signed in as {name}.", f"Ask an operator to give this account a role: {_either(EVERY_ROLE)}."),
    )
    return render(request, "console/error.html", {**context, "sign_out": True}, status=403)


def choose_tenant(request: HttpRequest, held: Sequence[Acting]) -> HttpResponse:
    """A login of several tenants that has chosen none, or one that it no longer has. Rendered with the request: the page has the choice."""
    context = _context(
        403,
        "Choose the tenant to act for.",
        ("Your account has a role in several places, or no longer the one that was chosen.", "Nothing is shown until you have chosen."),
    )
    return render(request, "console/error.html", {**context, "choices": held, "sign_out": True}, status=403)


def _either(roles: Iterable[Role]) -> str:
    return " or ".join(role.label.lower() for role in Role if role in roles)


def database_away(request: HttpRequest) -> HttpResponse:
    """503 with verdict UNKNOWN. Nobody can be told apart without the database, so what is shown is what is public anyway."""
    if request.path_info.startswith(API):
        return _retry_later(
            JsonResponse({"code": "database_away", "detail": "The database is away. Try again; /ready gives the reason."}, status=503)
        )
    airgap, guard = airgap_snapshot(), guard_snapshot()
    context = {
        "banner": Banner(
            Verdict.UNKNOWN,
            "The database is away, so this page cannot be computed.",
            (
                "Sessions and roles are kept in the database: who you are cannot be checked, and nobody can sign in.",
                "The air gap does not need it: policy and gate below are as this process enforces them now.",
                *((f"Process guard: {guard.mode}. {guard_sentence(airgap.enabled, guard)}",) if guard_note(airgap.enabled, guard) else ()),
            ),
        ),
        "airgap": airgap,
        "model": language_model(),
        "computed_at": timezone.now(),
        "again": request.get_full_path() if request.method in ("GET", "HEAD") else "/",
    }
    return _retry_later(HttpResponse(render_to_string("console/database_away.html", context), status=503))


def _retry_later(response: HttpResponse) -> HttpResponse:
    response["Retry-After"] = str(RETRY_SECONDS)
    response["Cache-Control"] = "no-store"
    return response


def _answer(request: HttpRequest, status: int, code: str, title: str, todo: Sequence[str]) -> HttpResponse:
    if request.path_info.startswith(API):
        return JsonResponse({"code": code, "detail": f"{title} {todo[0]}"}, status=status)
    return HttpResponse(render_to_string("console/error.html", _context(status, title, todo)), status=status)


def _context(status: int, title: str, todo: Sequence[str]) -> dict[str, Any]:
    return {"status": status, "title": title, "todo": todo}
