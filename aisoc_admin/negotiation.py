"""Which form an answer of the API takes. A module of its own: DRF's views import it, so that it may import none of them."""

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class AcceptIsAWish(DefaultContentNegotiation):
    """The view's own form when it has none of those that `Accept` names, as RFC 9110 section 12.4.1 allows: no 406, and no 406 before a 401."""

    def select_renderer(self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None) -> tuple[BaseRenderer, str]:
        try:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            first = next(iter(renderers))
            return first, first.media_type
        return chosen
