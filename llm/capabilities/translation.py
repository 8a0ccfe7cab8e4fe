"""Translates a Sigma rule to query languages by pySigma; the model is asked only for what pySigma cannot express, and never for what it can."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from llm.capabilities.nl_query.grammar import conforms
from llm.capabilities.nl_query.render import Dialect
from llm.capabilities.sigma.convert import Conversion, Target, convert
from llm.capabilities.sigma.rules import read_rule
from llm.outcome import Model, Outcome, live_or_fallback
from llm.resolver import Path
from tenants.models import Tenant

CAPABILITY: Final = "translation"
MAX_TOKENS: Final = 800
BY_PYSIGMA: Final = "pySigma translated the rule; no model was asked."
INSTRUCTIONS: Final = """You translate a Sigma rule to query languages for which no converter can do it. Answer with one JSON object that has a query for each of the
`targets`. Each query is one line. esql: FROM logs-* | WHERE ... ; spl: index=* ... ; kql: a table | where ... . Use only filters on fields: no other
commands, no comments. Copy the rule's values letter by letter."""
BY_MODEL: Final = "A model wrote this query: pySigma cannot express the rule here. It conforms to the language's grammar; whether it means the same is for you to check."


def translate(rule: str, targets: Sequence[Target], *, tenant: Tenant | None) -> Outcome[tuple[Conversion, ...]]:
    """The rule in each language, with notes on what is left out. Raises BadRule."""
    found = by_rule(rule, targets)
    missing = [one.target for one in found if one.query is None]
    if not missing:
        return Outcome(found, Path.FALLBACK, BY_PYSIGMA)

    def ask(model: Model) -> tuple[Conversion, ...]:
        schema: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "required": [target.value for target in missing],
            "properties": {target.value: {"type": "string", "minLength": 10, "maxLength": 4000} for target in missing},
        }
        answer = model.json(INSTRUCTIONS, {"rule": rule, "targets": [target.value for target in missing]}, schema, max_tokens=MAX_TOKENS)
        for target in missing:
            if not conforms(answer[target.value], Dialect(target.value)):
                raise ValueError(f"The model's query does not conform to {target.value}.")
        return tuple(Conversion(one.target, answer[one.target.value], (*one.notes, BY_MODEL)) if one.target in missing else one for one in found)

    outcome = live_or_fallback(CAPABILITY, ask, lambda: found, tenant=tenant)
    if outcome.path is Path.LIVE:
        return outcome
    unexpressed = ", ".join(target.value for target in missing)
    return replace(outcome, reason=f"{outcome.reason} pySigma cannot express the rule in {unexpressed}.")


def by_rule(rule: str, targets: Sequence[Target]) -> tuple[Conversion, ...]:
    """What pySigma alone makes of the rule. Raises BadRule."""
    read = read_rule(rule)
    return tuple(convert(read, target) for target in targets)
