"""Celery tasks of the queue `actions`: thin, with ids as arguments."""

from datetime import timedelta
from typing import Final

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError

from actions import deliveries, dispatch, matters

QUEUE: Final = "actions"
SOON: Final = timedelta(seconds=60)  # a longer wait is the sweep's
LATE: Final = timedelta(seconds=0.5)  # so that a message comes no sooner than it is due

log = structlog.stdlib.get_logger("actions")


@shared_task(name="actions.tasks.deliver", soft_time_limit=90, time_limit=100)
def deliver(delivery: int) -> None:
    """Try one delivery. A repeated or late message finds it claimed or ended, and does nothing."""
    wait = dispatch.deliver(delivery)
    if wait is not None and wait <= SOON and publish(delivery, wait + LATE):
        deliveries.sent_later(delivery)


@shared_task(name="actions.tasks.sweep", soft_time_limit=60, time_limit=90)
def sweep() -> None:
    """Send what was left behind again."""
    for pk in deliveries.left_behind():
        if not publish(pk):
            return


@shared_task(name="actions.tasks.watch", soft_time_limit=120, time_limit=150)
def watch() -> None:
    """Look at what holds, tell what is news, and tidy up."""
    for delivery in matters.look_and_tell():
        publish(delivery.pk)
    deliveries.forget_old()
    matters.forget_old()


def publish(delivery: int, wait: timedelta = timedelta()) -> bool:
    """Send the task. False: the broker is away; the row stays, and the sweep sends it."""
    try:
        deliver.apply_async(args=(delivery,), queue=QUEUE, countdown=wait.total_seconds(), retry=False)
    except (OperationalError, OSError) as error:
        log.warning("action.not_sent", delivery=delivery, error=type(error).__name__)
        return False
    return True
