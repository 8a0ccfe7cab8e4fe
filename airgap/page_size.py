"""`?page_size=`, as every list of the API takes it."""

from typing import Final

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

NAME: Final = "page_size"
MOST: Final = 500


def page_size(request: Request, usual: int) -> int:
    """The size that a request asks for, `usual` when it names none. Raises ValidationError for what is no number from 1 to MOST."""
    text = request.query_params.get(NAME)
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= MOST):
        raise ValidationError({NAME: f"?page_size= is not a number from 1 to {MOST}."}, code="invalid")
    return int(text)
