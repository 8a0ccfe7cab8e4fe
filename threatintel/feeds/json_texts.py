"""Reads the elements of one array of a large JSON file, each with the text it was written as, in the memory of one element.

Built on the scanner of the json module, which gives back where a value ends: the text of an object needs no second writing, and an object
that was read before is told by it.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

from threatintel.specs import FeedError

MAX_DEPTH: Final = 32
MAX_ELEMENT: Final = 4 * 1024 * 1024  # characters
_AT_LEAST = 64 * 1024  # characters read at once
_WHITE = " \t\n\r"
_GOES_ON = ("", ".", "e", "E")  # behind what was read as a number, when the rest of it is in the next chunk


def read_texts(chunks: Iterable[bytes], items: str) -> Iterator[tuple[Any, str]]:
    """Each element of the top-level array `items`, and its text; other members are passed over.

    Raises FeedError for what is no JSON object, is not whole, has a member or an element of more than MAX_ELEMENT characters, or an
    element nested more than MAX_DEPTH deep (the document's own two levels included).
    """
    text = _Text(chunks)
    try:
        if text.taken() != "{":
            text.broken("it does not begin with {")
        follows = text.peek()
        while follows != "}":
            key = text.value()
            if not isinstance(key, str) or text.taken() != ":":
                text.broken("a member has no name")
            if key == items and text.peek() == "[":
                yield from text.elements()
            else:
                text.value()
            follows = text.peek()
            if follows == ",":
                text.taken()
                if (follows := text.peek()) == "}":
                    text.broken("a comma before }")
            elif follows != "}":
                text.broken("a comma is missing")
        text.taken()
        if text.peek():
            text.broken("there is more behind its end")
    except (ValueError, RecursionError) as error:
        raise FeedError(f"The JSON is not whole ({type(error).__name__}).") from None


class _Text:
    """A window on the document, which moves on as values are taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._scan = json.JSONDecoder(parse_constant=self.broken).scan_once  # type: ignore[attr-defined]  # typeshed lacks it
        self._text = ""
        self._start = self._at = 0  # of the last value, and behind it
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space, not taken; "" at the end."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _WHITE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._more():
                return ""

    def taken(self) -> str:
        found = self.peek()
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value. What cannot be read yet is read again with more of the document: twice as much each time."""
        if self._text[self._at : self._at + 1] in _WHITE and not self.peek():  # the window's end, "", is in it too
            self.broken("it ends early")
        while True:
            text, start = self._text, self._at
            try:
                value, end = self._scan(text, start)
            except (StopIteration, json.JSONDecodeError):
                value, end = None, -1
            if end >= 0 and (self._ended or text[end : end + 1] not in _GOES_ON):
                self._start, self._at = start, end
                if end - start > MAX_ELEMENT:
                    raise FeedError(f"An element of the JSON has more than {MAX_ELEMENT} characters.")
                if text.count("[", start, end) + text.count("{", start, end) > MAX_DEPTH - 2:
                    _require_shallow(text[start:end])
                return value
            if len(text) - start > MAX_ELEMENT:
                raise FeedError(f"The JSON is broken, or an element has more than {MAX_ELEMENT} characters.")
            if not self._more():
                self.broken("it ends early, or a value is none")

    def elements(self) -> Iterator[tuple[Any, str]]:
        """Of the array that comes next: each element and its text."""
        self.taken()
        if self.peek() == "]":
            self.taken()
            return
        while True:
            value = self.value()
            text, end = self._text, self._at
            yield value, text[self._start : end]
            if text.startswith(", ", end):  # as most write it
                self._at = end + 2
                continue
            match self.taken():
                case "]":
                    return
                case ",":
                    continue
                case _:
                    self.broken("a comma is missing")

    def broken(self, what: str) -> NoReturn:
        raise FeedError(f"The JSON is not whole: {ascii(what)[1:-1]}.")

    def _more(self) -> bool:
        """Read on; whether there was more. What is behind the window's place is let go."""
        parts = [self._text[self._at :]]
        size, wanted = 0, max(_AT_LEAST, len(parts[0]))
        while size < wanted and not self._ended:
            chunk = next(self._chunks, None)
            self._ended = chunk is None
            parts.append(self._decoder.decode(chunk or b"", final=self._ended))
            size += len(parts[-1])
        self._text, self._at = "".join(parts), 0
        return size > 0


def _require_shallow(text: str) -> None:
    depth = 2
    inside = escaped = False
    for char in text:
        if inside:
            inside = escaped or char != '"'
            escaped = not escaped and char == "\\"
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise FeedError(f"The JSON is nested more than {MAX_DEPTH} deep.")
        elif char in "]}":
            depth -= 1
