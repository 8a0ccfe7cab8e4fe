"""The shipped cases of explain, and what the deterministic explanation scores on them."""

from dataclasses import replace

import pytest

from evals.explain import score_explain
from evals.scoring import HELD_OUT, TUNED, Score, cases
from llm.alerts import Alert
from llm.capabilities.explain import Explained, Explanation
from llm.resolver import Path
from llm.tables import ocsf_classes, techniques

CASES = list(cases("explain"))


def by_rule(case: dict[str, object]) -> Explained:
    explanation = Explanation(Alert.read(case["alert"]))
    return Explained(explanation, " ".join(explanation.narrative()), Path.FALLBACK, "")


def test_there_are_enough_cases_of_public_facts_and_none_twice() -> None:
    assert len(CASES) >= 40
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert sum(case["part"] == HELD_OUT for case in CASES) >= 20
    for case in CASES:
        assert case["fact"]
        assert case["expect"]["class_uid"] in ocsf_classes()
        assert {*case["expect"]["techniques"], *case["expect"]["may_also"]} <= techniques().keys()


@pytest.mark.parametrize("part", [TUNED, HELD_OUT])
def test_the_rules_are_right_on_95_of_100(part: str) -> None:
    scores = {case["id"]: score_explain(case, by_rule(case)) for case in CASES if case["part"] == part}
    for name in ("class", "techniques", "grounded"):
        wrong = [id for id, score in scores.items() if not score.details[name]]
        assert 1 - len(wrong) / len(scores) >= 0.95, (name, wrong)


def test_a_wrong_answer_scores_less() -> None:
    case = next(case for case in CASES if case["id"] == "okta-impossible-travel")
    right, other = by_rule(case), by_rule(next(case for case in CASES if case["id"] == "edr-vssadmin"))
    assert score_explain(case, right).value == 1
    assert score_explain(case, other).value < 0.5
    made_up = replace(right, narrative="The impossible travel of this user came from 192.0.2.250 and used T1486 in both countries.")
    assert score_explain(case, made_up) == Score(pytest.approx(2 / 3), score_explain(case, made_up).details)
    assert score_explain(case, replace(right, narrative="")).details["grounded"] is False
