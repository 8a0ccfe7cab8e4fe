"""The audit's endpoints: checklist, attestations, readiness, and the signed report."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.attest import AttestError, accept, attest
from airgap.audit import audit, window_of
from airgap.checklist import DAY, Kind, Verdict
from airgap.models import Attestation
from airgap.readiness import readiness
from airgap.report import markdown_of, report_of, signed
from airgap.verify_report import read_span

SINCE = OpenApiParameter("since", str, description="How far back refused attempts count: 30m, 24h, 7d; 24h by default.")

VERDICTS: Final = tuple((verdict.value, verdict.value) for verdict in Verdict)  # the schema names this set ChecklistVerdict


class StandingSchema(serializers.Serializer[object]):
    by = serializers.CharField()
    at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    note = serializers.CharField()
    ticket = serializers.CharField()
    evidence = serializers.CharField()
    expired = serializers.BooleanField()
    genuine = serializers.BooleanField(help_text="Whether it carries the signature of this deployment's key.")


class ItemSchema(serializers.Serializer[object]):
    id = serializers.CharField()
    title = serializers.CharField()
    kind = serializers.ChoiceField(choices=[(kind.value, kind.value) for kind in Kind])
    verdict = serializers.ChoiceField(choices=VERDICTS)
    evidence = serializers.CharField()
    next_step = serializers.CharField()
    checked_at = serializers.DateTimeField()
    details = serializers.ListField(child=serializers.CharField())
    attestation = StandingSchema(allow_null=True)
    accepted = StandingSchema(allow_null=True)


class ChecklistSchema(serializers.Serializer[object]):
    verdict = serializers.ChoiceField(choices=VERDICTS)
    sentence = serializers.CharField()
    since = serializers.DateTimeField()
    computed_at = serializers.DateTimeField()
    policy_digest = serializers.CharField()
    items = ItemSchema(many=True)


class AttestSchema(serializers.Serializer[object]):
    note = serializers.CharField(help_text="What was seen, and where.")
    ticket = serializers.CharField(required=False, allow_blank=True)
    days = serializers.IntegerField(required=False, min_value=1, max_value=366, default=90)
    evidence = serializers.CharField(required=False, allow_blank=True, help_text="The whole output of the probe (manage.py airgap_probe).")


class AcceptSchema(serializers.Serializer[object]):
    note = serializers.CharField(help_text="Why it is acceptable.")
    ticket = serializers.CharField(required=False, allow_blank=True)
    days = serializers.IntegerField(required=False, min_value=1, max_value=366, default=90)


class AttestedSchema(serializers.Serializer[object]):
    item = serializers.CharField()
    accepts = serializers.BooleanField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    note = serializers.CharField()
    ticket = serializers.CharField()


class WouldRefuseSchema(serializers.Serializer[object]):
    kind = serializers.CharField(help_text="feed, llm, tenant, enrichment, channel, setting or contacted")
    name = serializers.CharField()
    host = serializers.CharField()
    port = serializers.IntegerField(allow_null=True)
    rule = serializers.CharField()
    reason = serializers.CharField()
    allowlist = serializers.CharField(help_text="The entry that would permit it; empty where none would.")
    variables = serializers.ListField(child=serializers.CharField())
    count = serializers.IntegerField(allow_null=True, help_text="Of clients that turned to it while the air gap was off.")
    last_seen = serializers.DateTimeField(allow_null=True)


class ReadinessSchema(serializers.Serializer[object]):
    enabled = serializers.BooleanField()
    sentence = serializers.CharField()
    checked = serializers.IntegerField()
    results = WouldRefuseSchema(many=True)
    next = serializers.URLField(allow_null=True)


class Unprocessable(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


def refusal(error: AttestError) -> APIException:
    """What cannot be attested as an error of the API: 404, 409 for what is not to be accepted now, else 422 with the field."""
    if error.missing:
        return NotFound(str(error))
    if error.code == "nothing_to_accept":
        return Conflict(str(error), code=error.code)
    return Unprocessable({error.field: [str(error)]} if error.field else str(error), code=error.code)


class ChecklistView(APIView):
    @extend_schema(operation_id="airgap_checklist", responses=ChecklistSchema, parameters=[SINCE])
    def get(self, request: Request) -> Response:
        """The audit checklist, checked now."""
        return Response(audit(_window(request)).as_dict())


class AttestView(APIView):
    @extend_schema(operation_id="airgap_checklist_attest", request=AttestSchema, responses={201: AttestedSchema})
    def post(self, request: Request, item: str) -> Response:
        """Vouch for an item that cannot be proven from inside. An automatic item is 422."""
        return _answer(attest, request, item, ("ticket", "days", "evidence"))


class AcceptView(APIView):
    @extend_schema(operation_id="airgap_checklist_accept", request=AcceptSchema, responses={201: AttestedSchema})
    def post(self, request: Request, item: str) -> Response:
        """Accept an automatic item that is not OK, with a reason. Its verdict stays; the reason is in every report. 409 when it is OK."""
        return _answer(accept, request, item, ("ticket", "days"))


class ReportView(APIView):
    @extend_schema(
        operation_id="airgap_report",
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, "report and signature, as canonical JSON")},
        parameters=[SINCE],
    )
    def get(self, request: Request) -> HttpResponse:
        """The signed audit report; every row of the trail is walked for it."""
        content = signed(report_of(audit(_window(request), thorough=True)))
        return _download(content, "application/json", "airgap-report.json")


class ReportMarkdownView(APIView):
    @extend_schema(operation_id="airgap_report_md", responses={(200, "text/markdown"): OpenApiTypes.STR}, parameters=[SINCE])
    def get(self, request: Request) -> HttpResponse:
        """The same content, computed now, in readable form."""
        return _download(markdown_of(report_of(audit(_window(request), thorough=True))).encode(), "text/markdown; charset=utf-8", "airgap-report.md")


class ReadinessView(APIView):
    @extend_schema(operation_id="airgap_readiness", responses=ReadinessSchema)
    def get(self, request: Request) -> Response:
        """What the air gap would refuse if it were on. Nothing is sent, resolved or recorded."""
        return Response(readiness().as_dict())


def _window(request: Request) -> timedelta:
    text = request.query_params.get("since")
    try:
        return DAY if text is None else window_of(read_span(text))
    except ValueError as error:
        raise ValidationError({"since": str(error)}, code="invalid") from None


def _answer(write: Callable[..., Attestation], request: Request, item: str, names: tuple[str, ...]) -> Response:
    """Write what the body says. What it does not say has its default."""
    if not isinstance(request.data, dict):
        raise Unprocessable("The body is a JSON object.", code="invalid")
    given = {name: request.data[name] for name in names if request.data.get(name) is not None}
    try:
        row = write(item, by=request.user.get_username(), note=request.data.get("note"), **given)
    except AttestError as error:
        raise refusal(error) from None
    names = ("item", "accepts", "by", "at", "expires_at", "note", "ticket")
    return Response({name: getattr(row, name) for name in names}, status=status.HTTP_201_CREATED)


def _download(content: bytes, content_type: str, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(content, content_type=content_type, headers=headers)
