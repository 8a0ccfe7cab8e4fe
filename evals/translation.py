"""Scores a translation: each query holds what it has to, nothing is made up where nothing can be, and what is left out is said."""

from collections.abc import Sequence
from typing import Any

from evals.scoring import Score
from llm.capabilities.sigma.convert import Conversion


def score_translation(case: dict[str, Any], answer: Sequence[Conversion]) -> Score:
    """The share of targets that are right, less a half for a note that is missing. What no converter can do may be a model's query, marked."""
    fragments, notes = case["expect"]["fragments"], [note for one in answer for note in one.notes]
    right = []
    for one in answer:
        wanted = fragments[one.target.value]
        if wanted is None:
            right.append(one.query is None or any("A model wrote this query" in note for note in one.notes))
        else:
            right.append(one.query is not None and all(part in one.query for part in wanted))
    unsaid = [wanted for wanted in case["expect"]["notes"] if not any(wanted in note for note in notes)]
    return Score(max(0.0, sum(right) / len(right) - 0.5 * bool(unsaid)), {"right": right, "unsaid": unsaid})
