"""Observables as a caller lists them: text in any form that a person writes, or {"type", "value"}.

Malformed(ValueError)       the list itself cannot be used; `field` is the place, str() the reason that people read
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airgap.read_json import UNREADABLE
from threatintel.canonical import FORMLESS, MAX_TEXT, TYPES, NotCanonical, canonical, recognise, typed

Pair = tuple[str, str]  # type, canonical value
_ALIKE: Mapping[str, tuple[str, ...]] = {"domain-name": ("file-name", "mutex"), "file-hash:md5": ("file-hash:imphash", "mutex")}
NOT_READ = "It holds a character that could not be read: U+FFFD stands in its place."
NO_FORM = "It has no form that shows its type; give it as {type, value}."


class Malformed(ValueError):
    """The list is none, is too long, or holds something that is no observable in form."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class Read:
    """The item at `index` of the list, and what it may mean; `pairs` is empty when it cannot be read, and `reason` says why."""

    index: int
    pairs: tuple[Pair, ...]
    reason: str = ""


def read_list(items: Any, *, field: str, most: int, read: Callable[[str], Iterable[Pair]]) -> list[Read]:
    """Each item as what it means, in order. read: what a text without a type may mean. Raises Malformed."""
    if not isinstance(items, list):
        raise Malformed(field, f"Send {field}: a list of texts or of objects with type and value.")
    if len(items) > most:
        raise Malformed(field, f"{field} has {len(items)} items; at most {most} are taken.")
    return [_read(index, item, field, read) for index, item in enumerate(items)]


def one_meaning(text: str) -> Iterable[Pair]:
    """What a pasted text is, at most one."""
    found = recognise(text)
    return () if found is None else (found,)


def every_meaning(text: str) -> Iterable[Pair]:
    """All that a pasted text may mean: what it is by its form and what else has that form, else its value for each type without one."""
    if "\0" in text:
        return []
    recognised = recognise(text)
    found = [] if recognised is None else [recognised]
    for kind in FORMLESS if recognised is None else _ALIKE.get(recognised[0], ()):
        with contextlib.suppress(NotCanonical):
            found.append((kind, canonical(kind, text)))
    return found


def _read(index: int, item: Any, field: str, read: Callable[[str], Iterable[Pair]]) -> Read:
    if isinstance(item, str):
        text = item.strip()
        if not text or len(text) > MAX_TEXT:
            return Read(index, (), f"It has more than {MAX_TEXT} characters." if text else "It is empty.")
        if UNREADABLE in text:
            return Read(index, (), NOT_READ)
        pairs = tuple(read(text))
        return Read(index, pairs, "" if pairs else NO_FORM)
    if not isinstance(item, dict) or not isinstance(item.get("value"), str) or not isinstance(item.get("type"), str):
        raise Malformed(f"{field}.{index}", "An item is text, or an object with the texts type and value.")
    if item["type"] not in TYPES:
        raise Malformed(f"{field}.{index}.type", f"It is none of {', '.join(TYPES)}.")
    try:
        return Read(index, (typed(item["type"], item["value"]),))
    except NotCanonical as error:
        return Read(index, (), str(error))
