"""The LLM's endpoints."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from llm.config import Provider
from llm.resolver import Path
from llm.snapshot import llm_snapshot


class LLMStatus(serializers.Serializer[object]):
    provider = serializers.ChoiceField(choices=[(item.value, item.value) for item in Provider])
    model = serializers.CharField(allow_null=True)
    base_url = serializers.CharField(allow_null=True)
    host = serializers.CharField(allow_null=True)
    key_set = serializers.BooleanField()
    airgap_enabled = serializers.BooleanField()
    airgap_compliant = serializers.BooleanField()
    is_local = serializers.BooleanField()
    effective_path = serializers.ChoiceField(choices=[(item.value, item.value) for item in Path])
    policy_note = serializers.CharField()


class LLMStatusView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)  # public by design: never any part of a key

    @extend_schema(operation_id="llm_status", responses=LLMStatus, auth=[])
    def get(self, request: Request) -> Response:
        """The LLM that the environment configures, as the runtime would use it now."""
        return Response(llm_snapshot().as_dict())
