"""CONTRACTS.md 2.5: a tenant's own LLM connection, to read, write, remove and try. A key goes in and never comes out."""

from collections.abc import Mapping
from typing import Any, Final

from django.http import JsonResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.bodies import bounded_json
from llm import limits
from llm.api import PATHS
from llm.config import Secret
from llm.credentials import CredentialError, Wanted, host_of, note_test, remove_credential, save_credential
from llm.models import TENANT_PROVIDERS, TenantCredential
from llm.probe import ProbeOutcome, probe
from llm.resolver import ResolvedLLM, Source, resolve_llm_config, resolved_for
from tenants.models import Tenant
from tenants.permissions import acting_in
from tenants.roles import CREDENTIAL_READERS, CREDENTIAL_WRITERS
from tenants.scope import tenant_scope

PROVIDERS: Final = [(provider.value, provider.value) for provider in TENANT_PROVIDERS]
_TENANT: Final = OpenApiParameter("tenant", str, description="The tenant's slug. May be left out by who acts for one tenant.")
MAX_BODY: Final = 32 * 1024


class Effective(serializers.Serializer[object]):
    """What the tenant's calls would use now, and why."""

    allowed = serializers.BooleanField()
    source = serializers.ChoiceField(choices=[(item.value, item.value) for item in Source])  # type: ignore[assignment]
    host = serializers.CharField(allow_null=True)
    rule = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    path = serializers.ChoiceField(choices=PATHS)


class Credential(serializers.Serializer[object]):
    provider = serializers.ChoiceField(choices=PROVIDERS)
    base_url = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    has_api_key = serializers.BooleanField()
    enabled = serializers.BooleanField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    updated_by = serializers.CharField()
    last_rotated_at = serializers.DateTimeField(allow_null=True)
    effective = Effective()


class CredentialWrite(serializers.Serializer[object]):
    """What is left out stays as it is stored; null clears. A key that is left out, null or blank is kept."""

    provider = serializers.ChoiceField(choices=PROVIDERS, required=False, help_text="Required where there is no row yet.")
    base_url = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    model = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    api_key = serializers.CharField(required=False, allow_null=True, allow_blank=True, write_only=True)
    enabled = serializers.BooleanField(required=False)
    version = serializers.IntegerField(required=False, allow_null=True, help_text="The one that was read; null where there is no row yet.")


class CredentialTest(serializers.Serializer[object]):
    outcome = serializers.ChoiceField(choices=[(item.value, item.value) for item in ProbeOutcome])
    detail = serializers.CharField()
    model = serializers.CharField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)


class Refused(APIException):
    """A CredentialError in the API's one shape."""

    def __init__(self, error: CredentialError) -> None:
        detail = ErrorDetail(error.detail, code=error.code)
        super().__init__({error.field: [detail]} if error.field else detail)
        self.status_code = error.status


class CredentialView(APIView):
    """The tenant is the caller's own, or the one that ?tenant= names; never one in the body."""

    read_roles = CREDENTIAL_READERS
    write_roles = CREDENTIAL_WRITERS
    names_tenant = True
    parser_classes = (bounded_json(MAX_BODY),)

    @extend_schema(operation_id="llm_credentials_read", parameters=[_TENANT], responses={200: Credential(allow_null=True)})
    def get(self, request: Request) -> Response | JsonResponse:
        """The tenant's connection; null when it has none of its own."""
        view = shown(tenant_of(request, self))
        return JsonResponse(None, safe=False) if view is None else Response(view)  # DRF would answer with no body at all

    @extend_schema(operation_id="llm_credentials_write", parameters=[_TENANT], request=CredentialWrite, responses={200: Credential})
    def put(self, request: Request) -> Response:
        """Make or change it. 422 names the field; 409: somebody else was faster."""
        tenant = tenant_of(request, self)
        try:
            save_credential(tenant, wanted_of(request.data), by=request.user.get_username())
        except CredentialError as error:
            raise Refused(error) from None
        return Response(shown(tenant))

    @extend_schema(operation_id="llm_credentials_remove", parameters=[_TENANT], responses={204: None})
    def delete(self, request: Request) -> Response:
        """Remove it, key and all. Again: 204 too."""
        remove_credential(tenant_of(request, self), by=request.user.get_username())
        return Response(status=204)


class CredentialTestView(APIView):
    write_roles = CREDENTIAL_WRITERS
    names_tenant = True
    parser_classes = (bounded_json(MAX_BODY),)

    @extend_schema(operation_id="llm_credentials_test", parameters=[_TENANT], request=None, responses={200: CredentialTest})
    def post(self, request: Request) -> Response:
        """Ask the model that the tenant's calls use for one token. Words for the outcome; nothing that the other side said."""
        tenant = tenant_of(request, self)
        limits.take("test", f"tenant:{tenant.slug}")
        resolved = resolve_llm_config(tenant, purpose="llm.test")
        found = probe(resolved)
        note_test(tenant, by=request.user.get_username(), host=host_of(resolved.base_url), outcome=found.outcome.value)
        return Response({"outcome": found.outcome.value, "detail": found.detail, "model": found.model or None, "latency_ms": found.latency_ms})


def tenant_of(request: Request, view: APIView) -> Tenant:
    """The tenant that the permission has judged. Raises ValidationError (400) for who acts for none and names none."""
    now = acting_in(request, view)
    if now is None or now.tenant is None:
        raise ValidationError({"tenant": ["Name the tenant: ?tenant=SLUG."]}, code="required")
    return now.tenant


def shown(tenant: Tenant) -> dict[str, Any] | None:
    """The row as CONTRACTS.md 2.5 has it, never with a key."""
    with tenant_scope(tenant):
        row = TenantCredential.objects.for_tenant(tenant).first()
    if row is None:
        return None
    return {
        "provider": row.provider,
        "base_url": row.base_url or None,
        "model": row.model or None,
        "has_api_key": row.has_api_key,
        "enabled": row.enabled,
        "version": row.version,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "updated_by": row.updated_by,
        "last_rotated_at": row.last_rotated_at,
        "effective": effective(resolved_for(tenant)),
    }


def effective(resolved: ResolvedLLM) -> dict[str, Any]:
    """What was resolved, as far as a tenant sees it."""
    return {
        "allowed": resolved.allowed,
        "source": resolved.source.value,
        "host": resolved.host or None,
        "rule": resolved.rule.value if resolved.rule else None,
        "reason": resolved.reason,
        "path": resolved.path.value,
    }


# ── Reading a body ───────────────────────────────────────────────────────────────────────────────────────────────────
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "provider": (str,),
    "base_url": (str, type(None)),
    "model": (str, type(None)),
    "api_key": (str, type(None)),
    "enabled": (bool,),
    "version": (int, type(None)),
}
_SHOWN_ONLY: Final = frozenset(Credential().fields) - set(_KINDS)  # a view that is sent back is no error


def wanted_of(body: Any) -> Wanted:
    """A write as the body has it. Raises ParseError for what is no object, CredentialError (422) with the field for the rest."""
    if not isinstance(body, dict):
        raise ParseError("The body is a JSON object.")
    for name in body:
        if name not in _KINDS and name not in _SHOWN_ONLY:
            raise CredentialError(422, "unknown_field", f"The fields are {', '.join(_KINDS)}.", name[:40])
    for name, kinds in _KINDS.items():
        value = body.get(name)
        if name in body and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise CredentialError(422, "invalid", f"{name} is {_in_words(kinds)}.", name)
    return Wanted(
        provider=body.get("provider"),
        base_url=(body["base_url"] or "") if "base_url" in body else None,
        model=(body["model"] or "") if "model" in body else None,
        api_key=Secret(body.get("api_key") or ""),
        enabled=body.get("enabled"),
        version=body.get("version"),
    )


def _in_words(kinds: tuple[type, ...]) -> str:
    words = {str: "text", bool: "true or false", int: "a whole number", type(None): "null"}
    return " or ".join(words[kind] for kind in kinds)
