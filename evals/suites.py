"""The suites as a table: how each capability answers a case by rule and with the model, and how an answer is scored."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from evals.detection_loop import score_detection_loop
from evals.explain import score_explain
from evals.investigate import score_investigate
from evals.nl_detection import score_nl_detection
from evals.nl_query import score_nl_query
from evals.phishing import score_phishing
from evals.scoring import Score
from evals.translation import score_translation
from llm.alerts import Alert
from llm.capabilities import detection_loop, explain, investigate, translation
from llm.capabilities.nl_detection import capability as nl_detection
from llm.capabilities.nl_query import capability as nl_query
from llm.capabilities.nl_query.reader import read
from llm.capabilities.nl_query.render import Dialect
from llm.capabilities.phishing import capability as phishing
from llm.capabilities.phishing.reasons import judged
from llm.capabilities.sigma.convert import Target
from llm.outcome import Outcome
from llm.resolver import Path

Case = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Suite:
    """asks: whether the capability asks a model about the case at all; where it does not, its answer by rule is its live answer."""

    name: str
    by_rule: Callable[[Case], Any]
    live: Callable[[Case], Outcome[Any]]
    score: Callable[[Case, Any], Score]
    asks: Callable[[Case], bool] = lambda _case: True
    balanced: Callable[[Case], str] = lambda _case: ""  # the suite's value is the mean over these groups


def value_of(suite: Suite, scored: Iterable[tuple[Case, float]]) -> float:
    """The suite's value: the mean over its groups of the mean of each."""
    groups: dict[str, list[float]] = defaultdict(list)
    for case, value in scored:
        groups[suite.balanced(case)].append(value)
    return fmean(fmean(values) for values in groups.values()) if groups else 0.0


def _explained(case: Case) -> explain.Explained:
    found = explain.Explanation(Alert.read(case["alert"]))
    return explain.Explained(found, " ".join(found.narrative()), Path.FALLBACK, "")


def _explained_live(case: Case) -> Outcome[Any]:
    answer = explain.explain(Alert.read(case["alert"]), None)
    return Outcome(answer, answer.path, answer.reason)


def _investigated(case: Case) -> list[dict[str, Any]]:
    return list(investigate.Investigating(Alert.read(case["alert"]), None, by_rule=True))


def _investigated_live(case: Case) -> Outcome[Any]:
    frames = list(investigate.Investigating(Alert.read(case["alert"]), None))
    last = frames[-1]
    return Outcome(frames, Path(last.get("path", Path.FALLBACK)), str(last.get("reason") or last.get("detail")))


def _targets(case: Case) -> list[Target]:
    return [Target(name) for name in case["expect"]["fragments"]]


def _tuned(case: Case) -> tuple[str, Alert, str, list[dict[str, Any]]]:
    return case["rule"], Alert.read(case["alert"]), case["analyst_note"], case["true_positives"]


SUITES: Final[tuple[Suite, ...]] = (
    Suite("explain", _explained, _explained_live, score_explain),
    Suite("investigate", _investigated, _investigated_live, score_investigate),
    Suite(
        "nl_query",
        lambda case: nl_query.by_rule(case["question"], Dialect(case["dialect"])),
        lambda case: nl_query.translate(case["question"], Dialect(case["dialect"]), tenant=None),
        score_nl_query,
        asks=lambda case: not read(case["question"]).whole,
    ),
    Suite(
        "nl_detection",
        lambda case: nl_detection.by_rule(case["description"]),
        lambda case: nl_detection.detect(case["description"], "", (), tenant=None),
        score_nl_detection,
    ),
    Suite(
        "detection_loop",
        lambda case: detection_loop.by_rule(*_tuned(case)),
        lambda case: detection_loop.suggest(*_tuned(case), tenant=None),
        score_detection_loop,
        asks=lambda case: case["alert"]["raw"] != {"Unrelated": "1"},
    ),
    Suite(
        "phishing",
        lambda case: judged(phishing.by_rule(phishing.Kind(case["kind"]), case["content"])[0]),
        lambda case: phishing.triage(phishing.Kind(case["kind"]), case["content"], tenant=None),
        score_phishing,
        balanced=lambda case: str(case["expect"]["verdict"]),
    ),
    Suite(
        "translation",
        lambda case: translation.by_rule(case["rule"], _targets(case)),
        lambda case: translation.translate(case["rule"], _targets(case), tenant=None),
        score_translation,
        asks=lambda case: None in case["expect"]["fragments"].values(),
    ),
)
