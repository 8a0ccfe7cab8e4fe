"""Scores an explanation: its class, its techniques, and whether its narrative says only what the alert holds."""

import json
from typing import Any

from evals.scoring import Score
from llm.capabilities.explain import Explained, Explanation
from llm.grounding import ungrounded


def score_explain(case: dict[str, Any], answer: Explained) -> Score:
    """A third each: the class is the expected one; all expected techniques and none but those expected or allowed; the narrative is grounded."""
    expected, found = case["expect"], answer.explanation
    ids = [one.technique.id for one in found.techniques]
    right_class = found.classified.ocsf.uid == expected["class_uid"]
    right_techniques = set(expected["techniques"]) <= set(ids) <= set(expected["techniques"]) | set(expected["may_also"])
    why = ungrounded(answer.narrative, json.dumps([case["alert"], known_by_rule(found)], ensure_ascii=False))
    details = {
        "class": right_class,
        "techniques": right_techniques,
        "grounded": not why,
        "class_uid": found.classified.ocsf.uid,
        "technique_ids": ids,
        "ungrounded": why,
    }
    return Score((right_class + right_techniques + (not why)) / 3, details)


def known_by_rule(explanation: Explanation) -> dict[str, Any]:
    """What the rules know beside the alert, which a narrative may use too."""
    facts: dict[str, Any] = explanation.told_to_model()["facts"]
    return facts
