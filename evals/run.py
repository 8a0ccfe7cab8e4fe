"""Runs the suites beside each other, by rule and with the model, and judges the model by what it adds.

A model fails when one of its suites scores below what the rules reach without it, below the floor, or when more than MOST_BROKEN of the
answers it was asked for could not be used: such an answer scores nothing, though a caller would have got the one by rule.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from evals.scoring import HELD_OUT, cases
from evals.suites import Suite, value_of
from llm.resolver import Path

FLOOR: Final = 0.6
MOST_BROKEN: Final = 0.2
SLACK: Final = 0.005  # of a score; less is rounding


@dataclass(frozen=True, slots=True)
class Result:
    """One suite. live: None without a model. broken: of the `asked` answers, those that could not be used."""

    name: str
    cases: int
    fallback: float
    held_out: float | None
    live: float | None = None
    asked: int = 0
    broken: int = 0
    faults: tuple[str, ...] = ()
    why: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def run_suite(suite: Suite, *, model: bool, floor: float = FLOOR, limit: int | None = None, step: Callable[[], object] = lambda: None) -> Result:
    """The suite's cases (the first `limit` that the model is asked about), each by rule and, if there is a model, with it."""
    chosen = list(cases(suite.name))
    if limit is not None:
        chosen = sorted(chosen, key=lambda case: not suite.asks(case))[:limit]
    by_rule: list[tuple[dict[str, Any], float]] = []
    with_model: list[tuple[dict[str, Any], float]] = []
    asked = broken = 0
    why: dict[str, int] = {}
    for case in chosen:
        score = suite.score(case, suite.by_rule(case)).value
        by_rule.append((case, score))
        if model and suite.asks(case):
            asked += 1
            outcome = suite.live(case)
            if outcome.path is Path.LIVE:
                score = suite.score(case, outcome.value).value
            else:
                broken, score = broken + 1, 0.0
                why[outcome.reason] = why.get(outcome.reason, 0) + 1
        with_model.append((case, score))
        step()
    fallback = value_of(suite, by_rule)
    held_out = [pair for pair in by_rule if pair[0]["part"] == HELD_OUT]
    found = Result(suite.name, len(chosen), _rounded(fallback), _rounded(value_of(suite, held_out)) if held_out else None)
    if not model:
        return found
    live = value_of(suite, with_model)
    faults = list(_faults(live, fallback, floor, broken, asked))
    return Result(found.name, found.cases, found.fallback, found.held_out, _rounded(live), asked, broken, tuple(faults), why)


def _faults(live: float, fallback: float, floor: float, broken: int, asked: int) -> Iterable[str]:
    if live < fallback - SLACK:
        yield f"worse than the fallback ({live:.3f} < {fallback:.3f})"
    if live < floor:
        yield f"below the floor ({live:.3f} < {floor:.3f})"
    if asked and broken / asked > MOST_BROKEN:
        yield f"{broken} of {asked} answers could not be used"


def regressions(results: Iterable[Result], baseline: dict[str, Any]) -> dict[str, str]:
    """The suites that are worse than in an earlier report, each with the two figures."""
    before = {one["name"]: one for one in baseline["suites"]}
    found = {}
    for result in results:
        for name in ("fallback", "live"):
            old, new = before.get(result.name, {}).get(name), getattr(result, name)
            if isinstance(old, int | float) and new is not None and new < old - SLACK:
                found[f"{result.name}.{name}"] = f"{old:.3f} -> {new:.3f}"
    return found


def _rounded(value: float) -> float:
    return round(value, 4)
