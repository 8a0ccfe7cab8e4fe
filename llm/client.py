"""Chat with an OpenAI-compatible server through the gate.

LLMError            a model call came to nothing; its text is a sentence for people
  LLMBlocked        the gate refused
  LLMUnreachable    nobody answered, or not in time
  LLMBadAnswer      the answer cannot be read, or says what it must not
  LLMRejected       the server refused, with its status
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from airgap.transport import AirgapBlocked, Client, gated_client
from llm.resolver import ResolvedLLM


class LLMError(Exception):
    """A model call came to nothing."""


class LLMBlocked(LLMError):
    """The gate refused."""


class LLMUnreachable(LLMError):
    """Nobody answered, or not in time."""


class LLMBadAnswer(LLMError):
    """The answer cannot be read, or says what it must not."""


class LLMRejected(LLMError):
    """The server refused."""


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Reply:
    text: str
    model: str
    finish: str
    prompt_tokens: int
    completion_tokens: int


class ChatClient:
    def __init__(self, resolved: ResolvedLLM, *, purpose: str, deadline: float = 20.0) -> None:
        self._resolved = resolved
        self._purpose = purpose
        self._deadline = deadline

    def complete(self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0, json_schema: dict[str, Any] | None = None) -> Reply:
        body: dict[str, Any] = self._body(messages, max_tokens, temperature)
        if json_schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": json_schema, "strict": True}}
        try:
            with self._client() as client:
                response = client.post(self._url(), json=body)
        except AirgapBlocked as error:
            raise LLMBlocked(error.decision.reason) from None
        except httpx.HTTPError as error:
            raise LLMUnreachable(f"The model server did not answer ({type(error).__name__}).") from None
        if response.status_code >= 400:
            raise LLMRejected(f"The model server answered {response.status_code}.")
        try:
            choice = response.json()["choices"][0]
            return Reply(str(choice["message"]["content"] or ""), "", str(choice.get("finish_reason")), 0, 0)
        except (ValueError, LookupError, TypeError):
            raise LLMBadAnswer("The model server's answer is no chat completion.") from None

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        ended = False
        until = time.monotonic() + self._deadline
        try:
            with (
                self._client() as client,
                client.stream("POST", self._url(), json={**self._body(messages, max_tokens, 0.0), "stream": True}) as response,
            ):
                if response.status_code >= 400:
                    raise LLMRejected(f"The model server answered {response.status_code}.")
                for line in response.iter_lines():
                    if time.monotonic() > until:
                        raise LLMUnreachable("The model server took too long.")
                    if line == "data: [DONE]":
                        ended = True
                        break
                    if line.startswith("data: "):
                        try:
                            delta = json.loads(line[6:])["choices"][0]["delta"].get("content")
                        except (ValueError, LookupError, TypeError, AttributeError):
                            raise LLMBadAnswer("The model server's stream is no chat completion.") from None
                        if delta:
                            yield str(delta)
        except AirgapBlocked as error:
            raise LLMBlocked(error.decision.reason) from None
        except httpx.HTTPError as error:
            raise LLMUnreachable(f"The model server broke off ({type(error).__name__}).") from None
        if not ended:
            raise LLMUnreachable("The model server broke off.")

    def _client(self) -> Client:
        return gated_client(purpose=self._purpose, timeout=self._deadline, deadline=self._deadline)

    def _url(self) -> str:
        return f"{self._resolved.config.base_url}/chat/completions"

    def _body(self, messages: Sequence[Message], max_tokens: int, temperature: float) -> dict[str, Any]:
        return {
            "model": self._resolved.config.model or "default",
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
