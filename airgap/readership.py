"""Which part of the trail a reader may see. Who knows readers, a layer above, registers the answer; until then nobody reads anything."""

from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from rest_framework.request import Request

Confine = Callable[[Request], str]
_confine: Confine | None = None


def register(confine: Confine) -> None:
    """`confine` gives the slug of the one tenant whose attempts the reader may see, "" for those of all. It raises for a reader of none."""
    global _confine
    _confine = confine


def confined_to(request: Request) -> str:
    if _confine is None:
        raise ImproperlyConfigured("Nothing tells the readers of the trail apart: add the app tenants.")
    return _confine(request)
