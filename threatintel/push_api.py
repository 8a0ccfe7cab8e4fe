"""Posted STIX indicators and bundles, and the push to MISP: its health and its dry run."""

from collections.abc import Callable, Mapping
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap import clock
from airgap.active import active_policy
from airgap.policy import strict_bool
from tenants.roles import READERS, WRITERS, Role
from threatintel import push
from threatintel.ingest import store
from threatintel.posted import MAX_BYTES, NotAccepted, check_bundle, check_indicator, read_body
from threatintel.specs import Page, Tally
from threatintel.stix import StixReader
from threatintel.stix_to_misp import outgoing
from threatintel.store import Counts

FEED = "posted"


class MispBlockSchema(serializers.Serializer[object]):
    pushed = serializers.BooleanField()
    misp_event_id = serializers.CharField(allow_null=True)
    misp_event_uuid = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True)
    pushed_attributes = serializers.IntegerField()
    skipped_attributes = serializers.IntegerField()
    error = serializers.CharField(allow_null=True)
    queued = serializers.BooleanField(help_text="It waits to be tried again.")


class StoredSchema(serializers.Serializer[object]):
    read = serializers.IntegerField()
    added = serializers.IntegerField()
    changed = serializers.IntegerField()
    retired = serializers.IntegerField()
    skipped = serializers.DictField(child=serializers.IntegerField(), help_text="Reason: how many.")


class PostedSchema(serializers.Serializer[object]):
    id = serializers.CharField()
    stored = StoredSchema()
    misp = MispBlockSchema(allow_null=True)


class MispHealthSchema(serializers.Serializer[object]):
    state = serializers.CharField()
    reason = serializers.CharField()
    rule = serializers.CharField(allow_null=True)
    configured = serializers.BooleanField()
    key_set = serializers.BooleanField()
    auto = serializers.BooleanField()
    host = serializers.CharField(allow_null=True)
    version = serializers.CharField(allow_null=True)
    queued = serializers.IntegerField()
    failed = serializers.IntegerField()
    last_success = serializers.DateTimeField(allow_null=True)
    last_attempt = serializers.DateTimeField(allow_null=True)


class GateSchema(serializers.Serializer[object]):
    allowed = serializers.BooleanField()
    rule = serializers.CharField(allow_null=True)
    reason = serializers.CharField()


class DryRunSchema(serializers.Serializer[object]):
    event = serializers.DictField()
    attributes = serializers.IntegerField()
    skipped_attributes = serializers.IntegerField()
    skipped = serializers.ListField(child=serializers.CharField())
    tlp = serializers.CharField()
    gate = GateSchema()
    would_refuse = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)


class TooLarge(APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = f"The body has more than {MAX_BYTES} bytes; import it as a file."


class Unmappable(APIException):
    status_code = 422
    default_code = "unmappable"


class StixParser(BaseParser):
    """A JSON object of a bounded size and depth."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise TooLarge
        try:
            return read_body(body)
        except NotAccepted as error:
            raise ParseError(str(error)) from None


class StixMediaParser(StixParser):
    media_type = "application/stix+json"


_POST = {
    "parameters": [OpenApiParameter("push_to_misp", bool, description="Beats MISP_PUSH_AUTO.")],
    "request": OpenApiTypes.OBJECT,
    "responses": {201: PostedSchema},
}


class PushView(APIView):
    """Open to whoever may post: operators, and analysts where the operator allows it."""

    parser_classes = (StixParser, StixMediaParser)

    @property
    def write_roles(self) -> frozenset[Role]:
        return WRITERS | {Role.ANALYST} if settings.ENV.misp_push_analysts else WRITERS


class PostIndicatorView(PushView):
    @extend_schema(operation_id="stix_indicator_post", **_POST)  # type: ignore[arg-type]
    def post(self, request: Request) -> Response:
        """Store a STIX indicator and, when asked, push it to MISP. A push that fails is tried again and never undoes what is stored."""
        return Response(post_stix(_checked(check_indicator, request.data), _push_asked(request)), status=201)


class PostBundleView(PushView):
    @extend_schema(operation_id="stix_bundle_post", **_POST)  # type: ignore[arg-type]
    def post(self, request: Request) -> Response:
        """Store a STIX bundle of at most 1,000 objects and, when asked, push its indicators to MISP as one event."""
        return Response(post_stix(_checked(check_bundle, request.data), _push_asked(request)), status=201)


class MispHealthView(APIView):
    @extend_schema(operation_id="misp_health", responses=MispHealthSchema)
    def get(self, request: Request) -> Response:
        """Whether MISP can be reached with the key, and what waits. Never the key."""
        return Response(push.health().as_dict())


class MispDryRunView(PushView):
    @property
    def write_roles(self) -> frozenset[Role]:
        return super().write_roles | READERS  # it changes nothing, here or there

    @extend_schema(operation_id="misp_dry_run", request=OpenApiTypes.OBJECT, responses=DryRunSchema)
    def post(self, request: Request) -> Response:
        """The event that a push of {"indicator": …} or {"bundle": …} would send, and whether it would be refused. Sends and stores nothing."""
        return Response(dry_run(request.data))


def post_stix(obj: dict[str, Any], asked: bool | None) -> dict[str, Any]:
    """Store a checked object and push it when that is wanted: what of it was stored, and the `misp` block or None."""
    wanted = push.wanted(asked)
    with transaction.atomic():
        counts = store(FEED, _page(obj))
        row = push.open_push(obj) if wanted else None
    return {"id": obj["id"], "stored": _stored(counts), "misp": push.push_now(row, obj) if wanted else None}


def dry_run(body: object) -> dict[str, Any]:
    """What a push would send. Raises ValidationError, Unmappable."""
    given = [name for name in ("indicator", "bundle") if isinstance(body, dict) and body.get(name) is not None]
    if not isinstance(body, dict) or len(given) != 1:
        raise ValidationError("Give exactly one of 'indicator' and 'bundle'.", code="invalid")
    obj = _checked(check_indicator if given[0] == "indicator" else check_bundle, body[given[0]], place=f"{given[0]}.")
    out = outgoing(obj, clock.now())
    if not out.attributes:
        raise Unmappable(push.NOTHING)
    decision = active_policy().decide_url(settings.ENV.misp_url) if settings.ENV.misp_url else None
    refusal = push.would_refuse(out)
    return {
        "event": out.event,
        "attributes": len(out.attributes),
        "skipped_attributes": len(out.skipped),
        "skipped": list(out.skipped),
        "tlp": out.tlp.value,
        "gate": {
            "allowed": decision is not None and decision.allowed,
            "rule": decision.rule.value if decision else None,
            "reason": decision.reason if decision else push.NOT_CONFIGURED,
        },
        "would_refuse": refusal is not None,
        "reason": refusal.reason if refusal else None,
    }


def _page(obj: Mapping[str, Any]) -> Page:
    """Of the object and what is in it; marking definitions first, wherever they stand."""
    members = obj["objects"] if obj["type"] == "bundle" else [obj]
    members = sorted(members, key=lambda one: one.get("type") != "marking-definition")
    tally = Tally()
    return Page(records=StixReader().objects(members, tally), cursor=None, tally=tally)


def _stored(counts: Counts) -> dict[str, Any]:
    return {"read": counts.fetched, "added": counts.added, "changed": counts.changed, "retired": counts.retired, "skipped": counts.skips}


def _checked(check: Callable[[object], dict[str, Any]], obj: object, place: str = "") -> dict[str, Any]:
    try:
        return check(obj)
    except NotAccepted as error:
        field = f"{place}{error.field}".rstrip(".")
        raise ValidationError({field: str(error)} if field else str(error), code="invalid") from None


def _push_asked(request: Request) -> bool | None:
    given = request.query_params.get("push_to_misp")
    if given is None:
        return None
    try:
        if given.strip():
            return strict_bool(given)
    except ValueError:
        pass
    raise ValidationError({"push_to_misp": "It is neither true nor false."}, code="invalid")
