"""The pages of the tools that answer in one piece: a form, and below it the answer with its path and reason."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from console import errors
from console.access import ReaderRequest, for_roles
from console.assist import MADE_BY
from console.assist import TOOLS as PAGES
from console.assist_forms import BY_CAPABILITY, MAX_TYPED, shown
from llm.alerts import AlertError
from llm.limits import TooOften, asker, take
from llm.questions import BadQuestion
from tenants.roles import EVERY_ROLE, LLM_USERS


@require_http_methods(["GET", "HEAD", "POST"])
@for_roles(EVERY_ROLE)
def question(request: ReaderRequest, capability: str) -> HttpResponse:
    """The form of a capability; on POST with its answer."""
    tool = BY_CAPABILITY[capability]
    if request.method != "POST":
        return _page(request, capability)
    if request.acting.role not in LLM_USERS:
        return errors.role_refused(request, request.acting, LLM_USERS)
    long = [field.name for field in tool.fields if len(request.POST.get(field.name, "")) > MAX_TYPED]
    if long:
        return _page(request, capability, problems=dict.fromkeys(long, f"This is longer than {MAX_TYPED:,} characters."), status=400)
    try:
        asked = tool.question.request(data=tool.body(request.POST))
        if not asked.is_valid():
            return _page(request, capability, problems={name: _first(error) for name, error in asked.errors.items()}, status=400)
        take(capability, asker(request.acting, request.user.pk))
        answer = tool.question.answer(asked.validated_data, request.acting.tenant)
    except BadQuestion as error:
        return _page(request, capability, problems={error.field.split(".")[0]: str(error)}, status=400)
    except AlertError as error:
        return _page(request, capability, problems={"alert": str(error)}, status=400)
    except ValueError as error:  # what is no JSON
        return _page(request, capability, problems={"true_positives": str(error)}, status=400)
    except TooOften as error:
        response = _page(request, capability, problems={"": f"{error.detail}"}, status=429)
        response.headers["Retry-After"] = str(error.seconds)
        return response
    verdict, made = MADE_BY[answer["path"]]
    return _page(request, capability, answer={**answer, "made": made, "state": verdict.value})


def _page(
    request: ReaderRequest, capability: str, *, status: int = 200, problems: dict[str, str] | None = None, answer: dict[str, object] | None = None
) -> HttpResponse:
    tool = BY_CAPABILITY[capability]
    fields = shown(tool, request.POST if request.method == "POST" else None, problems or {})
    labels = {field.name: field.label for field in tool.fields}
    told = [f"{labels[name]}: {text}" if name in labels else text for name, text in (problems or {}).items()]
    context = {
        "tools": PAGES,
        "tool": tool,
        "fields": fields,
        "problem": " ".join(told),
        "answer": answer,
        "may_ask": request.acting.role in LLM_USERS,
    }
    return render(request, "console/assist/question.html", context | {"here": request.path}, status=status)


def _first(error: object) -> str:
    """The first sentence of DRF's lists and mappings of errors."""
    while isinstance(error, list | dict) and error:
        error = next(iter(error.values())) if isinstance(error, dict) else error[0]
    return str(error)
