"""/health and /ready as DRF views: for the schema, and for requests with a query string. The first middleware answers the rest."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.api import AirgapStatus
from aisoc_admin import health


class GuardSchema(serializers.Serializer[object]):
    mode = serializers.ChoiceField(choices=[(word, word) for word in ("enforce", "report", "off", "inactive")])
    active = serializers.BooleanField()
    selftest = serializers.BooleanField()


class RefusedFeedSchema(serializers.Serializer[object]):
    name = serializers.CharField()
    host = serializers.CharField()
    rule = serializers.CharField()
    reason = serializers.CharField()


class RegistrationSchema(serializers.Serializer[object]):
    registered = serializers.ListField(child=serializers.CharField())
    refused = RefusedFeedSchema(many=True)


class HealthSchema(serializers.Serializer[object]):
    status = serializers.ChoiceField(choices=[("ok", "ok"), ("degraded", "degraded")])
    service = serializers.CharField()
    version = serializers.CharField()
    airgap = AirgapStatus()
    airgap_guard = GuardSchema()
    checks = serializers.DictField(child=serializers.CharField())
    feeds = RegistrationSchema(required=False)


class ReadySchema(serializers.Serializer[object]):
    ready = serializers.BooleanField()
    reasons = serializers.ListField(child=serializers.CharField())


class HealthView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)  # public by design: probes have no login

    @extend_schema(operation_id="health", responses=HealthSchema, auth=[])
    def get(self, request: Request) -> Response:
        """Alive, with the checks of the last round."""
        return Response(health.current().body())


class ReadyView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)  # public by design: probes have no login

    @extend_schema(operation_id="ready", responses={200: ReadySchema, 503: OpenApiResponse(ReadySchema)}, auth=[])
    def get(self, request: Request) -> Response:
        """200 when this process can serve, 503 with the reasons while it cannot."""
        readiness = health.current().readiness()
        return Response(readiness, status=200 if readiness["ready"] else 503)
