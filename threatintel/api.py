"""The threat-intel endpoints."""

from dataclasses import dataclass
from typing import Any

import structlog
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from kombu.exceptions import OperationalError
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.active import active_policy
from tenants.roles import INTEL_READERS
from threatintel import runs
from threatintel.lookup import exactly
from threatintel.models import FeedRun, Indicator
from threatintel.queries import ACTIVE, EXPIRED, REVOKED, readings, search_indicators, view_of
from threatintel.registry import feed_named
from threatintel.schedule import plan
from threatintel.snapshot import Verdict, feeds_snapshot
from threatintel.specs import Tlp
from threatintel.tasks import poll as poll_task

STATUSES = (ACTIVE, EXPIRED, REVOKED)
STATUS_CHOICES = tuple((word, word) for word in STATUSES)  # the schema names this set IndicatorStatus
FILTERS = ("value", "type", "source", "status", "tlp", "label")
WORDS = {"status": STATUSES, "tlp": tuple(tlp.value for tlp in Tlp)}  # the filters that are one of a few words

log = structlog.stdlib.get_logger("threatintel")


class FeedSchema(serializers.Serializer[object]):
    name = serializers.CharField()
    title = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=[(item.value, item.value) for item in Verdict])
    reason = serializers.CharField()
    rule = serializers.CharField(allow_null=True)
    host = serializers.CharField(allow_null=True)
    every_seconds = serializers.IntegerField()
    last_success = serializers.DateTimeField(allow_null=True)
    last_attempt = serializers.DateTimeField(allow_null=True)
    next_run = serializers.DateTimeField(allow_null=True)
    data_date = serializers.DateTimeField(allow_null=True)
    indicators = serializers.IntegerField()


class FeedListSchema(serializers.Serializer[object]):
    results = FeedSchema(many=True)
    next = serializers.URLField(allow_null=True)


class RunSchema(serializers.Serializer[object]):
    run = serializers.IntegerField()
    sent = serializers.BooleanField(help_text="False: the broker did not answer; the scheduler sends the run again.")


class SourceSchema(serializers.Serializer[object]):
    feed = serializers.CharField()
    external_id = serializers.CharField()
    confidence = serializers.IntegerField()
    tlp = serializers.CharField()
    url = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUS_CHOICES)
    context = serializers.BooleanField(help_text="True: no detection is asked for.")  # type: ignore[assignment]  # hides Field.context, as DRF lets it


class IndicatorSchema(serializers.Serializer[Indicator]):
    type = serializers.CharField()
    value = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUS_CHOICES)
    confidence = serializers.IntegerField()
    tlp = serializers.CharField()
    labels = serializers.ListField(child=serializers.CharField())
    first_seen = serializers.DateTimeField(allow_null=True)
    last_seen = serializers.DateTimeField(allow_null=True)
    valid_until = serializers.DateTimeField(allow_null=True)
    sources = SourceSchema(many=True)

    def to_representation(self, instance: Indicator) -> dict[str, Any]:
        return view_of(instance).as_dict()


class CannotPoll(APIException):
    status_code = 409
    default_code = "cannot_poll"


class FeedsView(APIView):
    read_roles = INTEL_READERS

    @extend_schema(operation_id="feeds", responses=FeedListSchema)
    def get(self, request: Request) -> Response:
        """Every feed with its state and reason, refused and unconfigured ones too."""
        return Response({"results": [feed.as_dict() for feed in feeds_snapshot()], "next": None})


class PollView(APIView):
    @extend_schema(operation_id="feed_poll", request=None, responses={202: RunSchema})
    def post(self, request: Request, name: str) -> Response:
        """Poll a feed now. 409 when the feed is refused or not configured."""
        asked = request_poll(name)
        return Response({"run": asked.run.pk, "sent": asked.sent}, status=202)


@dataclass(frozen=True, slots=True)
class AskedPoll:
    """A poll that somebody asked for. Not sent: the broker is away; the run is kept, and the scheduler sends it again."""

    run: FeedRun
    sent: bool


def request_poll(name: str) -> AskedPoll:
    """Open a run for the feed and send it to the worker. Raises NotFound, or CannotPoll with the reason."""
    spec = feed_named(name)
    if spec is None:
        raise NotFound(f"There is no feed named {name[:60]!r}.")
    if not spec.url:
        raise CannotPoll(f"{spec.title} is not configured. {spec.to_configure}".strip())
    if refused := plan((spec,), active_policy()).refused:
        raise CannotPoll(refused[0].reason)
    run = runs.open_run(spec.name, runs.manual_slot())
    if run is None:
        raise CannotPoll("This poll was asked for already.")
    try:
        poll_task.apply_async(args=(run.feed, run.slot), queue="intel", retry=False)
    except (OperationalError, OSError) as error:
        log.warning("feed.not_sent", feed=run.feed, slot=run.slot, error=type(error).__name__)
        return AskedPoll(run, sent=False)
    return AskedPoll(run, sent=True)


class IndicatorSearchView(ListAPIView[Indicator]):
    serializer_class = IndicatorSchema
    read_roles = INTEL_READERS

    @extend_schema(
        operation_id="iocs_search",
        parameters=[OpenApiParameter(name, str, enum=WORDS.get(name)) for name in FILTERS],
        responses=IndicatorSchema(many=True),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Indicators by value (in any form that a person writes it), type and feed, and by what any of their sources says."""
        given = self._given()
        if "value" not in given or given.keys() - {"value", "type", "source"}:
            return super().get(request, *args, **kwargs)
        # By keys alone: what an analyst's tools ask all day.
        found = exactly(readings(given["value"], given.get("type", "")))
        wanted = given.get("source")
        shown = [one.as_dict() for one in found if wanted is None or any(source["feed"] == wanted for source in one.sources)]
        return Response({"results": shown, "next": None})

    def get_queryset(self) -> QuerySet[Indicator]:
        return search_indicators(**self._given())

    def _given(self) -> dict[str, str]:
        """The filters of the request. Raises ValidationError."""
        given = {name: self.request.query_params[name].strip() for name in FILTERS if name in self.request.query_params}
        for name, text in given.items():
            if not text or "\0" in text:
                raise ValidationError({name: f"?{name}= is empty or holds a NUL character; leave it out, or give text."}, code="invalid")
            if name in WORDS and text not in WORDS[name]:
                raise ValidationError({name: f"?{name}= is one of {', '.join(WORDS[name])}."}, code="invalid")
        return given
