"""The LLM's endpoints."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from llm.config import Provider
from llm.resolver import Path, Source
from llm.snapshot import llm_snapshot, tenant_snapshot
from tenants.permissions import HasRole, acting_in
from tenants.roles import EVERY_ROLE

PROVIDERS = [(item.value, item.value) for item in Provider]
SOURCES = [(item.value, item.value) for item in Source]
PATHS = [(item.value, item.value) for item in Path]


class LLMStatus(serializers.Serializer[object]):
    provider = serializers.ChoiceField(choices=PROVIDERS)
    model = serializers.CharField(allow_null=True)
    base_url = serializers.CharField(allow_null=True)
    host = serializers.CharField(allow_null=True)
    key_set = serializers.BooleanField()
    airgap_enabled = serializers.BooleanField()
    airgap_compliant = serializers.BooleanField()
    is_local = serializers.BooleanField()
    effective_path = serializers.ChoiceField(choices=PATHS)
    policy_note = serializers.CharField()
    source = serializers.ChoiceField(  # type: ignore[assignment]
        choices=[(item.value, item.value) for item in Source], required=False, help_text="With ?tenant= only."
    )
    reason = serializers.CharField(required=False, help_text="With ?tenant= only.")


class LLMStatusView(APIView):
    """Public by design without ?tenant=: never any part of a key. With it, for those who may see that tenant."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    read_roles = EVERY_ROLE
    names_tenant = True

    def get_authenticators(self) -> list[Any]:
        return [kind() for kind in APIView.authentication_classes] if self._of_tenant() else []

    def get_permissions(self) -> list[Any]:
        return [HasRole()] if self._of_tenant() else [AllowAny()]

    @extend_schema(
        operation_id="llm_status",
        parameters=[OpenApiParameter("tenant", str, description="A tenant's slug: its view, with `source` and `reason`. Needs a login.")],
        responses=LLMStatus,
        auth=[],
    )
    def get(self, request: Request) -> Response:
        """The LLM that the environment configures, or a tenant's, as the runtime would use it now."""
        now = acting_in(request, self) if self._of_tenant() else None
        return Response(llm_snapshot().as_dict() if now is None else tenant_snapshot(now.slug))

    def _of_tenant(self) -> bool:
        request = getattr(self, "request", None)
        return request is not None and "tenant" in request.GET
