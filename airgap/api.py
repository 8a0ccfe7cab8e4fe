"""The air gap's endpoints."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.snapshot import airgap_snapshot, explain_url


class AirgapStatus(serializers.Serializer[object]):
    enabled = serializers.BooleanField()
    allowlist = serializers.ListField(child=serializers.CharField())
    implicit_private_suffixes = serializers.ListField(child=serializers.CharField())
    policy = serializers.CharField()


class UrlDecisionSchema(serializers.Serializer[object]):
    url = serializers.CharField()
    allowed = serializers.BooleanField()
    rule = serializers.CharField()
    reason = serializers.CharField()
    host = serializers.CharField(allow_null=True)
    port = serializers.IntegerField(allow_null=True)


class AirgapStatusView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)  # public by design: the snapshot holds no secret

    @extend_schema(operation_id="airgap_status", responses=AirgapStatus, auth=[])
    def get(self, request: Request) -> Response:
        """The air-gap policy this process runs under."""
        return Response(airgap_snapshot().as_dict())


class AirgapCheckView(APIView):
    tenants_may_read = True

    @extend_schema(operation_id="airgap_check", responses=UrlDecisionSchema, parameters=[OpenApiParameter("url", str, required=True)])
    def get(self, request: Request) -> Response:
        """The decision for a URL. Nothing is sent, resolved or recorded."""
        if "url" not in request.query_params:
            raise ValidationError({"url": "Give the URL to check, as ?url=https://host/."}, code="required")
        return Response(explain_url(request.query_params["url"]).as_dict())
