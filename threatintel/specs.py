"""Feeds and what they yield, as values. Pure.

FeedError(Exception)     a poll that failed; str() is the reason that people read, without a secret or a query
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airgap.transport import Client


class FeedError(Exception):
    """The other side answered something that cannot be used, or not in time."""


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0 labels (FIRST)."""

    RED = "red"
    AMBER_STRICT = "amber+strict"
    AMBER = "amber"
    GREEN = "green"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One indicator as one source states it. Times are aware; confidence 0 to 100; `value` is canonical for its type."""

    type: str
    value: str
    external_id: str
    confidence: int
    tlp: Tlp
    labels: tuple[str, ...] = ()
    description: str = ""
    url: str = ""
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    valid_until: datetime | None = None
    revoked: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict)


Cursor = Mapping[str, str]  # what a feed remembers between polls: validators, timestamps


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records that are stored in one transaction, with the cursor that goes with them.

    complete: the page is the feed's whole content, so what it no longer lists is retired. data_date: the data's own date.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    data_date: datetime | None = None
    complete: bool = False


Fetch = Callable[["Client", "FeedSpec", Cursor], Iterator[Page]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSpec:
    """One feed. `url` "" means not configured, which is not an error; `to_configure` then says what to set.

    fetch yields pages, none when the feed says that nothing is new; it raises FeedError, AirgapBlocked or httpx.HTTPError.
    """

    name: str
    title: str
    kind: str
    url: str
    every: timedelta
    fetch: Fetch
    variables: tuple[str, ...] = ()
    to_configure: str = ""
