"""Reads a large JSON document while it arrives: the top-level scalars and the elements of one top-level array.

Bounded in depth before anything is built: a prefix-tracking parser needs memory with the square of the nesting, and a few
kilobytes of `[` would end the process.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import ijson

from threatintel.specs import FeedError

MAX_DEPTH = 32
MAX_TEXT = 16 * 1024 * 1024  # bytes of one string, or of the space between two parts
MAX_MEMBER = 128 * 1024 * 1024  # bytes of one element, give or take a chunk
MAX_EVENTS = 50_000  # parser events an element: a few bytes of `[],` would each become an object
_OPENS = frozenset({"start_map", "start_array"})
_CLOSES = frozenset({"end_map", "end_array"})


def read_members(
    chunks: Iterator[bytes], items: str, *, max_events: int = MAX_EVENTS, in_all: int | None = None, or_array: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yields (key, value) for each top-level scalar and (items, element) for each element of the top-level array `items`.

    in_all: the most parts of the document, for a caller that keeps its elements: three bytes of JSON may become seventy of memory.
    or_array: a document that is an array is read as its elements. Other nested members are passed over. Raises FeedError for JSON that
    is broken, ends early, is nested too deep, has an element of more than `max_events` parts or MAX_MEMBER bytes, or a text of more than MAX_TEXT.
    """
    meter = _Meter(chunks)
    try:
        yield from _members(_parts(meter, in_all), items, max_events, meter, or_array=or_array)
    except (ijson.JSONError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeedError(f"The JSON is not whole: {ascii(reason)[1:-1][:80]}.") from None


class _Meter:
    """The chunks, counted. A text without end is refused early: the parser takes time with the square of its length."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.total = 0
        self.part = 0  # where the last part ended, as far as is known

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.total += len(chunk)
            if self.total - self.part > MAX_TEXT:
                raise FeedError(f"A text of the JSON has more than {MAX_TEXT // 2**20} MiB.")
            yield chunk


def _parts(meter: _Meter, most: int | None) -> Iterator[tuple[str, Any]]:
    """The parser's events."""
    for number, event in enumerate(ijson.basic_parse(ijson.from_iter(iter(meter)), use_float=True)):
        meter.part = meter.total
        if most is not None and number >= most:
            raise FeedError(f"The JSON has more than {most} parts.")
        yield event


def _members(events: Iterator[tuple[str, Any]], items: str, max_events: int, meter: _Meter, *, or_array: bool) -> Iterator[tuple[str, Any]]:
    depth, outer = 0, 1  # outer: the depth at which the elements' array stands
    key = ""
    in_items = False
    element: Any = None
    size = began = 0
    for event, value in events:
        if event in _OPENS:
            depth += 1
            if depth > MAX_DEPTH:
                raise FeedError(f"The JSON is nested more than {MAX_DEPTH} deep.")
            if or_array and depth == 1 and event == "start_array":
                key, in_items, outer = items, True, 0
                continue
        elif event in _CLOSES:
            depth -= 1
        if element is not None:
            element.event(event, value)
            size += 1
            if size > max_events:
                raise FeedError(f"An element of the JSON has more than {max_events} parts.")
            if meter.total - began > MAX_MEMBER:
                raise FeedError(f"An element of the JSON has more than {MAX_MEMBER // 2**20} MiB.")
            if depth == outer + 1:
                yield key, element.value
                element = None
        elif event == "map_key":
            if depth == 1:
                key = value
        elif event in _OPENS:
            if depth == outer + 1 and outer:
                in_items = event == "start_array" and key == items
            elif depth == outer + 2 and in_items:
                element, size, began = ijson.ObjectBuilder(), 0, meter.total
                element.event(event, value)
        elif event not in _CLOSES and (depth == outer or (depth == outer + 1 and in_items)):
            yield key, value


# ── Many small elements ──────────────────────────────────────────────────────────────────────────────────────────────
MAX_ELEMENT = 4 * 1024 * 1024  # bytes
_BRACKETS = b'"[]{}'
_OTHERS = bytes(sorted(set(range(256)) - set(_BRACKETS)))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def read_items(chunks: Iterable[bytes], items: str) -> Iterator[Any]:
    """The elements of the top-level array `items`, five times as fast as read_members: they are built outside of Python.

    Depth and size of an element are bounded by a look at the bytes, before they are parsed. Raises FeedError as read_members does.
    """
    try:
        yield from ijson.items(ijson.from_iter(_bounded(chunks)), f"{items}.item", use_float=True)
    except (ijson.JSONError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeedError(f"The JSON is not whole: {ascii(reason)[1:-1][:80]}.") from None


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as they are, once their brackets are counted. Brackets within strings are none."""
    depth = inside = size = 0
    tail = b""
    for chunk in chunks:
        yielded, chunk = chunk, tail + chunk
        tail = b"\\" if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 else b""  # half of an escape
        whole = chunk[: len(chunk) - len(tail)].replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = whole.translate(None, _OTHERS).split(b'"')
        brackets = b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
        depths = list(accumulate(map(_STEPS.__getitem__, brackets), initial=depth))
        depth = depths[-1]
        if max(depths) > MAX_DEPTH:
            raise FeedError(f"The JSON is nested more than {MAX_DEPTH} deep.")
        size = 0 if min(depths) <= 2 else size + len(yielded)
        if size > MAX_ELEMENT:
            raise FeedError(f"An element of the JSON has more than {MAX_ELEMENT // 2**20} MiB.")
        yield yielded
