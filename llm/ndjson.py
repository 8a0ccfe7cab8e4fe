"""Answers told line by line: one JSON object a line, sent as soon as it is made (application/x-ndjson)."""

import json
from collections.abc import Iterator
from typing import Any, Final, Protocol

from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer

from llm.resolver import Path

MEDIA_TYPE: Final = "application/x-ndjson"
MAX_HEADER: Final = 200  # characters


class Telling(Protocol):
    """An answer that is being told: planned at once, closed by whoever drops it."""

    path: Path
    reason: str

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def close(self) -> None: ...


class Lines(JSONRenderer):
    """So that a client may ask for the media type; errors come in it as one line."""

    media_type = MEDIA_TYPE
    format = "ndjson"


class _Encoded:
    """Lines with a close(), which the response calls even when nobody asked for the first of them."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._lines = (json.dumps(frame, ensure_ascii=False).encode() + b"\n" for frame in telling)

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def close(self) -> None:
        self._lines.close()
        self._telling.close()


def told(telling: Telling) -> StreamingHttpResponse:
    """The response. Its headers say what is planned; the last frame says what became of it."""
    headers = {
        "X-LLM-Path": telling.path.value,
        "X-LLM-Reason": header_text(telling.reason),
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # a proxy before us would keep the first lines until the last
    }
    return StreamingHttpResponse(_Encoded(telling), content_type=MEDIA_TYPE, headers=headers)


def header_text(text: str) -> str:
    """What a header can carry: printable ASCII, bounded."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)[:MAX_HEADER]
