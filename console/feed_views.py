"""One feed, and what changes feeds: a poll, and the import of a file."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_safe
from rest_framework.exceptions import APIException

from console.access import ReaderRequest, for_readers, for_writers
from console.downloads import body_size
from console.feed_import import MOST_BYTES, ImportForm, handle_form
from console.feeds import feed_page
from console.process import witness
from threatintel.api import request_poll
from threatintel.registry import feed_named


@require_safe
@for_readers
def feed(request: ReaderRequest, name: str) -> HttpResponse:
    """One feed with its counts by day and its runs. `?before=` is a run."""
    page = feed_page(name, request.GET.get("before", ""))
    if page is None:
        raise Http404("There is no such feed.")
    return render(request, "console/feed.html", {"page": page})


@csrf_exempt  # so that nothing reads the upload before its sender and its size are known; the token is asked for below
@require_http_methods(["GET", "HEAD", "POST"])
@for_writers
def import_file(request: ReaderRequest) -> HttpResponseBase:
    """Preview or import a file that was carried in."""
    if request.method == "POST" and body_size(request) > MOST_BYTES:
        problem = f"The file has more than {MOST_BYTES // 2**20} MiB; bring it in with manage.py import_feed KIND FILE on the host."
        return _form(request, ImportForm(problems={"file": problem}), status=413)
    answer: HttpResponseBase = _import_file(request)
    return answer


@csrf_protect
def _import_file(request: ReaderRequest) -> HttpResponse:
    if request.method != "POST":
        return _form(request, ImportForm(kind=request.GET.get("kind", "")))
    form = handle_form(request.POST, request.FILES.get("file"))
    if form.outcome is None or form.outcome.run is None:
        return _form(request, form, status=400 if form.problems else 200)
    done, counts = form.outcome, form.outcome.counts
    messages.success(
        request,
        f"{done.name} is imported: {counts.fetched:,} records read, {counts.added:,} new, {counts.changed:,} changed, "
        f"{counts.retired:,} retired, {counts.skipped:,} skipped.",
    )
    return redirect("console:feed", form.outcome.run.feed)


def _form(request: HttpRequest, form: ImportForm, *, status: int = 200) -> HttpResponse:
    return render(request, "console/import.html", {"form": form, "witness": witness()}, status=status)


def poll(request: HttpRequest, name: str) -> HttpResponseBase:
    """Poll a feed now. A GET, as after a login that came in between, goes to the page."""
    return poll_now(request, name) if request.method == "POST" else redirect("console:feeds")


@for_writers
def poll_now(request: ReaderRequest, name: str) -> HttpResponse:
    feed = feed_named(name)
    if feed is None:
        raise Http404(f"There is no feed named {name[:60]!r}.")
    try:
        asked = request_poll(name)
    except APIException as error:
        messages.error(request, f"{feed.title} was not polled: {error.detail}")
    else:
        if asked.sent:
            messages.success(
                request, f"Poll of {feed.title} asked for (run {asked.run.pk}). Its result is in the runs of this feed; reload to see it."
            )
        else:
            text = f"The poll of {feed.title} is queued, but the broker did not answer. The scheduler sends it again; see the runs of this feed."
            messages.warning(request, text)
    if request.POST.get("from") == "feed":
        return redirect("console:feed", name)
    kept = {key: request.POST[key] for key in ("state", "q") if request.POST.get(key)}
    return redirect(f"{reverse('console:feeds')}?{urlencode(kept)}" if kept else reverse("console:feeds"))
