"""The page of channels, and the test of one."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe

from actions import tasks
from actions.deliveries import open_delivery
from actions.models import Delivery
from actions.registry import notifier_named
from console.access import ReaderRequest, for_readers, for_writers
from console.channels import ChannelsPage, Filter, channels_page
from console.downloads import MARKDOWN, download

TEST_TITLE = "Test of this channel"


@require_safe
@for_readers
def channels(request: ReaderRequest) -> HttpResponse:
    """Channels. `?channel=`, `?state=` and `?before=` are of the deliveries; 503 while the database is away."""
    page = channels_page(Filter.read(request.GET.dict()))
    context = {"page": page, "markdown": channels_markdown(request, page), "states": Delivery.State.values}
    return render(request, "console/channels.html", context, status=503 if page.database_away else 200)


@require_safe
@for_readers
def channels_json(request: ReaderRequest) -> HttpResponse:
    page = channels_page(Filter())
    return download(JsonResponse(page.as_dict(), status=503 if page.database_away else 200), "channels.json")


@require_safe
@for_readers
def channels_md(request: ReaderRequest) -> HttpResponse:
    page = channels_page(Filter())
    return HttpResponse(channels_markdown(request, page), content_type=MARKDOWN, status=503 if page.database_away else 200)


def send_test(request: HttpRequest, name: str) -> HttpResponseBase:
    """Send a test. A GET, as after a login that came in between, goes to the page."""
    return send_test_now(request, name) if request.method == "POST" else redirect("console:channels")


@for_writers
def send_test_now(request: ReaderRequest, name: str) -> HttpResponse:
    notifier = notifier_named(name)
    if notifier is None:
        raise Http404(f"There is no channel named {name[:60]!r}.")
    user = request.user.get_username()
    row = open_delivery(name, title=TEST_TITLE, text=f"Sent by {user} from the page Channels. There is nothing to do.", origin=user)
    if row.state != Delivery.State.QUEUED:
        messages.error(request, f"The test of {notifier.title} failed: {row.reason}")
    elif tasks.publish(row.pk):
        messages.success(request, f"Test of {notifier.title} asked for (delivery {row.pk}). What comes of it stands below; reload to see it.")
    else:
        messages.warning(
            request, f"The test of {notifier.title} is queued (delivery {row.pk}), but the broker did not answer. It is sent when it is back."
        )
    return redirect("console:channels")


def channels_markdown(request: HttpRequest, page: ChannelsPage) -> str:
    return render_to_string("console/channels.md", {"page": page, "address": request.build_absolute_uri(reverse("console:channels"))})
