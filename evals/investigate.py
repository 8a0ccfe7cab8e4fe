"""Scores an investigation: what it found, that each sentence of its report has its evidence and says no more, and that it kept its bounds."""

import json
from collections.abc import Sequence
from typing import Any

from evals.scoring import Score
from llm.capabilities.investigate import MAX_EVIDENCE, MAX_STEPS, MIN_SENTENCE
from llm.grounding import ungrounded

Frame = dict[str, Any]


def score_investigate(case: dict[str, Any], answer: Sequence[Frame]) -> Score:
    """A quarter each. answer: its frames. found: the share of the expected values that stand in some evidence."""
    evidence = {frame["id"]: frame for frame in answer if frame["type"] == "evidence"}
    steps = [frame["tool"] for frame in answer if frame["type"] == "step"]
    sentences: list[Frame] = next((frame["sentences"] for frame in answer if frame["type"] == "report"), [])
    values = [frame["value"] for frame in evidence.values()]
    missing = [wanted for wanted in case["expect"]["values"] if not any(wanted[:150] in value for value in values)]
    cited = bool(sentences) and all(one["evidence"] and set(one["evidence"]) <= evidence.keys() for one in sentences)
    whys = [why for one in sentences if (why := _ungrounded(one, evidence, case["alert"]))]
    bounded = (
        len(steps) <= MAX_STEPS and len(set(steps)) == len(steps) and len(evidence) <= MAX_EVIDENCE and bool(answer) and answer[-1]["type"] == "done"
    )
    found = 1 - len(missing) / len(case["expect"]["values"])
    grounded = bool(sentences) and not whys
    details = {"found": found, "missing": missing, "cited": cited, "grounded": grounded, "ungrounded": whys, "bounded": bounded}
    return Score((found + cited + grounded + bounded) / 4, details)


def _ungrounded(sentence: Frame, evidence: dict[str, Frame], alert: dict[str, Any]) -> str:
    """A sentence may say what its own evidence says, and the alert's title."""
    told = [[evidence[id][name] for name in ("label", "value", "source")] for id in sentence["evidence"] if id in evidence]
    return ungrounded(sentence["text"], json.dumps([alert.get("title", ""), told], ensure_ascii=False), least=MIN_SENTENCE)
