"""What a channel, a message and a channel's answer are, as values. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from airgap.announce import Severity

MAX_TITLE: Final = 200  # characters
MAX_TEXT: Final = 4000
MAX_LINK: Final = 2000
MAX_KEY: Final = 200


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. key: the receiver may tell repeats by it. title: one line; link: "" or an http(s) URL; at: when it was asked for."""

    key: str
    title: str
    text: str
    severity: Severity
    link: str
    at: datetime

    @property
    def digest(self) -> str:
        """The key in letters that every header and identifier takes."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]


class Result(StrEnum):
    SENT = "sent"
    FAILED = "failed"  # the same message would fail again
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt. reason: without a byte of what the other side wrote. after: seconds that it asks to wait."""

    result: Result
    reason: str = ""
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """One row of the registry. `url` "" means not configured; `to_configure` then says what to set.

    url and secret hold what nobody may see: they are in no repr. send(notifier, message) tells what came of it; it raises AirgapBlocked
    when the gate refuses, and nothing for the other side's sake. to: receivers of mail.
    """

    name: str
    title: str
    url: str = field(repr=False)
    send: Callable[[Notifier, Message], Answer]
    variables: tuple[str, ...]
    to_configure: str
    secret: str = field(default="", repr=False)
    to: tuple[str, ...] = ()

    @property
    def purpose(self) -> str:
        """Who asks, for the trail."""
        return f"actions.{self.name}"


def one_line(text: str, length: int) -> str:
    """Text that shows as it is, in one line: no control, invisible or direction-turning character, no lone surrogate."""
    return shortened(" ".join(shown(text).split()), length)


def shown(text: str) -> str:
    """The same for text of several lines."""
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "?" for char in text.replace("\r\n", "\n"))


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
