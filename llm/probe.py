"""Tries a resolved LLM with a completion of one token: a word for the outcome, and nothing of what the other side said."""

import math
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final

from llm.client import ChatClient, LLMBadAnswer, LLMBlocked, LLMError, LLMRejected, Message
from llm.resolver import ResolvedLLM

DEADLINE: Final = 10.0  # seconds


class ProbeOutcome(StrEnum):
    OK = "ok"
    REJECTED = "rejected"  # somebody answers, but not with a completion
    UNREACHABLE = "unreachable"
    BLOCKED = "blocked"  # by the policy, the tenant rule or the configuration: nothing was sent


@dataclass(frozen=True, slots=True)
class Probe:
    """model: the one that is configured. latency_ms: of the whole try, None when nothing was sent."""

    outcome: ProbeOutcome
    detail: str
    model: str
    latency_ms: int | None


def probe(resolved: ResolvedLLM, *, purpose: str = "llm.test") -> Probe:
    """Try it now: through the gate, under the tenant rule for a tenant's URL, redirects off, ten seconds at most."""
    began = monotonic()
    try:
        ChatClient(resolved, purpose=purpose, deadline=DEADLINE).complete([Message("user", "ping")], max_tokens=1)
    except LLMBlocked as error:
        return Probe(ProbeOutcome.BLOCKED, error.reason, resolved.model, None)
    except LLMError as error:
        outcome = ProbeOutcome.REJECTED if isinstance(error, LLMRejected | LLMBadAnswer) else ProbeOutcome.UNREACHABLE
        return Probe(outcome, error.reason, resolved.model, _ms(began))
    return Probe(ProbeOutcome.OK, f"{resolved.host} answers.", resolved.model, _ms(began))


def _ms(began: float) -> int:
    return math.ceil((monotonic() - began) * 1000)
