"""What every long-lived process runs beside its work: a thread that drains, checks and tidies up, and one that tells the fleet that it lives."""

import atexit
import contextlib
import threading
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import DatabaseError, connections

from airgap import contacts
from airgap.drain import hand_over
from airgap.fleet import BEAT, Heartbeat
from airgap.retention import tidy
from aisoc_admin import health
from aisoc_admin.expiry import remove_expired
from aisoc_admin.health_server import serve_health, serve_metrics
from aisoc_admin.role import Role
from aisoc_admin.startup_checks import tell_warnings

TIDY = 60.0  # seconds
EXPIRY = 3600.0  # seconds

log = structlog.stdlib.get_logger("background")
_stop = threading.Event()


class Round:
    """Something done every so many seconds. Whatever goes wrong, it is tried again at the next tick."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self._seconds = seconds
        self._act = act
        self._due = 0.0

    def tick(self) -> None:
        if time.monotonic() < self._due:
            return
        try:
            self._act()
        except DatabaseError as error:
            log.warning("background.database_away", work=self._act.__qualname__, error=type(error).__name__)
            with contextlib.suppress(Exception):  # whatever a broken connection says when it is closed
                connections.close_all()  # it is not kept for the next round
        except Exception:  # the one thread that drains and checks must go on
            log.exception("background.round_failed", work=self._act.__qualname__)
        else:
            self._due = time.monotonic() + self._seconds


def _keep_going(rounds: list[Round]) -> None:
    while True:
        for one in rounds:
            one.tick()
        if _stop.wait(health.INTERVAL):
            connections.close_all()
            return


def start_background() -> None:
    """Start the threads of this process. Called after the last fork: threads do not survive one."""
    heartbeat = Heartbeat(settings.ROLE.value)
    # Threads and connections of their own: a drain that waits for a lock must not look like a death.
    for name, rounds in (
        ("health", [Round(0, health.refresh), Round(TIDY, tidy), Round(EXPIRY, remove_expired)]),
        ("fleet", [Round(BEAT, health.noting_writes(heartbeat.beat)), Round(BEAT, heartbeat.watch), Round(BEAT, contacts.flush)]),
    ):
        threading.Thread(target=_keep_going, args=(rounds,), name=name, daemon=True).start()
    if settings.HEALTH_PORT is not None and settings.ROLE in (Role.WORKER, Role.BEAT):
        serve_health(settings.BIND, settings.HEALTH_PORT)
    if settings.METRICS_PORT is not None:
        serve_metrics(settings.BIND, settings.METRICS_PORT, settings.ROLE)
    atexit.register(heartbeat.end)
    tell_warnings()


def start_in_pool_child() -> Callable[[], None]:
    """In a Celery pool child, which has no drain: hand what it refused to the parent's, and beat. Returns what to call at its end."""
    heartbeat = Heartbeat("pool")
    threading.Thread(
        target=_keep_going, args=([Round(0, hand_over), Round(BEAT, heartbeat.beat), Round(BEAT, contacts.flush)],), name="background", daemon=True
    ).start()
    return heartbeat.end
