"""Live or fallback: the one place that asks a model, bounds what it may take, and degrades with the reason.

A capability hands over two functions: one that asks, one that answers without a model. `ask` gets a Model, which is bound to the tenant's
connection, hides what must not leave, and fences what strangers wrote; there is no other way to a model for it. It reads the answer
strictly and raises LLMBadAnswer (or ValueError) for what is none. Whatever goes wrong with the model ends in the fallback, never in an error.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import structlog

from airgap.read_json import read_json
from airgap.transport import AirgapBlocked
from llm import uses
from llm.client import ChatClient, LLMBadAnswer, LLMBlocked, LLMError, LLMRejected, LLMUnreachable, Message
from llm.config import VENDORS
from llm.privacy import Hidden, fenced
from llm.resolver import Path, ResolvedLLM, Source, resolve_llm_config
from tenants.models import Tenant

LLM_FALLBACK = "llm.fallback"
MAX_CALLS: Final = 4  # model calls at once in this process: half of the web's threads stay free for everything else
MAX_OF_ONE: Final = 2  # of them to one tenant's own endpoint: a slow one keeps no other tenant's answers waiting
BUDGET: Final = 20.0  # seconds that one answer may spend on the model, all its calls together
INVALID: Final = "The model's answer is invalid: it does not have the form that was asked for."
THOUGHTS: Final = "The model's answer is invalid: it thinks aloud and comes to no answer."
MAX_PROMPT: Final = 24_000  # characters of evidence that go to a model

T = TypeVar("T")
log = structlog.stdlib.get_logger("llm")


class Cause(StrEnum):
    """Why an answer was made without the model."""

    NOT_CONFIGURED = "not_configured"
    REFUSED = "refused"  # by the policy, the tenant's rule, or for want of a key
    BUSY = "busy"
    UNREACHABLE = "unreachable"  # or too slow, or broken off
    REJECTED = "rejected"  # by the model's server
    INVALID = "invalid"  # the answer cannot be used


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """An answer and how it was made. reason: a sentence for people, shown as it is; `busy` alone is a word."""

    value: T
    path: Path
    reason: str


class Model:
    """A tenant's model for one answer. What it is given leaves without names, addresses and secrets; what it says comes back with them."""

    def __init__(self, resolved: ResolvedLLM, *, capability: str, budget: float = BUDGET) -> None:
        self._resolved = resolved
        self._purpose = f"llm.{capability}"
        self._until = time.monotonic() + budget

    @property
    def outside(self) -> bool:
        """Its server is on a public host, also one that the policy allows."""
        return not self._resolved.config.is_local

    def text(self, instructions: str, data: Any, *, max_tokens: int) -> str:
        """The model's text on `data`. instructions: ours, a constant; data: any JSON value, never trusted."""
        hidden, messages = _prompt(instructions, data)
        return hidden.restore(_answer_of(self._client().complete(messages, max_tokens=max_tokens).text))

    def json(self, instructions: str, data: Any, schema: dict[str, Any], *, max_tokens: int) -> Any:
        """The model's JSON on `data`. The server is asked to keep to `schema`; whether it did is checked here. Raises LLMBadAnswer."""
        hidden, messages = _prompt(instructions, data)
        import jsonschema  # with the formats that other packages bring along it takes more than a second

        shape = _shape(schema, sized=self._resolved.config.provider not in VENDORS)
        text = _answer_of(self._client().complete(messages, max_tokens=max_tokens, json_schema=shape).text)
        fenced_in = _FENCE.fullmatch(text)
        try:
            value = read_json(fenced_in[1] if fenced_in else text)
            jsonschema.validate(value, schema)
        except (ValueError, RecursionError, jsonschema.ValidationError):
            raise LLMBadAnswer(INVALID) from None
        return hidden.restore_json(value)

    def stream(self, instructions: str, data: Any, *, max_tokens: int) -> Generator[str]:
        """As `text`, while it comes."""
        hidden, messages = _prompt(instructions, data)
        deltas = self._client().stream(messages, max_tokens=max_tokens)
        yield from hidden.restore_stream(_answers_of(deltas))

    def _client(self) -> ChatClient:
        left = self._until - time.monotonic()
        if left < 0.1:
            raise LLMUnreachable("The model took longer than an answer may take.")
        return ChatClient(self._resolved, purpose=self._purpose, deadline=round(left, 1))


def live_or_fallback(
    capability: str, ask: Callable[[Model], T], fallback: Callable[[], T], *, tenant: Tenant | None, budget: float = BUDGET
) -> Outcome[T]:
    """The answer of `ask` where the tenant's model gives a usable one in time, else that of `fallback`. Never an error of the model's."""
    chance = Chance(capability, tenant, budget=budget)
    with chance:
        if chance.model is not None:
            try:
                value = ask(chance.model)
            except MODEL_FAULTS as error:
                chance.fail(error)
            else:
                return Outcome(value, Path.LIVE, chance.told())
    return Outcome(fallback(), Path.FALLBACK, chance.told())


class Chance:
    """One answer's chance of a model: decided at once, held until it is closed. `model` is None when there is none.

    For answers that are told while they are made; live_or_fallback is for the others. `told` says, once, how the answer was made.
    """

    def __init__(self, capability: str, tenant: Tenant | None, *, budget: float = BUDGET, by_rule: bool = False) -> None:
        """by_rule: no model is wanted, whatever is configured: none is resolved, and nothing is recorded or counted."""
        self.capability = capability
        self.path = Path.FALLBACK
        self.model: Model | None = None
        self._tenant = tenant.slug if tenant is not None else ""
        self._held: list[threading.BoundedSemaphore] = []
        self._by_rule, self.reason = by_rule, ""
        if by_rule:
            return
        resolved = resolve_llm_config(tenant, purpose=f"llm.{capability}")
        self.reason = resolved.reason
        self._cause = Cause.NOT_CONFIGURED if resolved.source is Source.NONE else Cause.REFUSED
        if not resolved.allowed:
            return
        if not self._take_slot(resolved.tenant):
            self.reason, self._cause = Cause.BUSY.value, Cause.BUSY
            return
        self.path = Path.LIVE
        self.model = Model(resolved, capability=capability, budget=budget)

    def fail(self, error: Exception) -> None:
        """The model did not do. Its slot is free at once; the answer goes on without it."""
        self.path, self.model = Path.FALLBACK, None
        self._cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), Cause.INVALID)
        self.reason = str(error) if not isinstance(error, ValueError) else INVALID  # the text of another library's error may quote what was sent
        self.close()

    def told(self) -> str:
        """The reason, logged and counted."""
        if self._by_rule:
            return self.reason
        if self.path is Path.FALLBACK:
            say = log.info if self._cause is Cause.NOT_CONFIGURED else log.warning
            say(LLM_FALLBACK, capability=self.capability, cause=self._cause.value, reason=self.reason, tenant=self._tenant)
        uses.count(self.capability, self.path, "" if self.path is Path.LIVE else self._cause.value)
        return self.reason

    def close(self) -> None:
        """Give the slot back. Again and again, if need be: a response may be dropped before its first byte was asked for."""
        while self._held:
            self._held.pop().release()

    def _take_slot(self, tenant: str) -> bool:
        """tenant: whose own endpoint it is, "" for the operator's."""
        own = [_of_one.setdefault(tenant, threading.BoundedSemaphore(MAX_OF_ONE))] if tenant else []
        for slots in (*own, _slots):
            if not slots.acquire(blocking=False):
                self.close()
                return False
            self._held.append(slots)
        return True

    def __enter__(self) -> "Chance":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


MODEL_FAULTS: Final = (LLMError, AirgapBlocked, ValueError)  # what a model, its server, the gate or the check of an answer raises
_CAUSES: Final[tuple[tuple[type[Exception], Cause], ...]] = (
    (LLMBlocked, Cause.REFUSED),
    (AirgapBlocked, Cause.REFUSED),
    (LLMUnreachable, Cause.UNREACHABLE),
    (LLMRejected, Cause.REJECTED),
    (LLMBadAnswer, Cause.INVALID),
)
_SIZES: Final = frozenset(("minItems", "maxItems", "minLength", "maxLength"))
_BOUNDS: Final = frozenset(("uniqueItems", "pattern", "minimum", "maximum"))
_MAX_SIZE: Final = 600  # that goes to a local server; a grammar for texts of 4000 characters halves its speed
_THOUGHT: Final = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_LONGEST_MARK: Final = len("</thinking>") - 1
_FENCE: Final = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)
_slots = threading.BoundedSemaphore(MAX_CALLS)
_of_one: dict[str, threading.BoundedSemaphore] = {}  # by tenant


def _answer_of(text: str) -> str:
    """The text without what a reasoning model thinks before it, where its server leaves that in the text. Raises LLMBadAnswer for thoughts alone."""
    thoughts = list(_THOUGHT.finditer(text))
    if not thoughts:
        return text
    if not thoughts[-1][1]:
        raise LLMBadAnswer(THOUGHTS)
    return text[thoughts[-1].end() :].lstrip()


def _answers_of(deltas: Iterable[str]) -> Iterator[str]:
    """As _answer_of, while it comes: nothing is given on before it is clear whether it is thought or said."""
    held, said = "", False
    for delta in deltas:
        held += delta
        if not said:
            opened = _THOUGHT.match(held.lstrip())
            closed = next((mark for mark in _THOUGHT.finditer(held) if mark[1]), None)
            if closed is None and (opened or any(mark.startswith(held.strip().lower()) for mark in ("<think>", "<thinking>"))):
                if opened and len(held) > 4 * _LONGEST_MARK:
                    held = f"{opened[0]}{held[-_LONGEST_MARK:]}"
                continue
            delta = held[closed.end() :] if closed else held
            delta = delta.lstrip()
            held, said = delta, bool(delta)
            if not said:
                continue
        if _THOUGHT.search(held):
            raise LLMBadAnswer(THOUGHTS)
        yield delta
        held = held[-_LONGEST_MARK:]
    if held.strip() and not said:
        raise LLMBadAnswer(THOUGHTS)


def _shape(schema: Any, *, sized: bool) -> Any:
    """The schema without bounds, of which vendors refuse some.

    sized: with those on how many and how long, for a local server: a small model ends neither a list nor a text by itself.
    """
    if isinstance(schema, list):
        return [_shape(item, sized=sized) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shape = {}
    for key, value in schema.items():
        if key == "properties":  # a field may be named like a bound
            shape[key] = {name: _shape(one, sized=sized) for name, one in value.items()}
        elif key not in _BOUNDS and (key not in _SIZES or (sized and value <= _MAX_SIZE)):
            shape[key] = _shape(value, sized=sized)
    return shape


def _prompt(instructions: str, data: Any) -> tuple[Hidden, list[Message]]:
    hidden = Hidden(data)
    shown = hidden.hide(data) if isinstance(data, str) else json.dumps(hidden.hide_json(data, most=MAX_PROMPT), ensure_ascii=False, indent=1)
    evidence, rule = fenced(shown if len(shown) <= MAX_PROMPT else f"{shown[:MAX_PROMPT]}\n(cut off here)")
    return hidden, [Message("system", f"{instructions}\n{rule}"), Message("user", evidence)]
