"""ChatClient against real servers on loopback: each dialect's path, headers and body; every fault with its error, and nothing given away."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

import pytest

from airgap.policy import EgressPolicy, Rule
from llm.client import ChatClient, LLMBadAnswer, LLMBlocked, LLMError, LLMRejected, LLMUnreachable, Message
from llm.config import LLMConfig, Provider, Secret
from llm.resolver import ResolvedLLM, resolve
from tests.llm.model_server import (
    PLANTED,
    Answer,
    ModelServer,
    anthropic,
    chunk,
    completion,
    event,
    hangs_up,
    model_server,
    resets,
    sends,
    speaks_no_http,
    stalls,
    streams,
)
from tests.plugins.processes import free_port

pytestmark = pytest.mark.django_db
KEY = "sk-planted-4411"
ASK = (Message("system", "Be brief."), Message("user", "ping"))
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
def server(airgapped: Callable[..., EgressPolicy]) -> Iterator[ModelServer]:
    airgapped()
    with model_server() as started:
        yield started


def resolved(url: str, key: str = KEY, *, said: Provider | None = None, model: str = "m") -> ResolvedLLM:
    return resolve(LLMConfig.of(url, Secret(key), model, said), None, EgressPolicy.from_text("1", ""))


def client(server: ModelServer, *, deadline: float = 10.0, key: str = KEY, said: Provider | None = None, path: str = "") -> ChatClient:
    return ChatClient(resolved(server.url + path, key, said=said), purpose="test", deadline=deadline)


# ── Dialects ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_with_and_without_version_and_slash_one_url_is_called(server: ModelServer, path: str) -> None:
    client(server, path=path).complete(ASK, max_tokens=5)
    assert [called for called, _headers, _body in server.requests] == ["/v1/chat/completions"]


def test_an_openai_like_server_is_asked_and_read(server: ModelServer) -> None:
    reply = client(server).complete(ASK, max_tokens=5, json_schema=SCHEMA)
    assert (reply.text, reply.model, reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("pong", "m-1", "stop", 9, 2)
    (_path, headers, body) = server.requests[0]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ping"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("m", 5, 0.0, False)
    assert body["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def test_a_local_server_without_key_gets_no_authorization_header(server: ModelServer) -> None:
    client(server, key="").complete(ASK, max_tokens=5)
    assert not {"authorization", "api-key", "x-api-key"} & set(server.requests[0][1])


def test_azure_is_asked_under_its_own_path_and_header(server: ModelServer) -> None:
    assert client(server, said=Provider.AZURE_OPENAI).complete(ASK, max_tokens=5).text == "pong"
    (path, headers, body) = server.requests[0]
    assert path == "/openai/v1/chat/completions"
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    assert body["max_completion_tokens"] == 5


def test_anthropic_is_asked_with_its_own_path_headers_and_body(server: ModelServer) -> None:
    server.answers = [anthropic({"type": "text", "text": "po"}, {"type": "text", "text": "ng"}, stop="max_tokens")]
    reply = replace_provider(server).complete(ASK, max_tokens=5)
    assert (reply.text, reply.model, reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("pong", "claude-x", "length", 9, 2)
    (path, headers, body) = server.requests[0]
    assert path == "/v1/messages"
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in headers
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": "ping"}]


def test_anthropic_keeps_a_schema_by_a_tool_that_must_be_used(server: ModelServer) -> None:
    server.answers = [anthropic({"type": "tool_use", "id": "t", "name": "answer", "input": {"a": 1}}, stop="tool_use")]
    assert json.loads(replace_provider(server).complete(ASK, max_tokens=5, json_schema=SCHEMA).text) == {"a": 1}
    body = server.requests[0][2]
    assert body["tools"][0]["input_schema"] == SCHEMA
    assert body["tool_choice"] == {"type": "tool", "name": "answer"}


def replace_provider(server: ModelServer) -> ChatClient:
    """A client that takes this server for Anthropic's."""
    found = resolved(server.url)
    return ChatClient(replace(found, config=replace(found.config, provider=Provider.ANTHROPIC)), purpose="test")


def test_a_stream_of_each_dialect_gives_its_text_as_it_comes(server: ModelServer) -> None:
    role = event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
    usage = event({"choices": [], "usage": {"prompt_tokens": 1}})
    server.answers = [streams(b": hello\n\n", role, chunk("po"), chunk("ng"), chunk(finish="stop"), usage, event("[DONE]"))]
    assert list(client(server).stream(ASK, max_tokens=5)) == ["po", "ng"]
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "pong"}}
    parts = [event({"type": "message_start"}), event({"type": "ping"}), event(delta), event({"type": "message_stop"})]
    server.answers = [streams(*[b"event: x\r\n" + part.replace(b"\n", b"\r\n") for part in parts])]
    assert list(replace_provider(server).stream(ASK, max_tokens=5)) == ["pong"]


def test_a_stream_cut_anywhere_into_packets_reads_the_same(server: ModelServer) -> None:
    whole = chunk("pö") + chunk("n\u2028g") + event("[DONE]")
    server.answers = [streams(*(bytes([byte]) for byte in whole))]
    assert "".join(client(server).stream(ASK, max_tokens=5)) == "pön\u2028g"


def test_closing_a_stream_hangs_up(server: ModelServer) -> None:
    server.answers = [stalls(server, chunk("po"))]
    began = time.monotonic()
    parts = client(server, deadline=20).stream(ASK, max_tokens=5)
    assert next(parts) == "po"
    parts.close()
    assert time.monotonic() - began < 10


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def whole(server: ModelServer, deadline: float = 10.0) -> str:
    return client(server, deadline=deadline).complete(ASK, max_tokens=5).text


def streamed(server: ModelServer, deadline: float = 10.0) -> str:
    return "".join(client(server, deadline=deadline).stream(ASK, max_tokens=5))


def failure(ask: Callable[..., str], server: ModelServer, *answers: Answer, deadline: float = 10.0) -> LLMError:
    """What a call raises; nothing that it refers to holds the key or the other side's words."""
    server.answers = list(answers)
    with pytest.raises(LLMError) as caught:
        ask(server, deadline)
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    for text in (str(error), repr(error), error.reason, repr(vars(error))):
        assert PLANTED not in text
        assert KEY not in text
    return error


@pytest.mark.parametrize("ask", [whole, streamed])
@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 404, 429, 500, 503])
def test_a_status_without_success_is_a_rejection_and_is_not_tried_again(server: ModelServer, status: int, ask: Callable[..., str]) -> None:
    error = failure(ask, server, sends(PLANTED.encode() if status != 204 else b"", status=status))
    assert isinstance(error, LLMRejected)
    assert error.status == status
    assert str(status) in error.reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        sends(PLANTED.encode()),
        sends(f'["{PLANTED}"]'.encode()),
        sends(b"[" * 100_000),
        sends(b"{}"),
        sends(b'{"choices": []}'),
        sends(b'{"choices": ["x"]}'),
        sends(f'{{"choices": [{{"message": {{"content": ["{PLANTED}"]}}}}]}}'.encode()),
        completion(None),
        sends(b"\xff\xfe"),
        sends(b"x" * 5_000_000),
        sends(b"....", headers={"Content-Encoding": "br"}),
        speaks_no_http,
    ],
)
def test_rubbish_is_a_bad_answer(server: ModelServer, answer: Answer) -> None:
    assert isinstance(failure(whole, server, answer), LLMBadAnswer)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (chunk("po"),),
        (chunk("po"), event(PLANTED)),
        (chunk("po"), event({"error": {"message": PLANTED}})),
        (event({"choices": [{"delta": {"content": [PLANTED]}}]}),),
        (event([PLANTED]),),
        (b"data: \xff\xfe\n\n",),
        (b"data: " + b"x" * 300_000 + b"\n\n",),
        (b"x" * 300_000,),
        (b"data: x\n" * 200_000,),
        (chunk("po"), b"data: [DONE]"),
    ],
)
def test_a_stream_that_breaks_off_or_is_rubbish_is_a_bad_answer(server: ModelServer, parts: tuple[bytes, ...]) -> None:
    assert isinstance(failure(streamed, server, streams(*parts)), LLMBadAnswer)


def test_a_null_text_is_none_only_when_the_model_was_cut_off(server: ModelServer) -> None:
    server.answers = [completion(None, finish="length")]
    assert whole(server) == ""


@pytest.mark.parametrize("ask", [whole, streamed])
def test_a_server_that_stalls_is_given_up_at_the_deadline(server: ModelServer, ask: Callable[..., str]) -> None:
    began = time.monotonic()
    assert isinstance(failure(ask, server, stalls(server), deadline=0.6), LLMUnreachable)
    assert isinstance(failure(streamed, server, stalls(server, chunk("po")), deadline=0.6), LLMUnreachable)
    assert time.monotonic() - began < 10


def test_nobody_there_is_unreachable() -> None:
    nobody = ChatClient(resolved(f"http://127.0.0.1:{free_port()}"), purpose="test")
    with pytest.raises(LLMUnreachable, match="no connection"):
        nobody.complete(ASK, max_tokens=1)


@pytest.mark.parametrize("broken", [resets, hangs_up])
@pytest.mark.parametrize("ask", [whole, streamed])
def test_a_connection_that_breaks_before_an_answer_is_tried_once_more(server: ModelServer, broken: Answer, ask: Callable[..., str]) -> None:
    server.answers = [broken, completion("pong") if ask is whole else streams(chunk("pong"), event("[DONE]"))]
    assert ask(server) == "pong"
    assert len(server.requests) == 2
    assert isinstance(failure(ask, server, broken), LLMUnreachable)
    assert len(server.requests) == 4


@pytest.mark.parametrize("location", ["/elsewhere", "http://127.0.0.1:9/", "https://evil.example.com/", "http://[", "http://169.254.169.254/"])
def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(server: ModelServer, location: str) -> None:
    error = failure(whole, server, sends(b"", status=307, headers={"Location": location}))
    assert isinstance(error, LLMRejected | LLMBlocked | LLMBadAnswer)
    assert [path for path, _headers, _body in server.requests] == ["/v1/chat/completions"]


def test_what_is_not_allowed_is_not_sent(server: ModelServer) -> None:
    public = resolved("https://api.openai.com")
    assert (public.allowed, public.rule, bool(public.key), public.key_set) == (False, Rule.PUBLIC, False, True)
    for ask in (ChatClient(public, purpose="test").complete, lambda *a, **k: list(ChatClient(public, purpose="test").stream(*a, **k))):
        with pytest.raises(LLMBlocked, match=r"api\.openai\.com"):
            ask(ASK, max_tokens=1)
    assert server.requests == []


@pytest.mark.parametrize("key", ["sk-line\nbreak", "sk-\u00fcml\u00e4ut", "sk blank", "sk-\x00"])
def test_a_key_that_no_header_takes_is_refused_without_being_quoted(server: ModelServer, key: str) -> None:
    assert not resolved(server.url, key).allowed
    with pytest.raises(LLMBlocked) as caught:
        client(server, key=key).complete(ASK, max_tokens=1)
    assert key not in repr(caught.value)
    assert server.requests == []


def test_text_that_is_no_unicode_does_not_stop_a_call(server: ModelServer) -> None:
    client(server).complete([Message("user", "\ud800 alert")], max_tokens=1)
    assert len(list(chain(server.requests))) == 1
