"""Reads server-sent events (WHATWG HTML, section 9.2) from bytes as they come, with bounds. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

MAX_LINE: Final = 256 * 1024  # bytes
MAX_EVENT: Final = 1024 * 1024  # bytes of one event's data


class BadStream(ValueError):
    """Bytes that are no event stream; str() holds nothing of them."""


def events_of(parts: Iterable[bytes]) -> Iterator[str]:
    """The data of each event, in order. An event that the end of the stream cuts off is not given out, as the standard has it."""
    data: list[str] = []
    size = 0
    for line in _lines(parts):
        if not line:
            if data:
                yield "\n".join(data)
            data, size = [], 0
            continue
        name, _, value = line.partition(":")
        if name == "data":
            size += len(value) + 1
            if size > MAX_EVENT:
                raise BadStream("holds an event that is too long")
            data.append(value.removeprefix(" "))


def _lines(parts: Iterable[bytes]) -> Iterator[str]:
    """Lines as they end: in LF, CR LF, or CR."""
    kept = b""
    after_cr = False
    for part in parts:
        if after_cr and part:
            part = part.removeprefix(b"\n")
            after_cr = False
        kept += part
        if len(kept) > MAX_LINE and b"\n" not in kept and b"\r" not in kept:
            raise BadStream("holds a line that is too long")
        lines = kept.splitlines(keepends=True)  # of bytes: at LF, CR and CR LF only
        kept = b""
        for line in lines:
            bare = line.rstrip(b"\r\n")
            if len(bare) > MAX_LINE:
                raise BadStream("holds a line that is too long")
            if bare == line:
                kept = line
                continue
            after_cr = line.endswith(b"\r")
            try:
                yield bare.decode("utf-8")
            except UnicodeDecodeError:
                raise BadStream("is not UTF-8") from None
