"""gunicorn's configuration: `gunicorn -c python:aisoc_admin.gunicorn_conf aisoc_admin.wsgi:application`.

Reading the settings here, in the master, makes bad configuration exit status 2 and one line before any worker exists.
The application is not preloaded: its health and drain threads must live in the workers, and threads do not survive a
fork. Its modules are: importing them once, in the master, halves the start and the memory.
"""

import logging.config
import os
import signal
from importlib import import_module
from pathlib import Path

import django
import structlog
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from aisoc_admin import role
from aisoc_admin.lifeline import die_with_parent

role.become(role.Role.WEB)

from aisoc_admin import settings  # noqa: E402  the role comes first: it decides the log stream


class JsonLogger(Logger):  # type: ignore[misc]
    """gunicorn's log through the root logger as settings.LOGGING has it. `logconfig_dict` would switch the access log on."""

    def setup(self, cfg: object) -> None:
        super().setup(cfg)
        logging.config.dictConfig(settings.LOGGING)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def when_ready(_arbiter: Arbiter) -> None:
    """Before the first worker is forked. Opens no connection and starts no thread."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings.__name__)  # noqa: TID251
    django.setup()
    import_module(settings.ROOT_URLCONF)  # every view: else the first request of each worker would wait for seconds
    if settings.PRODUCTION and not settings.TRUSTED_PROXIES:
        from aisoc_admin.deploy_checks import NO_PROXY

        structlog.stdlib.get_logger("web").warning("web.no_trusted_proxy", reason=NO_PROXY)


def post_fork(arbiter: Arbiter, worker: Worker) -> None:
    """A worker whose master is killed would go on holding the port."""
    die_with_parent(signal.SIGKILL, arbiter.pid)


bind = f"[{settings.BIND}]:{settings.ENV.port}" if ":" in settings.BIND else f"{settings.BIND}:{settings.ENV.port}"
worker_class = "gthread"
workers = 2
threads = 8
timeout = 30
graceful_timeout = 5
keepalive = 5
max_requests = 0
accesslog = None
logger_class = JsonLogger
forwarded_allow_ips = ""  # proxies.py decides whose headers are believed, not gunicorn and its FORWARDED_ALLOW_IPS
control_socket_disable = True  # a second way to steer the process, in the home folder
# Liveness files are touched all the time; in memory they never wait for a busy disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  gunicorn makes an unnamed file there
