"""The pages below /assist/: a form each. A script reads the answer as it is told; without one the same form brings the whole answer."""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from console import errors
from console.access import ReaderRequest, for_roles
from console.assist import TOOLS, answer_of
from llm.alerts import Alert, AlertError
from llm.capabilities import explain as explaining
from llm.capabilities import investigate as investigating
from llm.limits import TooOften, asker, take
from llm.ndjson import MEDIA_TYPE, Telling, told
from tenants.models import Tenant
from tenants.roles import EVERY_ROLE, LLM_USERS

MAX_PASTED: Final = 200_000  # characters
Tell = Callable[[Alert, Tenant | None], Telling]


@require_http_methods(["GET", "HEAD", "POST"])
@for_roles(EVERY_ROLE)
def explain(request: ReaderRequest) -> HttpResponseBase:
    """Explain an alert that is pasted as JSON or text."""
    return _asked(request, "console/assist/explain.html", explaining.CAPABILITY, explaining.Explaining)


@require_http_methods(["GET", "HEAD", "POST"])
@for_roles(EVERY_ROLE)
def investigate(request: ReaderRequest) -> HttpResponseBase:
    """Investigate an alert that is pasted as JSON or text."""
    return _asked(request, "console/assist/investigate.html", investigating.CAPABILITY, investigating.Investigating)


def _asked(request: ReaderRequest, template: str, capability: str, tell: Tell) -> HttpResponseBase:
    """The page with its form; on POST with its answer, or the answer alone, line by line, for a script that asks for lines."""
    if request.method != "POST":
        return _page(request, template)
    if request.acting.role not in LLM_USERS:
        return errors.role_refused(request, request.acting, LLM_USERS)
    pasted = request.POST.get("alert", "")
    try:
        if len(pasted) > MAX_PASTED:
            raise AlertError("alert", f"The alert is longer than {MAX_PASTED:,} characters; leave out what repeats itself.")
        alert = Alert.pasted(pasted)
        take(capability, asker(request.acting, request.user.pk))
    except AlertError as error:
        return _refused(request, template, pasted, str(error), 400)
    except TooOften as error:
        return _refused(request, template, pasted, f"{error.detail}", 429, wait=error.seconds)
    telling = tell(alert, request.acting.tenant)
    if _wants_lines(request):
        return told(telling)
    with closing(telling):
        return _page(request, template, pasted=pasted, answer=answer_of(telling))


def _refused(request: ReaderRequest, template: str, pasted: str, problem: str, status: int, *, wait: int | None = None) -> HttpResponse:
    response: HttpResponse
    if _wants_lines(request):
        response = JsonResponse({"code": "throttled" if status == 429 else "invalid", "detail": problem}, status=status)
    else:
        response = _page(request, template, pasted=pasted, problem=problem, status=status)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response


def _page(request: ReaderRequest, template: str, *, status: int = 200, **context: object) -> HttpResponse:
    may_ask = request.acting.role in LLM_USERS
    return render(request, template, {"tools": TOOLS, "may_ask": may_ask, "here": request.path, **context}, status=status)


def _wants_lines(request: HttpRequest) -> bool:
    return MEDIA_TYPE in request.headers.get("Accept", "")
