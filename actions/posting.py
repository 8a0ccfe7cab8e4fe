"""Sends a built request through the gate and judges the answer: sent, not to be tried again, or to be tried again and when."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from actions.specs import Answer, Message, Notifier, Result
from airgap.active import active_policy
from airgap.hosts import Malformed, Url
from airgap.policy import Rule
from airgap.retry_after import wait_asked
from airgap.transport import BodyTooLarge, RedirectRefused, gated_client

WAIT: Final = 10.0  # seconds without a byte
DEADLINE: Final = 20.0  # seconds for a whole request
MAX_ANSWER: Final = 64 * 1024  # bytes; no receiver has more to say
TRY_AGAIN: Final = frozenset({408, 425, 429})
CHECK: Final[Mapping[int, str]] = {
    401: "it does not take the key or the URL",
    403: "it does not take the key or the URL",
    404: "it does not know the URL",
    410: "the URL is no longer in use",
    429: "it asks for fewer messages",
}


@dataclass(frozen=True, slots=True)
class Posting:
    """One POST. The URL and the headers may hold a secret."""

    url: str = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def content(self) -> bytes:
        return json.dumps(self.body, ensure_ascii=True, separators=(",", ":")).encode()


Build = Callable[[Notifier, Message], Posting]
Judge = Callable[[Notifier, httpx.Response], Answer]


def judge(notifier: Notifier, response: httpx.Response) -> Answer:
    """By the status alone: 2xx is sent; 408, 425, 429 and 5xx pass; everything else stays as it is, redirects too."""
    status = response.status_code
    if 200 <= status < 300:
        return Answer(Result.SENT)
    said = f"HTTP {status} from {host_of(notifier.url)}"
    if 300 <= status < 400:
        return Answer(Result.FAILED, f"{said}: it redirects, which is not followed. Set the URL that it redirects to.")
    said = f"{said}: {CHECK[status]}." if status in CHECK else f"{said}."
    if status in TRY_AGAIN or status >= 500:
        return Answer(Result.AGAIN, said, after=wait_asked(response.headers.get("Retry-After", "")))
    return Answer(Result.FAILED, said)


def posted(build: Build, judge: Judge = judge) -> Callable[[Notifier, Message], Answer]:
    """The `send` of a channel that is a web address."""

    def send(notifier: Notifier, message: Message) -> Answer:
        if unsafe := in_clear(notifier):
            return Answer(Result.FAILED, unsafe)
        posting = build(notifier, message)
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key, **posting.headers}
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            return Answer(Result.FAILED, f"A key or secret among {', '.join(notifier.variables)} has characters that no header takes.")
        try:
            with gated_client(
                purpose=notifier.purpose, timeout=WAIT, deadline=DEADLINE, max_bytes=MAX_ANSWER, headers=headers, secret_path=True
            ) as client:
                return judge(notifier, client.post(posting.url, content=posting.content))
        except (BodyTooLarge, RedirectRefused) as error:
            return Answer(Result.FAILED, f"{host_of(notifier.url)}: {error} Is the URL right?")
        except httpx.DecodingError:  # its text quotes a header of the answer
            return Answer(Result.FAILED, f"{host_of(notifier.url)}: the answer cannot be decoded. Is the URL right?")
        except httpx.InvalidURL:  # its text quotes the URL
            return Answer(Result.FAILED, f"{notifier.variables[0]} is no URL that can be called.")
        except httpx.HTTPError as error:
            return Answer(Result.AGAIN, f"{host_of(notifier.url)}: {_plain(error)}")

    return send


def below(base: str, path: str) -> str:
    """The API's path below the base that is configured; the whole address is taken too."""
    base = base.rstrip("/")
    return base if base.endswith(path) else f"{base}{path}"


def host_of(url: str) -> str:
    """The host alone: what stands behind it may be the secret."""
    parsed = Url.parse(url)
    return "(malformed)" if isinstance(parsed, Malformed) else str(parsed.host)


def in_clear(notifier: Notifier) -> str:
    """Why the secret in a URL or header may not go this way, or "". A host that the gate refuses is left to the gate."""
    policy = active_policy()
    public = policy.classify(notifier.url) in (Rule.PUBLIC, Rule.MALFORMED)
    if public and notifier.url.lower().startswith("http:") and policy.decide_url(notifier.url).allowed:
        return f"{notifier.variables[0]} is plain http to {host_of(notifier.url)}, a public host: its secret would cross the network in clear."
    return ""


def answered(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of an answer; empty where there is none."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _plain(error: httpx.HTTPError) -> str:
    """What went wrong, in words: the text of these errors may quote the URL or the answer."""
    match error:
        case httpx.TimeoutException():
            return "no answer in time."
        case httpx.ConnectError():
            return "no connection; is it up, and is its certificate one that AISOC_CA_BUNDLE vouches for?"
        case _:
            return f"the exchange broke off ({type(error).__name__})."
