"""Celery tasks: thin, with names and slots as arguments, never URLs or keys."""

from celery import shared_task

from threatintel import push, runs
from threatintel import tidy as retention
from threatintel.poll import poll as run_poll
from threatintel.registry import feed_named


@shared_task(name="threatintel.tasks.poll", soft_time_limit=240, time_limit=300)
def poll(feed: str, slot: str) -> None:
    """Do the run that the scheduler opened. A repeated or late message finds it claimed and does nothing."""
    spec = feed_named(feed)
    if spec is None or not spec.url:
        runs.abandon(feed, slot, "This feed is not configured in the worker.")
    else:
        run_poll(spec, slot)


@shared_task(name="threatintel.tasks.tidy", soft_time_limit=240, time_limit=300)
def tidy() -> None:
    """Retention, once an hour."""
    retention.tidy()


@shared_task(name="threatintel.tasks.retry_misp_pushes", soft_time_limit=240, time_limit=300)
def retry_misp_pushes() -> None:
    """What waits to be pushed to MISP, once a minute."""
    push.retry_due()
    push.forget_old()
