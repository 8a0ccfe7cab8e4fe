"""Scores a detection: it parses and converts, has the right log source, and one of the techniques that fit."""

from typing import Any

from evals.scoring import Score
from llm.capabilities.nl_detection.capability import Detection
from llm.capabilities.sigma.rules import BadRule, parsed, read_yaml


def score_nl_detection(case: dict[str, Any], answer: Detection) -> Score:
    """Half for a rule that parses and converts to all three languages, a quarter each for log source and technique."""
    expected = case["expect"]
    try:
        rule = read_yaml(answer.sigma)
        parsed(rule)
    except BadRule as error:
        return Score(0.0, {"parses": False, "why": str(error)})
    converts = all(one.query for one in answer.queries)
    source = rule["logsource"] == expected["logsource"]
    technique = bool(set(answer.techniques) & set(expected["any_technique"]))
    details = {"parses": True, "converts": converts, "logsource": source, "technique": technique, "found": rule["logsource"]}
    return Score((2 * converts + source + technique) / 4, details)
