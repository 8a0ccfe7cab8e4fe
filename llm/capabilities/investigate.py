"""Investigate: a bounded plan over read-only tools, and a report in which each sentence carries its evidence. Told frame by frame.

The deterministic plan runs every tool in its fixed order. A model chooses from the same list, and writes the report from what the tools
found; what it chooses is checked against the list and what it writes against the evidence before anybody sees it. When it fails, the tools that it
left out run as well: the answer is not poorer than without it.
"""

import json
import time
from collections.abc import Generator, Iterator
from typing import Any, Final

import structlog

from llm.alert_tools import EXPLAIN
from llm.alerts import Alert
from llm.client import LLMBadAnswer
from llm.grounding import ungrounded
from llm.outcome import MODEL_FAULTS, Chance, Model
from llm.tools import Tool, tools
from tenants.models import Tenant

CAPABILITY: Final = "investigate"
INVESTIGATE_FAILED = "llm.investigate_failed"
TOOL_FAILED = "llm.tool_failed"
MAX_STEPS: Final = 6
MAX_SECONDS: Final = 30.0  # for the steps; a step that has begun is not broken off
MODEL_SECONDS: Final = 30.0  # for the model, both its calls together
MAX_EVIDENCE: Final = 60
MAX_SENTENCES: Final = 12
MIN_SENTENCE: Final = 8  # characters
PLAN_TOKENS: Final = 150
REPORT_TOKENS: Final = 700
PLAN: Final = (
    "You plan the investigation of one security alert. Choose which of the tools to run, in which order, each at most once. Choose from the"
    " list alone. Answer with JSON: a list of their names."
)
REPORT: Final = (
    "You write the report of an investigation, for an analyst, from numbered evidence alone: at most eight plain sentences. Each sentence names"
    " the evidence that bears it out. Say nothing that the evidence does not say. Do not judge whether the alert is a false positive."
    " Answer with JSON."
)
Frame = dict[str, Any]
log = structlog.stdlib.get_logger("llm")


class Investigating:
    """One answer: how it is planned is known at once; iterating tells it; whoever drops it before its end closes it."""

    def __init__(self, alert: Alert, tenant: Tenant | None, *, by_rule: bool = False) -> None:
        """by_rule: without a model, whatever is configured."""
        self._alert = alert
        self._evidence: dict[str, Frame] = {}
        self._steps_told = 0
        self._spent = 0.0  # seconds on steps
        self._chance = Chance(CAPABILITY, tenant, budget=MODEL_SECONDS, by_rule=by_rule)
        self.path, self.reason = self._chance.path, self._chance.reason
        self._frames = self._tell()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        self._frames.close()
        self._chance.close()

    def _tell(self) -> Generator[Frame]:
        try:
            with self._chance:
                chosen = self._asked(lambda model: planned(model, self._alert))
                yield from self._steps(chosen or [], by_model=True)
                sentences = self._asked(lambda model: reported(model, self._alert, self._evidence))
                if sentences is None:
                    yield from self._steps([tool for tool in tools() if tool not in (chosen or [])], by_model=False)
                    sentences = self._by_rule()
                for sentence in sentences:
                    yield {"type": "delta", "section": "report", "text": f"{sentence['text']} "}
                yield {"type": "report", "sentences": sentences}
            yield {"type": "done", "path": self._chance.path.value, "reason": self._chance.told()}
        except Exception:
            log.exception(INVESTIGATE_FAILED)
            yield {"type": "error", "code": "internal", "detail": "The investigation broke off; the log of this process says why."}

    def _asked(self, ask: Any) -> Any:
        """What the model says, or None without one; the first time it fails is the last."""
        if self._chance.model is None:
            return None
        try:
            return ask(self._chance.model)
        except MODEL_FAULTS as error:
            self._chance.fail(error)
            return None

    def _steps(self, chosen: list[Tool], *, by_model: bool) -> Iterator[Frame]:
        begun = time.monotonic()
        until = begun + MAX_SECONDS - self._spent
        for number, tool in enumerate(chosen[: MAX_STEPS - self._steps_told], start=self._steps_told + 1):
            self._steps_told = number
            step = {"type": "step", "id": f"S{number}", "tool": tool.name, "title": tool.title, "chosen_by": "model" if by_model else "plan"}
            if time.monotonic() > until:
                yield {**step, "state": "skipped", "summary": f"Not run: the steps before took {MAX_SECONDS:.0f} seconds."}
                continue
            try:
                found = list(tool.run(self._alert))
            except Exception:  # a task boundary: one tool that breaks takes nothing from the others
                log.exception(TOOL_FAILED, tool=tool.name)
                yield {**step, "state": "failed", "summary": "It broke off; the log of this process says why."}
                continue
            room = MAX_EVIDENCE - len(self._evidence)
            cut = "" if len(found) <= room else f" The last {len(found) - room} are left out."
            yield {**step, "state": "done", "summary": f"{len(found)} {'finding' if len(found) == 1 else 'findings'}.{cut}"}
            for one in found[:room]:
                id = f"E{len(self._evidence) + 1}"
                frame = {"type": "evidence", "id": id, "step": f"S{number}", "label": one.label, "value": one.value, "source": one.source}
                self._evidence[id] = {**frame, "says": one.says, "restricted": one.restricted}
                yield frame
        self._spent += time.monotonic() - begun

    def _by_rule(self) -> list[Frame]:
        """What the tools say of their own findings, each sentence with its evidence."""
        told = [{"text": frame["says"], "evidence": [id]} for id, frame in self._evidence.items() if frame["says"]]
        if not told:
            return [{"text": "No step of the investigation came to a finding.", "evidence": []}]
        return told[:MAX_SENTENCES]


def planned(model: Model, alert: Alert) -> list[Tool]:
    """The tools that the model chooses, the explanation always first: everything else rests on it."""
    known = {tool.name: tool for tool in tools()}
    schema = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"enum": list(known)}, "minItems": 1, "maxItems": MAX_STEPS}},
        "required": ["steps"],
        "additionalProperties": False,
    }
    data = {"tools": {tool.name: tool.purpose for tool in known.values()}, "alert": alert.as_dict()}
    names = model.json(PLAN, data, schema, max_tokens=PLAN_TOKENS)["steps"]
    return [known[name] for name in dict.fromkeys([EXPLAIN.name, *names]) if name in known]


def reported(model: Model, alert: Alert, evidence: dict[str, Frame]) -> list[Frame]:
    """The model's sentences with their evidence; a model outside is not shown what is restricted, which is told by rule behind its own.

    Raises LLMBadAnswer for a sentence that its evidence does not bear out.
    """
    withheld = {id: frame for id, frame in evidence.items() if frame["restricted"] and model.outside}
    evidence = {id: frame for id, frame in evidence.items() if id not in withheld}
    if not evidence:
        raise LLMBadAnswer("The model was not asked for a report: there is no evidence.")
    schema = {
        "type": "object",
        "properties": {
            "sentences": {
                "type": "array",
                "minItems": 1,
                "maxItems": 8,
                "items": {
                    "type": "object",
                    "properties": {
                        "text": {"type": "string", "minLength": 1, "maxLength": 500},
                        "evidence": {"type": "array", "items": {"enum": list(evidence)}, "minItems": 1, "maxItems": 10},
                    },
                    "required": ["text", "evidence"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["sentences"],
        "additionalProperties": False,
    }
    told = {id: {name: frame[name] for name in ("label", "value", "source")} for id, frame in evidence.items()}
    data = {"evidence": told, "alert": {"title": alert.title, "severity": alert.severity, "raw": dict(alert.raw)}}
    sentences: list[Frame] = model.json(REPORT, data, schema, max_tokens=REPORT_TOKENS)["sentences"]
    for sentence in sentences:
        borne_out = json.dumps([alert.title, [told[id] for id in sentence["evidence"]]], ensure_ascii=False)
        why = ungrounded(sentence["text"], borne_out, least=MIN_SENTENCE)
        if why:
            raise LLMBadAnswer(f"The model's answer is invalid: {why}")
    return (sentences + [{"text": frame["says"], "evidence": [id]} for id, frame in withheld.items() if frame["says"]])[:MAX_SENTENCES]
