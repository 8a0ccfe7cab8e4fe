"""The notification endpoints: CONTRACTS.md 2.8."""

import re
from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from actions import tasks
from actions.deliveries import KeyTaken, open_delivery
from actions.models import Delivery
from actions.registry import notifiers
from actions.snapshot import channels_snapshot
from actions.specs import MAX_KEY, MAX_LINK, MAX_TEXT, MAX_TITLE
from airgap.announce import Severity
from airgap.bodies import bounded_json
from airgap.hosts import Malformed, Url

MAX_BODY: Final = 64 * 1024
# The characters of a URL (RFC 3986) but the quotes and brackets that a reader of text could take for its end.
_LINK = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&()*+,;=%]+", re.IGNORECASE)
_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class LastDeliverySchema(serializers.Serializer[object]):
    delivery = serializers.IntegerField()
    state = serializers.ChoiceField(choices=Delivery.State.choices)
    attempts = serializers.IntegerField()
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ChannelSchema(serializers.Serializer[object]):
    name = serializers.CharField()
    title = serializers.CharField()
    configured = serializers.BooleanField()
    host = serializers.CharField(allow_null=True)
    allowed = serializers.BooleanField(allow_null=True, help_text="The gate's decision; null where nothing is configured.")
    rule = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    last_delivery = LastDeliverySchema(allow_null=True)


class ChannelListSchema(serializers.Serializer[object]):
    results = ChannelSchema(many=True)
    next = serializers.URLField(allow_null=True)


class DeliveryAnswer(serializers.ModelSerializer[Delivery]):
    """Neither the text nor the link, which may be for the receivers alone."""

    delivery = serializers.IntegerField(source="pk")

    class Meta:
        model = Delivery
        fields = (
            "delivery",
            "channel",
            "title",
            "severity",
            "origin",
            "state",
            "attempts",
            "reason",
            "rule",
            "not_before",
            "created_at",
            "updated_at",
        )
        extra_kwargs = {"not_before": {"help_text": "When it is tried next, while it is queued."}}  # noqa: RUF012 - DRF reads it so


class NotifyBody(serializers.Serializer[object]):
    """What is to be sent."""

    channel = serializers.CharField(help_text="A name that /api/v1/actions/channels lists.")
    title = serializers.CharField(max_length=MAX_TITLE)
    message = serializers.CharField(max_length=MAX_TEXT, required=False, allow_blank=True, default="")
    severity = serializers.ChoiceField(choices=[(word.value, word.value) for word in Severity], default=Severity.INFO.value)
    link = serializers.CharField(max_length=MAX_LINK, required=False, allow_blank=True, allow_null=True, default="")
    idempotency_key = serializers.CharField(
        max_length=MAX_KEY, required=False, allow_null=True, help_text="The same key and message are the same delivery, here and at the receiver."
    )

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        if unknown:
            raise ValidationError({str(unknown[0])[:60]: f"There is no such field; there are {', '.join(self.fields)}."}, code="unknown")
        return super().to_internal_value(data)

    def validate_channel(self, name: str) -> str:
        names = [row.name for row in notifiers()]
        if name not in names:
            raise ValidationError(f"There is no channel of that name; use {', '.join(names)}.", code="unknown")
        return name

    def validate_link(self, link: str | None) -> str:
        if not link:
            return ""
        url = Url.parse(link)
        if isinstance(url, Malformed) or url.userinfo or not _LINK.fullmatch(link):
            raise ValidationError("It is not an http or https URL without user info; write other characters as %XX.")
        return link

    def validate_idempotency_key(self, key: str | None) -> str:
        if key and not _KEY.fullmatch(key):
            raise ValidationError("It has characters other than printable ASCII.")
        return key or ""


class AcceptedSchema(serializers.Serializer[object]):
    delivery = serializers.IntegerField()


class OtherMessage(APIException):
    status_code = 422
    default_code = "key_taken"


class ChannelsView(APIView):
    @extend_schema(operation_id="actions_channels", responses=ChannelListSchema)
    def get(self, request: Request) -> Response:
        """Every channel with the gate's verdict and its last delivery, unconfigured ones too. Of a URL the host alone."""
        return Response({"results": [channel.as_dict() for channel in channels_snapshot()], "next": None})


class NotifyView(APIView):
    parser_classes = (bounded_json(MAX_BODY),)

    @extend_schema(operation_id="actions_notify", request=NotifyBody, responses={202: AcceptedSchema})
    def post(self, request: Request) -> Response:
        """Take a notification: it is kept, then sent. What comes of it stands in the delivery. 422 when the key belongs to another message."""
        body = NotifyBody(data=request.data)
        body.is_valid(raise_exception=True)
        delivery = notify(body.validated_data, origin=request.user.get_username())
        return Response({"delivery": delivery.pk}, status=202)


class DeliveriesView(ListAPIView[Delivery]):
    serializer_class = DeliveryAnswer

    @extend_schema(
        operation_id="actions_deliveries",
        parameters=[OpenApiParameter("channel", str), OpenApiParameter("state", str, enum=Delivery.State.values)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Deliveries, the latest first."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> Any:
        found = Delivery.objects.all()
        for name, words in {"channel": [row.name for row in notifiers()], "state": Delivery.State.values}.items():
            word = self.request.query_params.get(name)
            if word is not None and word not in words:
                raise ValidationError({name: f"It is not one of {', '.join(words)}."}, code="invalid")
            if word is not None:
                found = found.filter(**{name: word})
        return found


class DeliveryView(APIView):
    @extend_schema(operation_id="actions_delivery", responses=DeliveryAnswer)
    def get(self, request: Request, delivery: str) -> Response:
        """One delivery: queued (tried again while it is), sent, failed or refused, with its attempts and the reason."""
        number = int(delivery) if delivery.isascii() and delivery.isdigit() and len(delivery) < 19 else 0
        row = Delivery.objects.filter(pk=number).first()
        if row is None:
            raise NotFound("There is no such delivery.")
        return Response(DeliveryAnswer(row).data)


def notify(body: dict[str, Any], *, origin: str) -> Delivery:
    """Keep a checked notification and send its task, once. Raises OtherMessage."""
    try:
        row = open_delivery(
            body["channel"],
            title=body["title"],
            text=body["message"],
            severity=Severity(body["severity"]),
            link=body["link"] or "",
            key=body.get("idempotency_key") or "",
            origin=origin,
        )
    except KeyTaken as error:
        raise OtherMessage({"idempotency_key": str(error)}) from None
    if row.state == Delivery.State.QUEUED and not row.claims:
        tasks.publish(row.pk)
    return row
