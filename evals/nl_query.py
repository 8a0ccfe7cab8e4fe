"""Scores a query: the very text that is expected, or, of a question beyond the grammar, what it has to hold."""

from typing import Any

from evals.scoring import Score
from llm.capabilities.nl_query.capability import Translated


def score_nl_query(case: dict[str, Any], answer: Translated) -> Score:
    """1 for the expected query, or for one that holds all of the expected parts; what conforms to no grammar is 0."""
    expected, query = case["expect"], answer.query or ""
    if not answer.validated:
        return Score(0.0, {"query": query, "validated": False})
    if "query" in expected:
        return Score(float(query == expected["query"]), {"query": query})
    missing = [part for part in expected["parts"] if part.casefold() not in query.casefold()]
    return Score(float(not missing), {"query": query, "missing": missing})
