"""How each kind of server is asked for a completion, and how its answer is read. Pure; one row a dialect.

Sources: the OpenAI API reference (chat completions, streaming), Azure OpenAI's v1 API (the same under /openai/v1, header `api-key`), the
Anthropic API reference (messages, versioning, streaming).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from airgap.read_json import read_json
from llm.config import Provider, Secret

ANTHROPIC_VERSION: Final = "2023-06-01"
SCHEMA_NAME: Final = "answer"
_FINISHES: Final = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "stop", "max_tokens": "length"}


@dataclass(frozen=True, slots=True)
class Message:
    """role: system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole completion. finish: "stop" when the model ended by itself, "length" when it was cut off, else the server's word."""

    text: str
    model: str
    finish: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for, whatever the dialect."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    json_schema: Mapping[str, Any] | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Delta:
    """One event of a stream: more text, and whether the server says that this was all."""

    text: str = ""
    last: bool = False


class Unreadable(ValueError):
    """The answer does not have the dialect's form; str() holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """path is joined to the base URL, which ends in the version. reply and delta raise Unreadable."""

    path: str
    headers: Callable[[Secret], dict[str, str]]
    body: Callable[[Ask], dict[str, Any]]
    reply: Callable[[Any], Reply]
    delta: Callable[[str], Delta]


def dialect_of(provider: Provider) -> Dialect:
    return _DIALECTS.get(provider, _OPENAI_LIKE)


# ── OpenAI and what is like it ───────────────────────────────────────────────────────────────────────────────────────
def _bearer(key: Secret) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.reveal()}"} if key else {}


def _api_key(key: Secret) -> dict[str, str]:
    return {"api-key": key.reveal()} if key else {}


def _openai_body(ask: Ask, limit: str = "max_tokens") -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in ask.messages],
        limit: ask.max_tokens,
        "temperature": ask.temperature,
        "stream": ask.stream,
    }
    if ask.model:
        body["model"] = ask.model
    if ask.json_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "schema": dict(ask.json_schema)}}
    return body


def _openai_cloud_body(ask: Ask) -> dict[str, Any]:
    """The vendors' newer models refuse max_tokens; local servers do not all know its successor."""
    return _openai_body(ask, "max_completion_tokens")


def _openai_reply(answer: Any) -> Reply:
    choice = _first(_field(answer, "choices", list))
    finish = _word(choice.get("finish_reason"))
    text = _field(choice, "message", dict).get("content")
    if text is None and finish == "length":  # a model that thinks first may not come to say anything
        text = ""
    if not isinstance(text, str):
        raise Unreadable("holds no text")
    usage = answer.get("usage")
    return Reply(text, _word(answer.get("model")), finish, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _openai_delta(data: str) -> Delta:
    if data == "[DONE]":
        return Delta(last=True)
    event = _object(data)
    choices = _field(event, "choices", list)
    if not choices:  # the event that holds the usage, or a content filter's first word
        return Delta()
    choice = _first(choices)
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else None
    if text is not None and not isinstance(text, str):
        raise Unreadable("holds a delta without text")
    return Delta(text or "", last=bool(choice.get("finish_reason")))


# ── Anthropic ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _anthropic_headers(key: Secret) -> dict[str, str]:
    return {"anthropic-version": ANTHROPIC_VERSION, **({"x-api-key": key.reveal()} if key else {})}


def _anthropic_body(ask: Ask) -> dict[str, Any]:
    system = "\n\n".join(message.content for message in ask.messages if message.role == "system")
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": [{"role": message.role, "content": message.content} for message in ask.messages if message.role != "system"],
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "stream": ask.stream,
    }
    if system:
        body["system"] = system
    if ask.json_schema is not None:  # the way to have a schema kept: a tool that must be used
        body["tools"] = [{"name": SCHEMA_NAME, "description": "The answer.", "input_schema": dict(ask.json_schema)}]
        body["tool_choice"] = {"type": "tool", "name": SCHEMA_NAME}
    return body


def _anthropic_reply(answer: Any) -> Reply:
    texts = []
    for block in _field(answer, "content", list):
        if not isinstance(block, dict):
            raise Unreadable("holds a block that is no object")
        if block.get("type") == "text":
            texts.append(_field(block, "text", str))
        elif block.get("type") == "tool_use":
            texts.append(json.dumps(_field(block, "input", dict), ensure_ascii=False))
    stopped = _word(answer.get("stop_reason"))
    usage = answer.get("usage")
    return Reply(
        "".join(texts), _word(answer.get("model")), _FINISHES.get(stopped, stopped), _count(usage, "input_tokens"), _count(usage, "output_tokens")
    )


def _anthropic_delta(data: str) -> Delta:
    event = _object(data)
    kind = event.get("type")
    if kind == "message_stop":
        return Delta(last=True)
    if kind == "content_block_delta":
        delta = _field(event, "delta", dict)
        if delta.get("type") == "text_delta":
            return Delta(_field(delta, "text", str))
        if delta.get("type") == "input_json_delta":
            return Delta(_field(delta, "partial_json", str))
    return Delta()  # message_start, ping, and kinds of events to come, which clients must pass over


# ── Reading what another wrote ───────────────────────────────────────────────────────────────────────────────────────
def parsed(text: str | bytes) -> Any:
    """JSON, or Unreadable: for what is none, and for nesting that Python's parser gives up on."""
    try:
        return read_json(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise Unreadable("is not JSON") from None


def _object(data: str) -> dict[str, Any]:
    event = parsed(data)
    if not isinstance(event, dict):
        raise Unreadable("holds an event that is no object")
    if "error" in event or event.get("type") == "error":
        raise Unreadable("reports an error")
    return event


def _field(owner: Any, name: str, kind: type) -> Any:
    found = owner.get(name) if isinstance(owner, dict) else None
    if not isinstance(found, kind):
        raise Unreadable(f"has no {name}")
    return found


def _first(choices: list[Any]) -> dict[str, Any]:
    if not choices or not isinstance(choices[0], dict):
        raise Unreadable("has no choices")
    return choices[0]


def _word(value: Any) -> str:
    """A name that the other side may choose, as far as it looks like one."""
    return "".join(char for char in value[:100] if char.isascii() and (char.isalnum() or char in "._:/-")) if isinstance(value, str) else ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


_OPENAI_LIKE: Final = Dialect("/chat/completions", _bearer, _openai_body, _openai_reply, _openai_delta)
_DIALECTS: Final[Mapping[Provider, Dialect]] = {
    Provider.OPENAI: Dialect("/chat/completions", _bearer, _openai_cloud_body, _openai_reply, _openai_delta),
    Provider.AZURE_OPENAI: Dialect("/chat/completions", _api_key, _openai_cloud_body, _openai_reply, _openai_delta),
    Provider.ANTHROPIC: Dialect("/messages", _anthropic_headers, _anthropic_body, _anthropic_reply, _anthropic_delta),
}
