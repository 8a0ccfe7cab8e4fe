"""Reads a large JSON document while it arrives: the top-level scalars and the elements of one top-level array.

Bounded in depth before anything is built: a prefix-tracking parser needs memory with the square of the nesting, and a few
kilobytes of `[` would end the process.
"""

from collections.abc import Iterator
from typing import Any

import ijson

from threatintel.specs import FeedError

MAX_DEPTH = 32
MAX_EVENTS = 50_000  # parser events an element: a few bytes of `[],` would each become an object
_OPENS = frozenset({"start_map", "start_array"})
_CLOSES = frozenset({"end_map", "end_array"})


def read_members(chunks: Iterator[bytes], items: str) -> Iterator[tuple[str, Any]]:
    """Yields (key, value) for each top-level scalar and (items, element) for each element of the top-level array `items`.

    Other nested members are passed over. Raises FeedError for JSON that is broken, ends early or is nested too deep.
    """
    try:
        yield from _members(ijson.basic_parse(ijson.from_iter(chunks), use_float=True), items)
    except (ijson.JSONError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeedError(f"The answer is not whole JSON: {ascii(reason)[1:-1][:80]}.") from None


def _members(events: Iterator[tuple[str, Any]], items: str) -> Iterator[tuple[str, Any]]:
    depth = 0
    key = ""
    in_items = False
    element: Any = None
    size = 0
    for event, value in events:
        if event in _OPENS:
            depth += 1
            if depth > MAX_DEPTH:
                raise FeedError(f"The answer is nested more than {MAX_DEPTH} deep.")
        elif event in _CLOSES:
            depth -= 1
        if element is not None:
            element.event(event, value)
            size += 1
            if size > MAX_EVENTS:
                raise FeedError(f"An element of the answer has more than {MAX_EVENTS} parts.")
            if depth == 2:
                yield key, element.value
                element = None
        elif event == "map_key":
            if depth == 1:
                key = value
        elif event in _OPENS:
            if depth == 2:
                in_items = event == "start_array" and key == items
            elif depth == 3 and in_items:
                element, size = ijson.ObjectBuilder(), 0
                element.event(event, value)
        elif event not in _CLOSES and (depth == 1 or (depth == 2 and in_items)):
            yield key, value
