"""The shipped cases of investigate, and what the deterministic plan scores on them."""

from collections.abc import Callable
from typing import Any

import pytest

from evals.investigate import score_investigate
from evals.scoring import HELD_OUT, TUNED, cases
from llm.alerts import Alert
from llm.capabilities.investigate import Investigating

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_lists")]
CASES = list(cases("investigate"))


def test_there_are_enough_cases_and_some_are_held_out() -> None:
    assert len(CASES) >= 40
    assert sum(case["part"] == HELD_OUT for case in CASES) >= 15
    assert len({case["id"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("part", [TUNED, HELD_OUT])
def test_the_plan_finds_95_of_100_and_says_nothing_without_evidence(part: str, environment: Callable[..., object]) -> None:
    environment()
    scores = {case["id"]: score_investigate(case, list(Investigating(Alert.read(case["alert"]), None))) for case in CASES if case["part"] == part}
    missing = {id: score.details["missing"] for id, score in scores.items() if score.details["missing"]}
    assert sum(score.details["found"] for score in scores.values()) / len(scores) >= 0.95, missing
    for name in ("cited", "grounded", "bounded"):
        wrong = {id: score.details for id, score in scores.items() if not score.details[name]}
        assert wrong == {}, name


def test_a_report_that_makes_things_up_or_cites_nothing_scores_less(environment: Callable[..., object]) -> None:
    environment()
    case = next(case for case in CASES if case["id"] == "okta-impossible-travel")
    frames: list[dict[str, Any]] = list(Investigating(Alert.read(case["alert"]), None))
    whole = score_investigate(case, frames).value

    def with_report(*sentences: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**frame, "sentences": list(sentences)} if frame["type"] == "report" else frame for frame in frames]

    made_up = score_investigate(case, with_report({"text": "The user was seen at 192.0.2.250 with T1486.", "evidence": ["E1"]}))
    uncited = score_investigate(case, with_report({"text": "The user was seen in the alert.", "evidence": []}))
    nothing = score_investigate(case, [])
    assert made_up.details["grounded"] is False
    assert uncited.details["cited"] is False
    assert whole > made_up.value
    assert whole > uncited.value
    assert nothing.value == 0
