"""How often one tenant may ask: so many answers in any minute, counted in the database, so that it holds across processes."""

import math
import time
from collections.abc import Callable
from typing import Final

from django.db import transaction
from rest_framework.exceptions import Throttled

from llm.models import AskedLately
from tenants.acting import Acting

BURST: Final = 20  # answers of one capability
WINDOW: Final = 60.0  # seconds, any


class TooOften(Throttled):
    """429, with Retry-After: `seconds` until there is room again."""

    def __init__(self, what: str, seconds: int) -> None:
        super().__init__(wait=seconds, detail=f"At most {BURST} answers of {what} in {WINDOW:.0f} seconds.")
        self.seconds = seconds


def asker(acting: Acting, user_id: object) -> str:
    """Who shares a limit: everybody of a tenant; without a tenant each user for themselves."""
    return f"tenant:{acting.slug}" if acting.tenant is not None else f"user:{user_id}"


def take(what: str, who: str) -> None:
    """Count one answer of the capability `what` for `who`, as asker() names them. Raises TooOften when the window is full."""
    wait = _wait(what, who)
    if wait > 0:
        raise TooOften(what, math.ceil(wait))


def _wait(what: str, who: str, clock: Callable[[], float] = time.time) -> float:
    """Seconds until there is room; 0 when there was, which is taken. The row's lock puts those who ask at once in a line."""
    with transaction.atomic():
        row = AskedLately.objects.select_for_update().filter(who=who, what=what).first()
        if row is None:  # the first time: whoever makes it, it is there then
            AskedLately.objects.get_or_create(who=who, what=what)
            row = AskedLately.objects.select_for_update().get(who=who, what=what)
        now = clock()  # under the lock, so that times only grow
        lately: list[float] = sorted(then for then in row.times if abs(now - then) < WINDOW)  # a clock that was set back for long forgives
        if len(lately) >= BURST:
            return min(max(lately[0] + WINDOW - now, 1.0), WINDOW)
        AskedLately.objects.filter(pk=row.pk).update(times=[*lately, now])
    return 0.0
