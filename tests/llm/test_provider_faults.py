"""ChatClient against llmock, which breaks as providers do: each fault is an error, asked once, and llmock finds no fault with how it was taken."""

from collections.abc import Callable
from typing import Any

import pytest

from airgap.policy import EgressPolicy
from llm.client import ChatClient, LLMBadAnswer, LLMError, LLMRejected, LLMUnreachable, Message
from llm.config import LLMConfig, Secret
from llm.resolver import resolve
from tests.plugins.llmock_server import Faults

pytestmark = pytest.mark.django_db
ASK = (Message("user", "Name one planet."),)


@pytest.fixture
def client(llmock: Faults, airgapped: Callable[..., EgressPolicy]) -> ChatClient:
    policy = airgapped()
    return ChatClient(resolve(LLMConfig.of(llmock.url, Secret("sk-planted-7777"), "gpt-4o"), None, policy), purpose="test", deadline=2.0)


def streamed(client: ChatClient) -> str:
    return "".join(client.stream(ASK, max_tokens=40))


def test_a_provider_that_is_well_answers_whole_and_as_a_stream(client: ChatClient, llmock: Faults) -> None:
    llmock.will()
    assert client.complete(ASK, max_tokens=40).text
    assert streamed(client)
    assert llmock.verdict()["findings"] == []


@pytest.mark.parametrize(
    ("behaviour", "error", "status"),
    [
        ({"type": "fail", "status": 429, "retry_after": 30, "times": None}, LLMRejected, 429),
        ({"type": "fail", "status": 503, "times": None}, LLMRejected, 503),
        ({"type": "fail", "status": 401, "times": None}, LLMRejected, 401),
    ],
)
def test_a_call_that_fails_is_asked_once_and_said(
    client: ChatClient, llmock: Faults, behaviour: dict[str, Any], error: type[LLMError], status: int | None
) -> None:
    llmock.will(**behaviour)
    with pytest.raises(error) as caught:
        client.complete(ASK, max_tokens=40)
    assert getattr(caught.value, "status", None) == status
    assert "planted" not in str(caught.value)
    assert llmock.calls() == 1
    assert not [finding for finding in llmock.verdict()["findings"] if finding["severity"] == "error"]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"type": "stream_fault", "kind": "truncate", "after_chunks": 2}, LLMBadAnswer),
        ({"type": "stream_fault", "kind": "malformed", "after_chunks": 2}, LLMBadAnswer),
        ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 2}, LLMBadAnswer),
        ({"type": "stream_fault", "kind": "stall", "stall_seconds": 8, "after_chunks": 2}, LLMUnreachable),
    ],
)
def test_a_stream_that_breaks_is_never_taken_for_a_whole_answer(
    client: ChatClient, llmock: Faults, behaviour: dict[str, Any], error: type[LLMError]
) -> None:
    llmock.will(**behaviour)
    with pytest.raises(error):
        streamed(client)


def test_a_provider_that_is_silent_costs_the_deadline_and_no_more(client: ChatClient, llmock: Faults) -> None:
    llmock.will(type="delay", seconds=8)
    with pytest.raises(LLMUnreachable):
        client.complete(ASK, max_tokens=40)
