"""What every long-lived process runs beside its work: one thread that drains the spool and refreshes the health checks."""

import threading

from django.conf import settings

from aisoc_admin.health import keep_fresh
from aisoc_admin.health_server import serve_health
from aisoc_admin.role import Role

_stop = threading.Event()


def start_background() -> None:
    """Start the threads of this process. Called after the last fork: threads do not survive one."""
    threading.Thread(target=keep_fresh, args=(_stop,), name="health", daemon=True).start()
    if settings.HEALTH_PORT is not None and settings.ROLE in (Role.WORKER, Role.BEAT):
        serve_health(settings.BIND, settings.HEALTH_PORT)
