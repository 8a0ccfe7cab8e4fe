"""How often one tenant may ask: so many answers in any minute, counted in the database, so that it holds across processes."""

import math
import time
from collections.abc import Callable
from typing import Final

from django.db.models import Q
from rest_framework.exceptions import Throttled

from llm.models import LimitSlot
from llm.turns import write_turn
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
    """Seconds until there is room; 0 when there was, which is taken: by one statement, so that no lock waits for this process to be scheduled."""
    slots = LimitSlot.objects.filter(who=who, what=what, number__lt=BURST)
    with write_turn():
        while True:
            now = clock()
            free = Q(at__lte=now - WINDOW) | Q(at__gte=now + WINDOW)  # a clock that was set back for long forgives
            if slots.filter(free, pk__in=slots.filter(free).order_by("at").values("pk")[:1]).update(at=now):
                return 0.0
            taken = sorted(slots.exclude(free).values_list("at", flat=True))
            if len(taken) >= BURST:
                return min(max(taken[0] + WINDOW - now, 1.0), WINDOW)
            # The first time, or another process took the same slot in between.
            LimitSlot.objects.bulk_create([LimitSlot(who=who, what=what, number=number) for number in range(BURST)], ignore_conflicts=True)
