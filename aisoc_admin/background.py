"""What every long-lived process runs beside its work: one thread that drains the spool and refreshes the health checks."""

import threading

from django.conf import settings

from airgap.drain import hand_over
from aisoc_admin.health import INTERVAL, keep_fresh
from aisoc_admin.health_server import serve_health
from aisoc_admin.role import Role

_stop = threading.Event()


def start_handing_over() -> None:
    """In a Celery pool child, which has no drain: hand what it refused to the parent's drain every two seconds."""

    def hand_over_until_stopped() -> None:
        while not _stop.wait(INTERVAL):
            hand_over()

    threading.Thread(target=hand_over_until_stopped, name="spool", daemon=True).start()


def start_background() -> None:
    """Start the threads of this process. Called after the last fork: threads do not survive one."""
    threading.Thread(target=keep_fresh, args=(_stop,), name="health", daemon=True).start()
    if settings.HEALTH_PORT is not None and settings.ROLE in (Role.WORKER, Role.BEAT):
        serve_health(settings.BIND, settings.HEALTH_PORT)
