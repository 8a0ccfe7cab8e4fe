"""`GET /api/v1/airgap/events`, as pages and as streamed CSV, JSON lines and OCSF."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http import StreamingHttpResponse
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.ocsf import network_activity
from airgap.page_size import page_size
from airgap.queries import EventFilter, Position, events
from airgap.readership import confined_to

PAGE = 50
WORDS = ("host", "rule", "layer", "service", "purpose", "tenant")
PARAMETERS = [
    *(OpenApiParameter(name, OpenApiTypes.DATETIME, description="RFC 3339, with a zone.") for name in ("since", "until")),
    *(OpenApiParameter(name, str) for name in WORDS),
]
_signer = Signer(salt="airgap.events")


class EventSchema(serializers.Serializer[object]):
    minute = serializers.DateTimeField()
    service = serializers.CharField()
    process = serializers.CharField()
    host = serializers.CharField()
    port = serializers.IntegerField(allow_null=True)
    path = serializers.CharField()
    rule = serializers.CharField()
    reason = serializers.CharField()
    layer = serializers.CharField()
    purpose = serializers.CharField()
    tenant = serializers.CharField(allow_null=True)
    caller = serializers.CharField()
    count = serializers.IntegerField()
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()


COLUMNS = tuple(EventSchema().fields)


class EventPageSchema(serializers.Serializer[object]):
    results = EventSchema(many=True)
    next = serializers.URLField(allow_null=True)


class EventsView(APIView):
    tenants_may_read = True  # their own: see _filter

    @extend_schema(
        operation_id="airgap_events",
        responses=EventPageSchema,
        parameters=[*PARAMETERS, OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    def get(self, request: Request) -> Response:
        """Refused attempts, summed by minute and process, newest first."""
        size = page_size(request, PAGE)
        found = list(events(_filter(request), _position(request), size + 1))
        following = None
        if len(found) > size:
            query = {**request.query_params.dict(), "cursor": _cursor(found[size - 1][0])}
            following = request.build_absolute_uri(f"{request.path}?{urlencode(query)}")
        return Response({"results": [event for _position, event in found[:size]], "next": following})


class EventsCsvView(APIView):
    tenants_may_read = True  # their own: see _filter

    @extend_schema(operation_id="airgap_events_csv", responses={(200, "text/csv"): OpenApiTypes.STR}, parameters=PARAMETERS)
    def get(self, request: Request) -> StreamingHttpResponse:
        """The same as CSV (RFC 4180), streamed."""
        return _download(_csv_lines(_filter(request)), "text/csv; charset=utf-8", "airgap-events.csv")


class EventsJsonlView(APIView):
    tenants_may_read = True  # their own: see _filter

    @extend_schema(
        operation_id="airgap_events_jsonl", responses={200: OpenApiResponse(OpenApiTypes.STR, "One JSON object a line.")}, parameters=PARAMETERS
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """The same as JSON lines, streamed."""
        return _download(_json_lines(_filter(request)), "application/x-ndjson", "airgap-events.jsonl")


class EventsOcsfView(APIView):
    tenants_may_read = True  # their own: see _filter

    @extend_schema(
        operation_id="airgap_events_ocsf",
        responses={200: OpenApiResponse(OpenApiTypes.STR, "One OCSF 1.4 event (Network Activity, 4001) a line.")},
        parameters=PARAMETERS,
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """The same as OCSF events for a SIEM, as JSON lines, streamed."""
        return _download(_ocsf_lines(_filter(request)), "application/x-ndjson", "airgap-events.ocsf.jsonl")


class _Line:
    """A file for the csv writer that hands each line back."""

    def write(self, text: str) -> str:
        return text


def _csv_lines(wanted: EventFilter) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for _position, event in events(wanted):
        yield writer.writerow([_cell(event[name]) for name in COLUMNS])


def _json_lines(wanted: EventFilter) -> Iterator[bytes]:
    renderer = JSONRenderer()
    for _position, event in events(wanted):
        yield bytes(renderer.render(event)) + b"\n"


def _ocsf_lines(wanted: EventFilter) -> Iterator[bytes]:
    for _position, event in events(wanted):
        yield json.dumps(network_activity(event, settings.VERSION), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: a host or path may begin with = or @."""
    text = "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _download(lines: Iterator[Any], content_type: str, name: str) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines, content_type=content_type, headers=headers)


def _filter(request: Request) -> EventFilter:
    """What is asked for, and of it what the reader may see. Raises ValidationError; NotFound for another tenant's."""
    given = request.query_params
    words = {name: given[name] for name in WORDS if name in given}
    for name, text in words.items():
        if not text or "\0" in text:
            raise ValidationError({name: f"?{name}= is empty or holds a NUL character; leave it out, or give text."}, code="invalid")
    if (own := confined_to(request)) and words.setdefault("tenant", own) != own:
        raise NotFound("There is no such tenant here.")
    return EventFilter(since=_time(request, "since"), until=_time(request, "until"), **words)


def _time(request: Request, name: str) -> datetime | None:
    if name not in request.query_params:
        return None
    try:
        parsed = parse_datetime(request.query_params[name])
        moment = parsed.astimezone(UTC) if parsed is not None and parsed.tzinfo is not None else None
    except (ValueError, OverflowError):  # a day before the first or behind the last one, in UTC
        moment = None
    if moment is None:
        raise ValidationError({name: f"?{name}= is not an RFC 3339 time with a zone; write it as 2026-01-31T12:00:00Z."}, code="invalid")
    return moment


def _cursor(position: Position) -> str:
    return _signer.sign(json.dumps([position.minute.isoformat(), position.row]))


def _position(request: Request) -> Position | None:
    if "cursor" not in request.query_params:
        return None
    try:
        minute, row = json.loads(_signer.unsign(request.query_params["cursor"]))
    except (BadSignature, ValueError):
        raise NotFound("The cursor is not one that this deployment gave.") from None
    return Position(datetime.fromisoformat(minute), int(row))
