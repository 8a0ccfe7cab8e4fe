"""The pages of indicators. All of them read; none changes anything."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from console.access import ReaderRequest, for_intel_readers
from console.bulk import MOST_BYTES, MOST_LINES, bulk_csv, bulk_page
from console.downloads import MARKDOWN, body_size, download
from console.indicator import IndicatorPage, indicator_page
from console.indicators import indicators_page


@require_safe
@for_intel_readers
def indicators(request: ReaderRequest) -> HttpResponse:
    """Indicators. `?q=` is a value in any form; `?type=`, `?feed=`, `?status=`, `?tlp=` and `?label=` filter."""
    return render(request, "console/indicators.html", {"page": indicators_page(request.GET), "most_lines": MOST_LINES})


@require_safe
@for_intel_readers
def indicator(request: ReaderRequest, key: UUID) -> HttpResponse:
    """One indicator. `?page=` of its sources, `?before=` a change, `?raw=` a source whose object is shown."""
    page = _page(request, key)
    context = {"page": page, "markdown": _markdown(request, page), "query": request.GET}
    return render(request, "console/indicator.html", context)


@require_safe
@for_intel_readers
def indicator_md(request: ReaderRequest, key: UUID) -> HttpResponse:
    return HttpResponse(_markdown(request, _page(request, key)), content_type=MARKDOWN)


@csrf_exempt  # so that nothing reads the body before its size is known; the token is asked for below
@require_http_methods(["GET", "HEAD", "POST"])
@for_intel_readers
def many(request: ReaderRequest) -> HttpResponseBase:
    """Look up many values. A POST because of its size; it changes nothing."""
    if request.method == "POST" and body_size(request) > MOST_BYTES:
        page = bulk_page(None)
        problem = f"Values: more than {MOST_BYTES // 1_000_000} MB of text. Paste them in parts."
        return render(request, "console/many.html", {"page": page, "problem": problem, "most_lines": MOST_LINES}, status=413)
    answer: HttpResponseBase = _many(request)
    return answer


@csrf_protect
def _many(request: HttpRequest) -> HttpResponse:
    page = bulk_page(request.POST.get("values", "") if request.method == "POST" else None)
    if page.matches and request.POST.get("form") == "csv":
        return download(HttpResponse(bulk_csv(page), content_type="text/csv; charset=utf-8"), "matches.csv")
    context = {"page": page, "problem": page.problem, "most_lines": MOST_LINES}
    return render(request, "console/many.html", context, status=400 if page.problem else 200)


def _page(request: HttpRequest, key: UUID) -> IndicatorPage:
    page = indicator_page(key, request.GET)
    if page is None:
        raise Http404("There is no such indicator.")
    return page


def _markdown(request: HttpRequest, page: IndicatorPage) -> str:
    address = request.build_absolute_uri(reverse("console:indicator", args=(page.indicator.pk,)))
    return render_to_string("console/indicator.md", {"page": page, "address": address})
