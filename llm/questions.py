"""The capabilities that are answered in one piece, as a table: what each takes, and its answer as a JSON object with path and reason.

BadQuestion(ValueError)     what was asked cannot be answered; `field` is what to mend
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from llm.alert_schema import AlertSchema
from llm.alerts import Alert, AlertError
from llm.capabilities import detection_loop, translation
from llm.capabilities.nl_detection import capability as nl_detection
from llm.capabilities.nl_detection.compose import LEVELS, TECHNIQUE
from llm.capabilities.nl_query import capability as nl_query
from llm.capabilities.nl_query.reader import MAX_QUESTION
from llm.capabilities.nl_query.render import Dialect
from llm.capabilities.phishing import capability as phishing
from llm.capabilities.sigma.convert import Target
from llm.capabilities.sigma.evaluate import CannotEvaluate
from llm.capabilities.sigma.rules import MAX_RULE, BadRule
from llm.outcome import Outcome
from tenants.models import Tenant

MAX_DESCRIPTION: Final = 4000
MAX_NOTE: Final = 2000
SOURCES: Final = [("sigma", "sigma")]  # the schema names this set RuleLanguage


class BadQuestion(ValueError):
    """What was asked cannot be answered. str() says why and what to do."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class NlQueryRequest(serializers.Serializer[object]):
    question = serializers.CharField(max_length=MAX_QUESTION)
    dialect = serializers.ChoiceField(choices=[(one.value, one.value) for one in Dialect])


class NlDetectionRequest(serializers.Serializer[object]):
    description = serializers.CharField(max_length=MAX_DESCRIPTION)
    severity = serializers.ChoiceField(choices=[(level, level) for level in LEVELS], required=False, allow_blank=True, default="")
    mitre_techniques = serializers.ListField(
        child=serializers.RegexField(TECHNIQUE.pattern + r"\Z", error_messages={"invalid": "A technique is written T1059 or T1059.001."}),
        required=False,
        max_length=20,
        default=list,
    )


@extend_schema_field(AlertSchema)
class AlertField(serializers.DictField):
    """An alert as Alert.read takes it; its errors come from there."""


class DetectionLoopRequest(serializers.Serializer[object]):
    rule = serializers.CharField(max_length=MAX_RULE, help_text="Sigma YAML.", trim_whitespace=False)
    alert = AlertField(help_text="The alert that was a false positive; its raw event is what the rule is evaluated on.")
    analyst_note = serializers.CharField(max_length=MAX_NOTE, allow_blank=True, required=False, default="")
    true_positives = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        max_length=detection_loop.MAX_TRUE_POSITIVES,
        default=list,
        help_text="Raw events that the rule has to go on matching.",
    )


class PhishingRequest(serializers.Serializer[object]):
    kind = serializers.ChoiceField(choices=[(one.value, one.value) for one in phishing.Kind])
    content = serializers.CharField(max_length=phishing.MAX_CONTENT, trim_whitespace=False)


class TranslationRequest(serializers.Serializer[object]):
    rule = serializers.CharField(max_length=MAX_RULE, trim_whitespace=False)
    source = serializers.ChoiceField(choices=SOURCES, required=False, default="sigma")  # type: ignore[assignment]  # a field, not DRF's attribute
    targets = serializers.ListField(
        child=serializers.ChoiceField(choices=[(one.value, one.value) for one in Target]), min_length=1, max_length=len(Target)
    )


@dataclass(frozen=True, slots=True)
class Question:
    """One capability. answer: from what the serializer validated; raises BadQuestion."""

    capability: str
    request: type[serializers.Serializer[object]]
    answer: Callable[[Mapping[str, Any], Tenant | None], dict[str, Any]]


def _nl_query(asked: Mapping[str, Any], tenant: Tenant | None) -> dict[str, Any]:
    outcome = nl_query.translate(asked["question"], Dialect(asked["dialect"]), tenant=tenant)
    found = outcome.value
    return {"query": found.query, "engine": found.engine.value, "validated": found.validated, **_made(outcome)}


def _nl_detection(asked: Mapping[str, Any], tenant: Tenant | None) -> dict[str, Any]:
    outcome = nl_detection.detect(asked["description"], asked["severity"], asked["mitre_techniques"], tenant=tenant)
    found = outcome.value
    queries = {target.value: found.query(target) for target in Target}
    return {"sigma": found.sigma, **queries, "techniques": list(found.techniques), **_made(outcome)}


def _detection_loop(asked: Mapping[str, Any], tenant: Tenant | None) -> dict[str, Any]:
    try:
        alert = Alert.read(asked["alert"])
        outcome = detection_loop.suggest(asked["rule"], alert, asked["analyst_note"], asked["true_positives"], tenant=tenant)
    except AlertError as error:
        raise BadQuestion(error.field, str(error)) from None
    except (BadRule, CannotEvaluate) as error:
        raise BadQuestion("rule", str(error)) from None
    found = outcome.value
    return {
        "rule": found.rule,
        "rationale": found.rationale,
        "still_matches": found.still_matches,
        "drops_false_positive": found.drops_false_positive,
        **_made(outcome),
    }


def _phishing(asked: Mapping[str, Any], tenant: Tenant | None) -> dict[str, Any]:
    try:
        outcome = phishing.triage(phishing.Kind(asked["kind"]), asked["content"], tenant=tenant)
    except phishing.BadContent as error:
        raise BadQuestion("content", str(error)) from None
    found = outcome.value
    reasons = [{"name": one.name, "weight": one.weight, "detail": one.detail} for one in found.reasons]
    return {"verdict": found.verdict.value, "confidence": found.confidence, "reasons": reasons, **_made(outcome)}


def _translation(asked: Mapping[str, Any], tenant: Tenant | None) -> dict[str, Any]:
    try:
        outcome = translation.translate(asked["rule"], [Target(one) for one in dict.fromkeys(asked["targets"])], tenant=tenant)
    except BadRule as error:
        raise BadQuestion("rule", str(error)) from None
    results = [{"target": one.target.value, "query": one.query, "notes": list(one.notes)} for one in outcome.value]
    return {"results": results, **_made(outcome)}


def _made(outcome: Outcome[Any]) -> dict[str, str]:
    return {"path": outcome.path.value, "reason": outcome.reason}


NL_QUERY: Final = Question(nl_query.CAPABILITY, NlQueryRequest, _nl_query)
NL_DETECTION: Final = Question(nl_detection.CAPABILITY, NlDetectionRequest, _nl_detection)
DETECTION_LOOP: Final = Question(detection_loop.CAPABILITY, DetectionLoopRequest, _detection_loop)
PHISHING: Final = Question(phishing.CAPABILITY, PhishingRequest, _phishing)
TRANSLATION: Final = Question(translation.CAPABILITY, TranslationRequest, _translation)
