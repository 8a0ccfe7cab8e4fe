"""Explain: what an alert is, told frame by frame. Class, techniques, evidence and next steps by rule, always; the narrative by the model where one is.

The deterministic frames come first, so that a slow model keeps nobody from them. The frames are those of CONTRACTS.md 2.6.
"""

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import structlog

from llm.alerts import Alert
from llm.attack import Found, techniques_of
from llm.client import LLMBadAnswer
from llm.evidence import Evidence, evidence_of
from llm.grounding import ungrounded
from llm.next_steps import NextStep, next_steps
from llm.ocsf import Classified, classify
from llm.outcome import BUDGET, MODEL_FAULTS, Chance, Model
from llm.privacy import without_secrets
from llm.resolver import Path
from llm.tables import versions
from tenants.models import Tenant

CAPABILITY: Final = "explain"
EXPLAIN_FAILED = "llm.explain_failed"
MAX_TOKENS: Final = 320
MODEL_SECONDS: Final = BUDGET
MAX_NARRATIVE: Final = 4000  # characters
NARRATIVE: Final = "what_happened"
INSTRUCTIONS: Final = (
    "You explain one security alert to an analyst in at most five plain sentences: who did what, where, and why it matters."
    " Say only what the data says, and name no technique, address or name that is not in it. Do not judge whether it is a false positive,"
    " and do not recommend anything. No headings, no lists, no mark-up."
)
Frame = dict[str, Any]
log = structlog.stdlib.get_logger("llm")


@dataclass(frozen=True)
class Explanation:
    """What rules say of an alert; each part is found when it is first asked for, so that the first frame need not wait for the last."""

    alert: Alert

    @cached_property
    def classified(self) -> Classified:
        return classify(self.alert)

    @cached_property
    def techniques(self) -> list[Found]:
        return techniques_of(self.alert)

    @cached_property
    def evidence(self) -> list[Evidence]:
        return evidence_of(self.alert)

    @cached_property
    def next_steps(self) -> list[NextStep]:
        return next_steps(self.classified.ocsf.uid, [one.technique.id for one in self.techniques], self.alert.severity)

    def narrative(self) -> list[str]:
        """What happened, in sentences, by template."""
        alert, ocsf = self.alert, self.classified.ocsf
        said = [_sentence(alert.title or "An alert without a title")]
        reported = f"{alert.source or 'Its source'} reported it" + (f" with severity {alert.severity}" if alert.severity else " without a severity")
        said.append(f"{reported}; it is classed as {ocsf.name} ({ocsf.category}).")
        if self.techniques:
            named = [f"{one.technique.id} {one.technique.name} ({', '.join(one.technique.tactics)})" for one in self.techniques]
            said.append(f"It shows {_listed(named)}.")
        facts = [f"{one.label.lower()} {one.value}" for one in self.evidence if one.label in ("User", "Source address", "Host", "Process")]
        if facts:
            said.append(f"It involves {_listed(facts)}.")
        if alert.description and alert.description != alert.title:
            text = " ".join(without_secrets(alert.description).split())
            said.append(f"Its description: {_sentence(text if len(text) <= 240 else f'{text[:239]}…')}")
        return said

    def frames(self) -> Iterator[Frame]:
        """Everything but the narrative."""
        yield _section("classification", "Classification")
        ocsf = self.classified.ocsf
        yield {
            "type": "ocsf",
            "class_uid": ocsf.uid,
            "class_name": ocsf.name,
            "category_uid": ocsf.category_uid,
            "category_name": ocsf.category,
            "why": self.classified.why,
            "version": versions()["ocsf"],
        }
        if self.techniques:
            yield _section("techniques", "ATT&CK techniques")
        for found in self.techniques:
            one = found.technique
            yield {
                "type": "mitre",
                "id": one.id,
                "name": one.name,
                "tactics": list(one.tactics),
                "description": one.description,
                "found": found.how.value,
                "seen": without_secrets(found.seen),
                "version": versions()["attack"],
            }
        if self.evidence:
            yield _section("evidence", "Evidence")
        for item in self.evidence:
            yield {"type": "evidence", "label": item.label, "value": item.value, "annotation": item.annotation}
        yield _section("next_steps", "Next steps")
        for step in self.next_steps:
            yield {"type": "next_step", "area": step.area, "title": step.title, "rationale": step.rationale}

    def told_to_model(self) -> dict[str, Any]:
        ocsf = self.classified.ocsf
        return {
            "facts": {
                "class": f"{ocsf.name} ({ocsf.category})",
                "techniques": [f"{one.technique.id} {one.technique.name}" for one in self.techniques],
                "evidence": {one.label: one.value for one in self.evidence},
            },
            "alert": self.alert.as_dict(),
        }


class Explaining:
    """One answer: how it is planned is known at once; iterating tells it; whoever drops it before its end closes it."""

    def __init__(self, alert: Alert, tenant: Tenant | None) -> None:
        self._explanation = Explanation(alert)
        self._chance = Chance(CAPABILITY, tenant, budget=MODEL_SECONDS)
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
                yield from self._explanation.frames()
                yield _section(NARRATIVE, "What happened")
                yield from self._narrative()
            yield {"type": "done", "path": self._chance.path.value, "reason": self._chance.told()}
        except Exception:
            log.exception(EXPLAIN_FAILED)
            yield {"type": "error", "code": "internal", "detail": "The explanation broke off; the log of this process says why."}

    def _narrative(self) -> Iterator[Frame]:
        if self._chance.model is not None:
            try:
                for text in told_live(self._chance.model, self._explanation):
                    yield {"type": "delta", "section": NARRATIVE, "text": text}
                return
            except MODEL_FAULTS as error:
                self._chance.fail(error)
            yield {"type": "reset", "section": NARRATIVE, "reason": self._chance.reason}
        for sentence in self._explanation.narrative():
            yield {"type": "delta", "section": NARRATIVE, "text": f"{sentence} "}


def told_live(model: Model, explanation: Explanation) -> Generator[str]:
    """The model's narrative as it comes. Raises what a model may raise, at its end also for a text that the alert does not bear out."""
    data = explanation.told_to_model()
    told: list[str] = []
    length = 0
    with closing(model.stream(INSTRUCTIONS, data, max_tokens=MAX_TOKENS)) as deltas:
        for delta in deltas:
            length += len(delta)
            if length > MAX_NARRATIVE:
                raise LLMBadAnswer("The model's answer is invalid: it does not end.")
            told.append(delta)
            yield delta
    source = json.dumps(data, ensure_ascii=False)
    why = ungrounded("".join(told), source)
    if why:
        raise LLMBadAnswer(f"The model's answer is invalid: {why}")


@dataclass(frozen=True, slots=True)
class Explained:
    """A whole answer, for a page and for evaluation. narrative: what is left of it after a reset."""

    explanation: Explanation
    narrative: str
    path: Path
    reason: str


def explain(alert: Alert, tenant: Tenant | None) -> Explained:
    """The same answer, not told but whole."""
    explaining = Explaining(alert, tenant)
    narrative, done = "", {"path": Path.FALLBACK.value, "reason": ""}
    with closing(explaining):
        for frame in explaining:
            if frame["type"] == "delta":
                narrative += frame["text"]
            elif frame["type"] == "reset":
                narrative = ""
            elif frame["type"] in ("done", "error"):
                done = frame if frame["type"] == "done" else {"path": Path.FALLBACK.value, "reason": frame["detail"]}
    return Explained(explaining._explanation, narrative.strip(), Path(done["path"]), done["reason"])


def _section(id: str, title: str) -> Frame:
    return {"type": "section", "id": id, "title": title}


def _sentence(text: str) -> str:
    masked = without_secrets(" ".join(text.split()))
    return masked if masked.endswith((".", "!", "?", "…")) else f"{masked}."


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
