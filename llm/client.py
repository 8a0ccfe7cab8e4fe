"""ChatClient: asks a resolved LLM, through the gate, in its own dialect.

LLMError                whatever kept a model from answering; `reason` is one sentence in this product's own words
  LLMBlocked            the policy, the tenant rule or the configuration refuses; nothing was sent
  LLMUnreachable        no answer: no connection, a broken one, or none in time
  LLMRejected(status)   the server answered with a status that is no success
  LLMBadAnswer          an answer that is not what was asked for: no completion, broken off, too long

No reason, and nothing that an exception refers to, holds a byte of the key or of the other side's body.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any, Final

import httpx

from airgap.active import active_tenant_rule
from airgap.transport import AirgapBlocked, BodyTooLarge, RedirectRefused, gated_client
from llm import outcomes
from llm.dialects import Ask, Reply, Unreadable, dialect_of, parsed
from llm.dialects import Message as Message
from llm.resolver import ResolvedLLM
from llm.sse import BadStream, events_of

DEADLINE: Final = 20.0  # seconds for a whole answer
CONNECT: Final = 5.0  # seconds
MAX_BYTES: Final = 4 * 1024 * 1024  # of an answer
_LEAST: Final = 0.5  # seconds; with less left there is no second try
_WORDS: Final = {
    401: "does not accept the key",
    403: "does not permit this",
    404: "knows no such path or model",
    429: "is asked too often, or the quota is used up",
}


class LLMError(Exception):
    """`reason` may be shown to anybody who may see the connection."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LLMBlocked(LLMError):
    pass


class LLMUnreachable(LLMError):
    pass


class LLMBadAnswer(LLMError):
    pass


class LLMRejected(LLMError):
    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class ChatClient:
    """Asks one resolved LLM. purpose: who asks, for the trail ("llm.explain"). deadline: seconds for a whole answer, a second try included.

    A connection that breaks before the first byte of an answer is tried once more; nothing else is. A tenant's URL is judged
    by the tenant rule at connect too. inner replaces the network behind the gate, as in gated_client.
    """

    def __init__(self, resolved: ResolvedLLM, *, purpose: str, deadline: float = DEADLINE, inner: httpx.BaseTransport | None = None) -> None:
        self._resolved = resolved
        self._purpose = purpose
        self._seconds = deadline
        self._inner = inner
        self._dialect = dialect_of(resolved.config.provider)

    def complete(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0, json_schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """The whole answer. With a json_schema its text is JSON that the server was told to keep to the schema: check it. Raises LLMError."""
        failure = self._refusal()
        if failure is None:
            try:
                with self._answer(self._ask(messages, max_tokens, temperature, json_schema, stream=False)) as response:
                    reply = self._dialect.reply(parsed(response.read()))
            except _KNOWN as error:
                failure = self._failure_of(error)
            else:
                outcomes.note(self._resolved, "")
                return reply
            self._note(failure)
        raise failure  # out here, so that it does not drag the error, and what that quotes, along as its context

    def stream(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0, json_schema: Mapping[str, Any] | None = None
    ) -> Iterator[str]:
        """The answer's text as it comes. Raises LLMError, also in the middle; closing the iterator hangs up."""
        failure = self._refusal()
        if failure is None:
            try:
                with self._answer(self._ask(messages, max_tokens, temperature, json_schema, stream=True)) as response:
                    for data in events_of(response.iter_bytes()):
                        delta = self._dialect.delta(data)
                        if delta.text:
                            yield delta.text
                        if delta.last:
                            outcomes.note(self._resolved, "")
                            return
                raise Unreadable("breaks off")
            except _KNOWN as error:
                failure = self._failure_of(error)
            self._note(failure)
        raise failure

    def _ask(self, messages: Sequence[Message], max_tokens: int, temperature: float, schema: Mapping[str, Any] | None, *, stream: bool) -> Ask:
        return Ask(self._resolved.model, tuple(messages), max_tokens, temperature, schema, stream)

    def _note(self, failure: LLMError) -> None:
        if not isinstance(failure, LLMBlocked):  # which says nothing about the endpoint
            outcomes.note(self._resolved, failure.reason)

    def _refusal(self) -> LLMError | None:
        """Why nothing is sent at all."""
        return None if self._resolved.allowed else LLMBlocked(self._resolved.reason)

    @contextmanager
    def _answer(self, ask: Ask) -> Iterator[httpx.Response]:
        """The response with its body to come. Tried once more when the connection breaks before anything of it is there."""
        until = monotonic() + self._seconds
        with ExitStack() as stack:
            try:
                response = self._send(stack, ask, until)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
                if not _broke_before_an_answer(error) or until - monotonic() < _LEAST:
                    raise
                response = self._send(stack, ask, until)
            if response.status_code != httpx.codes.OK:
                raise _Status(response.status_code)
            yield response

    def _send(self, stack: ExitStack, ask: Ask, until: float) -> httpx.Response:
        seconds = until - monotonic()
        tenant = self._resolved.tenant
        client = gated_client(
            purpose=self._purpose,
            tenant=tenant,
            timeout=seconds,
            deadline=seconds,
            max_bytes=MAX_BYTES,
            headers={**self._dialect.headers(self._resolved.key), "Content-Type": "application/json"},
            tenant_rule=active_tenant_rule() if tenant else None,
            inner=self._inner,
        )
        stack.enter_context(client)
        body = json.dumps(self._dialect.body(ask)).encode()  # ASCII: a lone surrogate in an alert is no error
        timeout = httpx.Timeout(seconds, connect=min(CONNECT, seconds))
        return stack.enter_context(client.stream("POST", self._resolved.base_url + self._dialect.path, content=body, timeout=timeout))

    def _failure_of(self, error: Exception) -> LLMError:
        host = self._resolved.host
        match error:
            case AirgapBlocked():
                return LLMBlocked(error.decision.reason)
            case _Status():
                return LLMRejected(f"{host} {_WORDS.get(error.status, 'refuses')} (HTTP {error.status}).", error.status)
            case Unreadable() | BadStream():
                return LLMBadAnswer(f"The answer of {host} {error}.")
            case BodyTooLarge():
                return LLMBadAnswer(f"The answer of {host} is longer than {MAX_BYTES} bytes.")
            case httpx.DecodingError():
                return LLMBadAnswer(f"The answer of {host} is damaged or compressed in a way that was not asked for.")
            case RedirectRefused():
                return LLMBadAnswer(f"{host} redirects elsewhere, which is not followed.")
            case httpx.ConnectTimeout():
                return LLMUnreachable(f"{host} does not take the connection within {CONNECT:g} s.")
            case httpx.TimeoutException():
                return LLMUnreachable(f"{host} did not answer within {self._seconds:g} s.")
            case httpx.ConnectError():
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    return LLMUnreachable(f"The certificate of {host} is not trusted here; AISOC_CA_BUNDLE names the site's own CA.")
                return LLMUnreachable(f"There is no connection to {host}.")
            case httpx.RemoteProtocolError() if not _broke_before_an_answer(error):
                return LLMBadAnswer(f"{host} breaks off, or does not speak HTTP.")
            case _:
                return LLMUnreachable(f"The connection to {host} broke.")


class _Status(Exception):
    """An answer without success. Its body is not read."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


_KNOWN: Final = (AirgapBlocked, httpx.HTTPError, Unreadable, BadStream, _Status)


def _broke_before_an_answer(error: httpx.HTTPError) -> bool:
    """Called for errors that came instead of a response."""
    return not isinstance(error, httpx.RemoteProtocolError) or "without sending a response" in str(error)
