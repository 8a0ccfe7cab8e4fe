"""Answers a description with a Sigma rule and its queries: the model's where it holds up to pySigma, else the composed one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.utils import timezone

from llm.capabilities.nl_detection.compose import LEVELS, TECHNIQUE, compose
from llm.capabilities.sigma.convert import Conversion, Target, convert
from llm.capabilities.sigma.rules import BadRule, complaints, parsed, read_yaml, techniques_of, write_rule
from llm.outcome import Model, Outcome, live_or_fallback
from llm.resolver import Path
from tenants.models import Tenant

CAPABILITY: Final = "nl_detection"
MAX_TOKENS: Final = 1200
INSTRUCTIONS: Final = """You write one Sigma detection rule for the behaviour that the description names. Answer with the YAML of the rule and nothing else:
title, id (a UUID), status: experimental, description, tags (attack.tNNNN of the techniques), logsource (category or service, and product), detection
(selections with real field names of that log source and a condition), falsepositives, level. Copy names, paths, addresses and numbers from the
description letter by letter. No placeholders, no comments, no aliases, one document."""
_FENCE: Final = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n```", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"<[A-Za-z_ ]{2,40}>|%[a-z_]+%|\b(?:TODO|PLACEHOLDER|KEYWORD|YOUR_\w+)\b")


@dataclass(frozen=True, slots=True)
class Detection:
    """The rule as YAML, its queries (None where a language cannot express it, with the notes that say so), and its techniques."""

    sigma: str
    queries: tuple[Conversion, ...]
    techniques: tuple[str, ...]

    def query(self, target: Target) -> str | None:
        return next(one.query for one in self.queries if one.target is target)


def detect(description: str, severity: str, techniques: Sequence[str], *, tenant: Tenant | None) -> Outcome[Detection]:
    """A rule for the described behaviour. severity: "" leaves the level to the rule; techniques: tags to add."""
    composed = compose(description, severity, techniques, timezone.now().date())

    def ask(model: Model) -> Detection:
        data = {"description": description, "severity": severity, "mitre_techniques": list(techniques)}
        return _accepted(model.text(INSTRUCTIONS, data, max_tokens=MAX_TOKENS), description, severity, techniques)

    outcome = live_or_fallback(CAPABILITY, ask, lambda: _detection(composed.rule), tenant=tenant)
    if outcome.path is Path.FALLBACK and composed.remark:
        return replace(outcome, reason=f"{outcome.reason} {composed.remark}")
    return outcome


def by_rule(description: str) -> Detection:
    """The rule that is composed without a model."""
    return _detection(compose(description, "", (), timezone.now().date()).rule)


def _accepted(answer: str, description: str, severity: str, techniques: Sequence[str]) -> Detection:
    """The model's rule, if pySigma and its validators have nothing against it and it really selects something. Raises ValueError."""
    fenced = _FENCE.match(answer)
    rule = read_yaml(fenced[1] if fenced else answer)
    own = compose(description, severity, techniques, timezone.now().date()).rule
    tags = rule.get("tags") if isinstance(rule.get("tags"), list) else []
    wanted = [f"attack.{one.lower()}" for one in techniques if TECHNIQUE.fullmatch(one.upper())]
    rule = {
        "title": str(rule.get("title") or own["title"])[:100],
        "id": own["id"],
        "status": "experimental",
        "description": own["description"],
        "date": own["date"],
        "tags": list(dict.fromkeys([*wanted, *(str(tag) for tag in tags or () if re.fullmatch(r"[a-z0-9-]+\.[a-z0-9_.-]+", str(tag)))])),
        "logsource": rule.get("logsource"),
        "detection": rule.get("detection"),
        "falsepositives": rule.get("falsepositives") or own["falsepositives"],
        "level": severity if severity in LEVELS else rule.get("level") if rule.get("level") in LEVELS else own["level"],
    }
    rule = {name: value for name, value in rule.items() if value not in (None, [])}
    if "logsource" not in rule or _PLACEHOLDER.search(write_rule({"detection": rule["detection"]} if "detection" in rule else {})):
        raise BadRule("The rule has no log source, or a placeholder for what it should select.")
    faults = complaints(parsed(rule))
    if faults:
        raise BadRule(faults[0])
    found = _detection(rule)
    if not any(conversion.query for conversion in found.queries):
        raise BadRule("The rule converts to no query.")
    return found


def _detection(rule: dict[str, Any]) -> Detection:
    read = parsed(rule)
    return Detection(write_rule(rule), tuple(convert(read, target) for target in Target), tuple(techniques_of(rule)))
