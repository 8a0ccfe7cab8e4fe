"""Feeds and what they yield, as values. Pure.

FeedError(Exception)     a poll or an import that failed; str() is the reason that people read, without a secret or a query
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airgap.transport import Client


class FeedError(Exception):
    """The other side answered something that cannot be used, or not in time. after: seconds that it asks to be left alone."""

    def __init__(self, reason: str, *, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0 labels (FIRST), from the most open to the most restricted."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber+strict"
    RED = "red"


@dataclass(slots=True, kw_only=True)  # not frozen: a third of the time that a million of them take to make
class Record:
    """One indicator as one source states it. Times are aware; confidence 0 to 100; `value` is canonical for its type (threatintel/canonical.py).

    external_id: of the object at the source that states it, as a STIX id; one object may state several indicators.
    modified: when the source last changed that object; an older statement never replaces a newer one.
    context: the source names the value without asking for detection (MISP to_ids false). raw: the object as it came, as JSON text.
    """

    type: str
    value: str
    external_id: str
    confidence: int
    tlp: Tlp
    labels: tuple[str, ...] = ()
    description: str = ""
    url: str = ""
    references: tuple[str, ...] = ()
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    valid_until: datetime | None = None
    modified: datetime | None = None
    revoked: bool = False
    context: bool = False
    raw: str = ""


@dataclass(slots=True)
class Unread:
    """An object of a source before it is read: one that is stored as it stands is not read again. raw: all that its records are made of."""

    external_id: str
    raw: str
    read: Callable[[], Iterable[Record]]


@dataclass(slots=True)
class Tally:
    """What was read and is no record: counted while a page's records are taken, told on the run. Reason -> how many."""

    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str, times: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + times


Cursor = Mapping[str, str]  # what a feed remembers between polls: validators, timestamps


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records that are stored in one transaction, with the cursor that goes with them. `records` is taken once and may be a generator.
    cursor None: where a poll goes on stays as it is, as for a file.

    A page holds everything that its objects state: what is stored under one of its external ids and is not in it is retired.
    withdrawn: external ids that the source has taken back. data_date: the data's own date.
    tally: filled while the records are taken.
    """

    records: Iterable[Record | Unread]
    cursor: Cursor | None
    data_date: datetime | None = None
    withdrawn: tuple[str, ...] = ()
    tally: Tally = field(default_factory=Tally)


Fetch = Callable[["Client", "FeedSpec", Cursor], Iterator[Page]]
Keep = Callable[[Any], None]  # told each element (an object, event or pulse, a whole catalogue) as the server gave it


def keep_nothing(_element: Any) -> None:
    """What a poll keeps of the elements themselves."""


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One feed. `url` "" means not configured, which is not an error; `to_configure` then says what to set.

    fetch yields pages, none when the feed says that nothing is new; it raises FeedError, AirgapBlocked or httpx.HTTPError.
    whole: a run that yields pages lists all that the feed has, so that what they do not list is retired at its end.
    headers and auth go with each request to the URL's origin; they are in no repr. options: what else this feed's fetch needs.
    offline: filled by hand alone; it has no URL and is never polled.
    """

    name: str
    title: str
    kind: str
    url: str
    every: timedelta
    fetch: Fetch
    _: KW_ONLY
    variables: tuple[str, ...] = ()
    to_configure: str = ""
    whole: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
