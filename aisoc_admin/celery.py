"""The Celery application: JSON only, late acknowledgement, every long-lived process with its health thread."""

import logging
import os
import signal
import sys
from typing import Any

from aisoc_admin import role

if role.current() is role.Role.COMMAND:
    role.become(role.of_celery(sys.argv))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")

import celery.apps.worker
import structlog
from celery import Celery, signals
from django.conf import settings

from aisoc_admin.lifeline import die_with_parent

HARD_LIMIT = 300  # seconds; the soft limit lets a task say so first
app = Celery("aisoc_admin", broker=settings.CELERY_BROKER_URL)
app.conf.update(
    # Said outright: Celery reads CELERY_BROKER_URL from the environment by itself, over broker_url.
    broker_read_url=settings.CELERY_BROKER_URL,
    broker_write_url=settings.CELERY_BROKER_URL,
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    result_backend=None,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_soft_time_limit=240,
    task_time_limit=HARD_LIMIT,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=5,
    # kombu's defaults give a dead worker's task back after up to 100 s more.
    broker_transport_options={
        "visibility_timeout": 3 * HARD_LIMIT,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 5,
        "socket_timeout": 5,  # well below beat's lease
        # Publishing gives up at once: what cannot be sent stays in the database and is sent again.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.2,
    },
    task_publish_retry=False,
    task_default_queue="intel",
    task_create_missing_queues=True,
    worker_proc_alive_timeout=20,
    timezone="UTC",
)
app.autodiscover_tasks()


@signals.setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Connected so that Celery leaves logging as Django's settings configured it."""


if role.current() is not role.Role.COMMAND:
    # Celery prints what it does at a stop, and warns when run as root, past every logger; here each line of output is JSON.
    logging.captureWarnings(True)
    celery.apps.worker.safe_say = lambda message, *_: logging.getLogger("celery").info(message.strip())  # type: ignore[attr-defined]


# The models behind these are there only when Celery has set Django up, hence the imports inside.
@signals.worker_ready.connect
@signals.beat_init.connect
def _ready(**_: Any) -> None:
    from aisoc_admin.background import start_background

    try:
        start_background()
    except OSError as error:  # Celery would log it and go on, without health, metrics and the word of its end
        structlog.stdlib.get_logger("background").error("background.not_started", reason=error.strerror)
        raise SystemExit(1) from None


@signals.worker_process_init.connect
def _pool_child(**_: Any) -> None:
    from aisoc_admin.background import start_in_pool_child

    die_with_parent(signal.SIGKILL)
    end = start_in_pool_child()
    signals.worker_process_shutdown.connect(lambda **_: end(), weak=False)
