"""The forms of the tools that answer in one piece: their fields, and how what was typed becomes the body that the API would get."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.http import QueryDict

from airgap.read_json import read_json
from llm.alerts import Alert
from llm.capabilities.nl_detection.compose import LEVELS
from llm.capabilities.sigma.convert import FORMATS
from llm.questions import DETECTION_LOOP, NL_DETECTION, NL_QUERY, PHISHING, TRANSLATION, Question

MAX_TYPED: Final = 400_000  # characters of one field


class Widget(StrEnum):
    """How a field is typed."""

    TEXT = "text"
    AREA = "area"
    CHOICE = "choice"
    CHECKS = "checks"


@dataclass(frozen=True, slots=True)
class FormField:
    name: str
    label: str
    widget: Widget
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = True
    rows: int = 6


@dataclass(frozen=True, slots=True)
class Tool:
    """One page. body: from what was typed; raises ValueError, whose text names the fix."""

    url_name: str
    title: str
    summary: str
    button: str
    question: Question
    fields: tuple[FormField, ...]
    answer: str  # the template that shows it
    body: Callable[[QueryDict], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field with what was typed into it and what is wrong with that."""

    field: FormField
    value: str
    values: tuple[str, ...]
    problem: str


def shown(tool: Tool, typed: QueryDict | None, problems: Mapping[str, str]) -> list[ShownField]:
    """The form's fields; on the first visit every check is set."""
    return [
        ShownField(
            field,
            typed.get(field.name, "") if typed is not None else "",
            tuple(typed.getlist(field.name)) if typed is not None else tuple(value for value, _title in field.choices),
            problems.get(field.name, ""),
        )
        for field in tool.fields
    ]


def _texts(*names: str) -> Callable[[QueryDict], dict[str, Any]]:
    return lambda typed: {name: typed.get(name, "") for name in names}


def _detection(typed: QueryDict) -> dict[str, Any]:
    techniques = typed.get("mitre_techniques", "").replace(",", " ").split()
    return {"description": typed.get("description", ""), "severity": typed.get("severity", ""), "mitre_techniques": techniques}


def _tuning(typed: QueryDict) -> dict[str, Any]:
    return {
        "rule": typed.get("rule", ""),
        "alert": Alert.pasted(typed.get("alert", "")).as_dict(),
        "analyst_note": typed.get("analyst_note", ""),
        "true_positives": _events(typed.get("true_positives", "")),
    }


def _events(text: str) -> list[Any]:
    """Raw events: a JSON list, one object, or an object a line."""
    text = text.strip()
    if not text:
        return []
    try:
        found = read_json(text)
    except (ValueError, RecursionError):
        try:
            found = [read_json(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise ValueError("These are raw events in JSON: a list, or one object a line.") from None
    return found if isinstance(found, list) else [found]


def _translation(typed: QueryDict) -> dict[str, Any]:
    return {"rule": typed.get("rule", ""), "source": "sigma", "targets": typed.getlist("targets")}


_LANGUAGES: Final = tuple((one.target.value, one.title) for one in FORMATS)
_RULE: Final = FormField("rule", "Sigma rule", Widget.AREA, "The YAML of one detection rule.", rows=12)
TOOLS: Final[tuple[Tool, ...]] = (
    Tool(
        "console:ask_query",
        "Ask for a query",
        "A question in English as a query in ES|QL, SPL or KQL. A grammar reads it; a model is asked only where the grammar gives up.",
        "Translate",
        NL_QUERY,
        (
            FormField("question", "Question", Widget.AREA, "Such as: failed logins for user alice in the last 24 hours, by source ip", rows=3),
            FormField("dialect", "Query language", Widget.CHOICE, choices=(("esql", "ES|QL"), ("spl", "SPL"), ("kql", "KQL"))),
        ),
        "console/assist/answers/query.html",
        _texts("question", "dialect"),
    ),
    Tool(
        "console:ask_detection",
        "Write a detection",
        "Described behaviour as a Sigma rule that pySigma accepts, and as queries for Splunk, Elasticsearch and Microsoft.",
        "Write the rule",
        NL_DETECTION,
        (
            FormField("description", "Behaviour", Widget.AREA, "What to detect; put names, paths and command lines in quotes.", rows=4),
            FormField("severity", "Severity", Widget.CHOICE, choices=(("", "as the behaviour has it"), *((one, one) for one in LEVELS)), required=False),
            FormField("mitre_techniques", "ATT&CK techniques to tag", Widget.TEXT, "Such as T1059.001, T1027.", required=False),
        ),
        "console/assist/answers/detection.html",
        _detection,
    ),
    Tool(
        "console:ask_tuning",
        "Tune a detection",
        "A rule and one of its false positives as a new version of the rule with a filter, kept only if evaluating it shows that true positives still match.",
        "Tune the rule",
        DETECTION_LOOP,
        (
            _RULE,
            FormField("alert", "False positive", Widget.AREA, "The alert or its raw event, as JSON.", rows=8),
            FormField("analyst_note", "Why it is harmless", Widget.AREA, "What the note names, the filter compares; the rule keeps it as text.", required=False, rows=2),
            FormField("true_positives", "True positives", Widget.AREA, "Raw events that must go on matching, as JSON: a list, or one a line.", required=False, rows=4),
        ),
        "console/assist/answers/tuning.html",
        _tuning,
    ),
    Tool(
        "console:ask_phishing",
        "Triage phishing",
        "A verdict on an e-mail, a URL or a domain, with the reasons and their weights. Nothing that it names is fetched or looked up outside.",
        "Judge",
        PHISHING,
        (
            FormField("kind", "Kind", Widget.CHOICE, choices=(("email", "E-mail with its headers"), ("url", "URL"), ("domain", "Domain"))),
            FormField("content", "Content", Widget.AREA, "An e-mail's source as your mail program shows it, or one URL or name; defanged is fine.", rows=12),
        ),
        "console/assist/answers/phishing.html",
        _texts("kind", "content"),
    ),
    Tool(
        "console:ask_translation",
        "Translate a rule",
        "A Sigma rule in query languages by pySigma, with notes on what they cannot express.",
        "Translate",
        TRANSLATION,
        (_RULE, FormField("targets", "Languages", Widget.CHECKS, choices=_LANGUAGES)),
        "console/assist/answers/translation.html",
        _translation,
    ),
)  # fmt: skip
BY_CAPABILITY: Final = {tool.question.capability: tool for tool in TOOLS}
