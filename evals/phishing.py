"""Scores a verdict. The suite's value is balanced accuracy: as many harmless submissions cleared as bad ones caught."""

from typing import Any

from evals.scoring import Score
from llm.capabilities.phishing.reasons import Triage


def score_phishing(case: dict[str, Any], answer: Triage) -> Score:
    """1 for the expected verdict; `suspicious` is none of the two that are expected."""
    return Score(
        float(answer.verdict.value == case["expect"]["verdict"]), {"verdict": answer.verdict.value, "reasons": [one.name for one in answer.reasons]}
    )
