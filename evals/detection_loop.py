"""Scores a tuning proposal by evaluating it again: what it says of itself is not believed."""

from typing import Any

from evals.scoring import Score
from llm.alerts import Alert
from llm.capabilities.detection_loop import Proposal, event_of
from llm.capabilities.sigma.evaluate import CannotEvaluate, matches
from llm.capabilities.sigma.rules import BadRule, parsed, read_yaml


def score_detection_loop(case: dict[str, Any], answer: Proposal) -> Score:
    """1 when the new version does what is expected, says so, and filters the expected field where one is named."""
    expected = case["expect"]
    try:
        version = read_yaml(answer.rule)
        old, new = parsed(read_yaml(case["rule"])), parsed(version)
        alert = event_of(Alert.read(case["alert"]).raw)
        drops = matches(old, alert) and not matches(new, alert)
        positives = [event for event in map(event_of, case["true_positives"]) if matches(old, event)]
        still = all(matches(new, event) for event in positives)
    except (BadRule, CannotEvaluate) as error:
        return Score(0.0, {"why": str(error)})
    filtered = [field for name, fields in version["detection"].items() if "filter_tuned" in name for field in fields]
    right = (drops, still) == (expected["drops"], expected["still"]) and (answer.drops_false_positive, answer.still_matches) == (drops, still)
    named = expected.get("filters") in (None, *filtered)
    return Score(float(right and named), {"drops": drops, "still": still, "filtered": filtered})
