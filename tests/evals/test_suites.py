"""The shipped cases of the capabilities that answer in one piece: how many there are, and what the deterministic answers score on them."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from evals.run import run_suite
from evals.scoring import HELD_OUT, TUNED, cases
from evals.suites import SUITES, Suite, value_of
from llm import lookups

BY_NAME = {suite.name: suite for suite in SUITES}
OWN = ("nl_query", "nl_detection", "detection_loop", "phishing", "translation")


@pytest.fixture(autouse=True)
def no_indicators(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lookups, "_lookups", [])
    return


def scored(name: str, *parts: str) -> list[tuple[dict[str, Any], Any]]:
    suite = BY_NAME[name]
    return [(case, suite.score(case, suite.by_rule(case))) for case in cases(name) if not parts or case["part"] in parts]


def value(name: str, *parts: str) -> float:
    suite: Suite = BY_NAME[name]
    return value_of(suite, [(case, score.value) for case, score in scored(name, *parts)])


@pytest.mark.parametrize("name", OWN)
def test_each_suite_has_at_least_40_cases_and_none_twice(name: str) -> None:
    found = list(cases(name))
    assert len(found) >= 40
    assert len({case["id"] for case in found}) == len(found)
    assert sum(case["part"] == HELD_OUT for case in found) >= 10
    assert all(case["fact"] and case["expect"] for case in found)


def test_nine_of_ten_questions_are_translated_exactly() -> None:
    assert value("nl_query", TUNED, HELD_OUT) >= 0.9


def test_every_described_rule_parses_and_converts_and_four_of_five_have_the_right_log_source() -> None:
    found = [score.details for _case, score in scored("nl_detection")]
    assert all(one["parses"] and one["converts"] for one in found)
    assert sum(one["logsource"] for one in found) / len(found) >= 0.8
    held_out = [score.details["logsource"] for _case, score in scored("nl_detection", HELD_OUT)]
    assert sum(held_out) / len(held_out) >= 0.8


def test_every_tuning_does_what_it_says() -> None:
    assert value("detection_loop") == 1


def test_phishing_is_told_from_harmless_on_cases_held_out_from_its_tuning() -> None:
    assert value("phishing", HELD_OUT) >= 0.85


def test_every_translation_holds_what_it_has_to_and_says_what_it_leaves_out() -> None:
    assert value("translation") == 1


@pytest.mark.parametrize("name", OWN)
def test_a_wrong_answer_scores_less(name: str) -> None:
    """A scorer that calls everything right would make the figures above worthless: each gets the answer to another case."""
    suite = BY_NAME[name]
    found = list(cases(name))
    if name == "nl_query":
        pairs = [(case, other) for case, other in itertools.pairwise(found) if "query" in case["expect"]]
    elif name == "phishing":
        bad = next(case for case in found if case["expect"]["verdict"] == "phishing")
        pairs = [(case, bad) for case in found if case["expect"]["verdict"] == "benign"]
    else:
        pairs = [(case, found[(place + 11) % len(found)]) for place, case in enumerate(found[:20])]
        pairs = [(case, other) for case, other in pairs if case["expect"] != other["expect"]]
    if name == "translation":
        pairs = [(case, other) for case, other in pairs if None not in case["expect"]["fragments"].values()]
    assert pairs
    wrong = [suite.score(case, suite.by_rule(other)).value for case, other in pairs]
    assert sum(wrong) / len(wrong) <= 0.6


def test_without_a_model_nothing_is_asked_and_the_fallback_is_scored() -> None:
    result = run_suite(BY_NAME["phishing"], model=False)
    assert (result.live, result.asked, result.faults) == (None, 0, ())
    assert result.fallback > 0.9
