"""What a live provider is and what it answers, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Pair = tuple[str, str]  # type, canonical value


class Path(StrEnum):
    """How an answer was made, in the words of CONTRACTS.md 2.6: by the provider, or by the local store alone."""

    LIVE = "live"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a provider says of one value: engines by their word, and when it looked last. known: false where it has never seen the value."""

    provider: str
    known: bool
    malicious: int = 0
    suspicious: int = 0
    harmless: int = 0
    undetected: int = 0
    analysed_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """path live: at least one value was answered; reason then says what was left out, or is empty. rule: the gate's, when it refused."""

    path: Path
    reason: str
    rule: str | None = None
    verdicts: Mapping[Pair, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of the registry. `url` "" means not configured, which is no error; `to_configure` then says what to set.

    ask(provider, pairs): one verdict a pair that the provider may be asked about; it never raises for the other side's sake.
    types: what it can be asked about. headers go to the URL's origin alone; they are in no repr.
    """

    name: str
    title: str
    url: str
    ask: Callable[[Provider, Sequence[Pair]], LiveAnswer]
    types: frozenset[str]
    to_configure: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
