"""JSON bodies with a bound of their own: what is longer, or nested deeper than the parser can follow, is the caller's error."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from airgap.read_json import read_json


class BodyTooLong(APIException):
    status_code = 413
    default_code = "too_long"


class BoundedJSON(BaseParser):
    """Not DRF's parser: that one takes Django's limit for forms, which answers in HTML, and the codec that the header names, which may inflate.

    JSON is UTF-8 (RFC 8259 section 8.1).
    """

    media_type = "application/json"
    max_bytes = 1024 * 1024

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        body = stream.read(self.max_bytes + 1)
        if len(body) > self.max_bytes:
            raise BodyTooLong(f"The body is longer than {self.max_bytes} bytes.")
        try:
            return read_json(body.decode(), parse_constant=_refused)
        except RecursionError:
            raise ParseError("The JSON is nested too deep.") from None
        except ValueError:
            raise ParseError("The body is no JSON in UTF-8.") from None


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON.")


def bounded_json(max_bytes: int) -> type[BoundedJSON]:
    """The parser that takes so many bytes."""
    return type("BoundedJSON", (BoundedJSON,), {"max_bytes": max_bytes})
