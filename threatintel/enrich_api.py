"""Enrichment and bulk look-up over HTTP. Both read: whoever may read may ask."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.bodies import bounded_json
from tenants.roles import INTEL_READERS
from threatintel.api import IndicatorSchema
from threatintel.bulk import look_up
from threatintel.enrich import enrich
from threatintel.extract import observables_of
from threatintel.observables import Malformed, Pair, one_meaning, read_list

MAX_OBSERVABLES: Final = 1000
ENRICH_BYTES: Final = 1024 * 1024
LOOKUP_BYTES: Final = 4 * 1024 * 1024


class EnrichRequestSchema(serializers.Serializer[object]):
    alert = serializers.DictField(required=False, help_text="Any JSON object; its observables are looked for. Either this or observables.")
    observables = serializers.ListField(
        child=serializers.JSONField(), required=False, max_length=MAX_OBSERVABLES, help_text='Texts, defanged or not, or {"type", "value"}.'
    )


class VerdictSchema(serializers.Serializer[object]):
    provider = serializers.CharField()
    known = serializers.BooleanField(help_text="False: the provider has never seen the value.")
    malicious = serializers.IntegerField()
    suspicious = serializers.IntegerField()
    harmless = serializers.IntegerField()
    undetected = serializers.IntegerField()
    analysed_at = serializers.DateTimeField(allow_null=True)


class ObservableSchema(serializers.Serializer[object]):
    type = serializers.CharField()
    value = serializers.CharField(help_text="In its canonical form.")
    matches = IndicatorSchema(many=True)
    benign_lists = serializers.ListField(child=serializers.CharField(), help_text="Names of MISP's warning lists that name the value.")
    verdicts = VerdictSchema(many=True)
    paths = serializers.ListField(child=serializers.CharField(), help_text="Where it stands in the alert; at most five.")


class ProviderSchema(serializers.Serializer[object]):
    name = serializers.CharField()
    path = serializers.CharField(help_text="live, or fallback: this answer is the local store's alone.")
    reason = serializers.CharField()
    rule = serializers.CharField(allow_null=True, help_text="The gate's word, when it refused.")


class BenignSchema(serializers.Serializer[object]):
    version = serializers.CharField(allow_null=True)
    lists = serializers.IntegerField()
    reason = serializers.CharField(help_text="Why there are none, or empty.")


class EnrichmentSchema(serializers.Serializer[object]):
    observables = ObservableSchema(many=True)
    providers = ProviderSchema(many=True)
    data_age = serializers.DictField(child=serializers.IntegerField(), help_text="Seconds by feed.")
    benign = BenignSchema()
    cut = serializers.ListField(child=serializers.CharField(), help_text="What was left out, in sentences.")


class LookupRequestSchema(serializers.Serializer[object]):
    values = serializers.ListField(child=serializers.JSONField(), max_length=10_000, help_text='Texts, defanged or not, or {"type", "value"}.')


class HitSchema(serializers.Serializer[object]):
    index = serializers.IntegerField(help_text="Of the value, from 0.")
    matches = serializers.ListField(child=serializers.IntegerField(), help_text="Places in matches.")


class UnreadSchema(serializers.Serializer[object]):
    index = serializers.IntegerField()
    reason = serializers.CharField()


class LookupSchema(serializers.Serializer[object]):
    matches = IndicatorSchema(many=True)
    checked = serializers.IntegerField()
    hits = HitSchema(many=True)
    unread = UnreadSchema(many=True)


class EnrichView(APIView):
    parser_classes = (bounded_json(ENRICH_BYTES),)
    write_roles = INTEL_READERS

    @extend_schema(operation_id="enrich", request=EnrichRequestSchema, responses=EnrichmentSchema)
    def post(self, request: Request) -> Response:
        """What is known of an alert's observables, or of those listed, and where it is known from."""
        body = {name: given for name in ("alert", "observables") if (given := _body(request).get(name)) is not None}
        if len(body) != 1:
            raise ValidationError({"observables" if body else "alert": "Send either alert or observables."}, code="invalid")
        if "observables" in body:
            paths, cut = _listed(body["observables"])
            return Response(enrich(paths, cut).as_dict())
        if not isinstance(body["alert"], dict):
            raise ValidationError({"alert": "An alert is a JSON object."}, code="invalid")
        found = observables_of(body["alert"])
        return Response(enrich(found.paths, found.cut).as_dict())


class LookupView(APIView):
    parser_classes = (bounded_json(LOOKUP_BYTES),)
    write_roles = INTEL_READERS

    @extend_schema(operation_id="iocs_lookup", request=LookupRequestSchema, responses=LookupSchema)
    def post(self, request: Request) -> Response:
        """What the local store knows of up to 10,000 values."""
        try:
            return Response(look_up(_body(request).get("values")).as_dict())
        except Malformed as error:
            raise ValidationError({error.field: str(error)}, code="invalid") from None


def _body(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise ValidationError({"detail": "The body is a JSON object."}, code="invalid")
    return request.data


def _listed(items: Any) -> tuple[dict[Pair, list[str]], list[str]]:
    """Each observable of the list once, with its places in it, and the items that are none, in sentences."""
    try:
        read = read_list(items, field="observables", most=MAX_OBSERVABLES, read=one_meaning)
    except Malformed as error:
        raise ValidationError({error.field: str(error)}, code="invalid") from None
    paths: dict[Pair, list[str]] = {}
    for one in read:
        for pair in one.pairs:
            paths.setdefault(pair, []).append(f"$[{one.index}]")
    return {pair: where[:5] for pair, where in paths.items()}, [f"$[{one.index}] was not looked up: {one.reason}" for one in read if not one.pairs]
