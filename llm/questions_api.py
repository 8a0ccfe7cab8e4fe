"""The endpoints of the capabilities that are answered in one piece (CONTRACTS.md 2.6). The tenant is the token's or the session's, never the body's."""

from typing import Any, ClassVar, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from airgap.bodies import bounded_json
from llm.api import PATHS
from llm.capabilities.nl_query.capability import Engine
from llm.capabilities.phishing.capability import MAX_CONTENT
from llm.capabilities.phishing.reasons import Verdict
from llm.capabilities.sigma.convert import FORMATS, Target
from llm.capabilities_api import CapabilityView
from llm.questions import (
    DETECTION_LOOP,
    NL_DETECTION,
    NL_QUERY,
    PHISHING,
    TRANSLATION,
    BadQuestion,
    DetectionLoopRequest,
    NlDetectionRequest,
    NlQueryRequest,
    PhishingRequest,
    Question,
    TranslationRequest,
)

LANGUAGES: Final = [(one.value, one.value) for one in Target]  # the schema names this set QueryLanguage


class MadeSchema(serializers.Serializer[object]):
    path = serializers.ChoiceField(choices=PATHS, help_text="live: by the model; fallback: by rule.")
    reason = serializers.CharField()


class NlQueryAnswer(MadeSchema):
    query = serializers.CharField(allow_null=True, help_text="null: the question does not read as one about events.")
    engine = serializers.ChoiceField(choices=[(one.value, one.value) for one in Engine])
    validated = serializers.BooleanField(help_text="The query conforms to the part of its language's grammar that is written here.")


class NlDetectionAnswer(MadeSchema):
    sigma = serializers.CharField()
    spl = serializers.CharField(allow_null=True)
    esql = serializers.CharField(allow_null=True)
    kql = serializers.CharField(allow_null=True)
    techniques = serializers.ListField(child=serializers.CharField())


class DetectionLoopAnswer(MadeSchema):
    rule = serializers.CharField()
    rationale = serializers.CharField()
    still_matches = serializers.BooleanField(help_text="The new version matches every true positive that the old one matched.")
    drops_false_positive = serializers.BooleanField()


class PhishingReason(serializers.Serializer[object]):
    name = serializers.CharField()
    weight = serializers.FloatField()
    detail = serializers.CharField()


class PhishingAnswer(MadeSchema):
    verdict = serializers.ChoiceField(choices=[(one.value, one.value) for one in Verdict])
    confidence = serializers.FloatField(min_value=0, max_value=1)
    reasons = PhishingReason(many=True)


class TranslationResult(serializers.Serializer[object]):
    target = serializers.ChoiceField(choices=LANGUAGES)
    query = serializers.CharField(allow_null=True)
    notes = serializers.ListField(child=serializers.CharField())


class TranslationAnswer(MadeSchema):
    results = TranslationResult(many=True)


class FormatSchema(serializers.Serializer[object]):
    target = serializers.ChoiceField(choices=LANGUAGES)
    title = serializers.CharField()
    fields = serializers.CharField()  # type: ignore[assignment]  # a field of the answer, not DRF's attribute


class FormatsSchema(serializers.Serializer[object]):
    results = FormatSchema(many=True)
    next = serializers.CharField(allow_null=True)


class QuestionView(CapabilityView):
    """Validates by the question's serializer, counts against the limit, answers."""

    question: ClassVar[Question]

    def answered(self, request: Request) -> Response:
        asked = self.question.request(data=request.data)
        asked.is_valid(raise_exception=True)
        tenant = self.asked_by(request).tenant
        try:
            return Response(self.question.answer(asked.validated_data, tenant))
        except BadQuestion as error:
            raise ValidationError({error.field: str(error)}, code="invalid") from None


class NlQueryView(QuestionView):
    question = NL_QUERY
    capability = NL_QUERY.capability

    @extend_schema(operation_id="nl_query_translate", request=NlQueryRequest, responses=NlQueryAnswer)
    def post(self, request: Request) -> Response:
        """A question in English as a query."""
        return self.answered(request)


class NlDetectionView(QuestionView):
    question = NL_DETECTION
    capability = NL_DETECTION.capability

    @extend_schema(operation_id="nl_detection_translate", request=NlDetectionRequest, responses=NlDetectionAnswer)
    def post(self, request: Request) -> Response:
        """A Sigma rule for described behaviour, with its queries."""
        return self.answered(request)


class DetectionLoopView(QuestionView):
    question = DETECTION_LOOP
    capability = DETECTION_LOOP.capability
    parser_classes: tuple[type[BaseParser], ...] = (bounded_json(1024 * 1024),)

    @extend_schema(operation_id="detection_loop_suggest", request=DetectionLoopRequest, responses=DetectionLoopAnswer)
    def post(self, request: Request) -> Response:
        """A new version of a rule that leaves a false positive out."""
        return self.answered(request)


class PhishingView(QuestionView):
    question = PHISHING
    capability = PHISHING.capability
    parser_classes: tuple[type[BaseParser], ...] = (bounded_json(4 * MAX_CONTENT),)  # JSON may escape each character

    @extend_schema(operation_id="phishing_submit", request=PhishingRequest, responses=PhishingAnswer)
    def post(self, request: Request) -> Response:
        """A verdict on an e-mail, a URL or a domain, with its weighted reasons."""
        return self.answered(request)


class TranslationView(QuestionView):
    question = TRANSLATION
    capability = TRANSLATION.capability

    @extend_schema(operation_id="translation_translate", request=TranslationRequest, responses=TranslationAnswer)
    def post(self, request: Request) -> Response:
        """A Sigma rule in query languages, with notes on what they cannot express."""
        return self.answered(request)


class FormatsView(APIView):
    tenants_may_read = True

    @extend_schema(operation_id="translation_formats", responses=FormatsSchema)
    def get(self, request: Request) -> Response:
        """The query languages that rules are translated to."""
        results: list[dict[str, Any]] = [{"target": one.target.value, "title": one.title, "fields": one.fields} for one in FORMATS]
        return Response({"results": results, "next": None})
