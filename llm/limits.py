"""How often one tenant may ask: so many answers in any minute, counted in the database, so that it holds across processes."""

import math
import time
from typing import Final

from django.db import transaction
from rest_framework.exceptions import Throttled

from llm.models import AskedLately

BURST: Final = 20  # answers of one capability
WINDOW: Final = 60.0  # seconds, any


def take(what: str, who: str) -> None:
    """Count one answer of the capability `what` for `who`. Raises Throttled (429, with Retry-After) when the window is full."""
    wait = _wait(what, who, time.time())
    if wait > 0:
        raise Throttled(wait=math.ceil(wait), detail=f"At most {BURST} answers of {what} in {WINDOW:.0f} seconds.")


def _wait(what: str, who: str, now: float) -> float:
    """Seconds until there is room; 0 when there was, which is taken. The row's lock puts those who ask at once in a line."""
    AskedLately.objects.get_or_create(who=who, what=what)
    with transaction.atomic():
        row = AskedLately.objects.select_for_update().get(who=who, what=what)
        lately = [then for then in row.times if now - WINDOW < then <= now]  # a clock that was set back forgives
        if len(lately) >= BURST:
            return max(lately[0] + WINDOW - now, 1.0)
        AskedLately.objects.filter(pk=row.pk).update(times=[*lately, now])
    return 0.0
