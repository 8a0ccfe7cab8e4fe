"""Bulk look-up: values as somebody pastes them, and what the local store knows of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from threatintel.lookup import Pair, lookup
from threatintel.observables import Read, every_meaning, read_list
from threatintel.queries import IndicatorView

MAX_VALUES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Hit:
    """The value at `index` of the list, and the places in `matches` of what names it."""

    index: int
    matches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """CONTRACTS.md 2.7. matches: each indicator once, in the order of the values; checked: how many values were looked up; unread: the others."""

    matches: list[IndicatorView]
    checked: int
    hits: list[Hit]
    unread: list[Read]

    def as_dict(self) -> dict[str, Any]:
        return {
            "matches": [match.as_dict() for match in self.matches],
            "checked": self.checked,
            "hits": [{"index": hit.index, "matches": list(hit.matches)} for hit in self.hits],
            "unread": [{"index": one.index, "reason": one.reason} for one in self.unread],
        }


def look_up(values: Any) -> BulkAnswer:
    """values: a list of texts or {"type", "value"}, MAX_VALUES at most. Raises threatintel.observables.Malformed."""
    items = read_list(values, field="values", most=MAX_VALUES, read=every_meaning)
    known = lookup(pair for item in items for pair in item.pairs)
    places: dict[Pair, int] = {}
    matches: list[IndicatorView] = []
    hits: list[Hit] = []
    for item in items:
        found: dict[int, None] = {}
        for view in _views(item.pairs, known):
            place = places.setdefault((view.type, view.value), len(matches))
            if place == len(matches):
                matches.append(view)
            found[place] = None
        if found:
            hits.append(Hit(item.index, tuple(found)))
    unread = [item for item in items if not item.pairs]
    return BulkAnswer(matches, len(items) - len(unread), hits, unread)


def _views(pairs: Iterable[Pair], known: dict[Pair, list[IndicatorView]]) -> Iterable[IndicatorView]:
    for pair in pairs:
        yield from known.get(pair, ())
