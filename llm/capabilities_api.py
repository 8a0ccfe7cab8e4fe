"""The capabilities that tell their answers line by line: explain and investigate. The tenant is the token's or the session's, never the body's."""

from typing import Any, Final

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from airgap.bodies import bounded_json
from llm.alert_schema import AlertSchema
from llm.alerts import Alert, AlertError
from llm.capabilities import explain, investigate
from llm.limits import asker, take
from llm.ndjson import Lines, told
from tenants.acting import Acting, acting
from tenants.roles import LLM_USERS

MAX_BYTES: Final = 256 * 1024


class AlertRequestSchema(serializers.Serializer[object]):
    alert = AlertSchema()


class CapabilityView(APIView):
    """What every capability has: who may ask, how long a body may be, and one limit a tenant."""

    parser_classes: tuple[type[BaseParser], ...] = (bounded_json(MAX_BYTES),)
    write_roles = LLM_USERS
    capability = ""

    def asked_by(self, request: Request) -> Acting:
        """Who asks, counted against their limit. Raises TooOften."""
        now = acting(request)
        if now is None:
            raise PermissionDenied
        take(self.capability, asker(now, request.user.pk))
        return now


class ExplainView(CapabilityView):
    capability = explain.CAPABILITY
    renderer_classes = (JSONRenderer, Lines)

    @extend_schema(
        operation_id="explain",
        request=AlertRequestSchema,
        responses={
            (200, "application/x-ndjson"): OpenApiResponse(
                OpenApiTypes.STR,
                "One JSON object a line: section, ocsf, mitre, evidence, next_step, delta, reset (drop the section's deltas), error, done (path, reason)."
                " The headers X-LLM-Path and X-LLM-Reason say what is planned.",
            )
        },
    )
    def post(self, request: Request) -> StreamingHttpResponse:
        """What an alert is: class, techniques, evidence and next steps by rule; the narrative by the tenant's model where there is one."""
        alert = alert_of(request.data)
        return told(explain.Explaining(alert, self.asked_by(request).tenant))


class InvestigateView(CapabilityView):
    capability = investigate.CAPABILITY
    renderer_classes = (JSONRenderer, Lines)

    @extend_schema(
        operation_id="investigate",
        request=AlertRequestSchema,
        responses={
            (200, "application/x-ndjson"): OpenApiResponse(
                OpenApiTypes.STR,
                "One JSON object a line: step, evidence, delta, report (sentences with the ids of their evidence), error, done (path, reason)."
                " The headers X-LLM-Path and X-LLM-Reason say what is planned.",
            )
        },
    )
    def post(self, request: Request) -> StreamingHttpResponse:
        """A bounded investigation with read-only tools; by the tenant's model where there is one, else in a fixed order."""
        alert = alert_of(request.data)
        return told(investigate.Investigating(alert, self.asked_by(request).tenant))


def alert_of(body: Any) -> Alert:
    """The alert of a body. Raises ValidationError naming the field."""
    if not isinstance(body, dict):
        raise ValidationError({"detail": "The body is a JSON object."}, code="invalid")
    try:
        return Alert.read(body.get("alert"))
    except AlertError as error:
        raise ValidationError({error.field: str(error)}, code="invalid") from None
