"""The scheduler that beat runs: several may run, the one with the lease acts, a dead one is replaced when its lease ends."""

import time
from typing import Any
from uuid import uuid4

import structlog
from celery.beat import Scheduler
from django.conf import settings
from django.db import DatabaseError, connections

from aisoc_admin import health
from aisoc_admin.logs import process_name
from threatintel.beat import Timetable, announce, hold_lease, release_lease
from threatintel.registry import feeds
from threatintel.schedule import plan

CHORES = {  # task: every so many seconds, in this queue
    "threatintel.tasks.tidy": (3600.0, "intel"),
    "threatintel.tasks.retry_misp_pushes": (60.0, "intel"),
    "actions.tasks.sweep": (10.0, "actions"),
    "actions.tasks.watch": (60.0, "actions"),
}
CHORES_AFTER = 45.0  # seconds of leadership
ENOUGH = 1000  # messages in a queue: nobody takes them, and the database knows what is to be done once somebody does
TICK = 1.0  # seconds; a lease is renewed at each
log = structlog.stdlib.get_logger("beat")


class LeasedScheduler(Scheduler):
    """Celery's scheduler seam (setup_schedule, tick, close) over the timetable in threatintel.beat."""

    def setup_schedule(self) -> None:
        self.holder = f"{process_name()}:{uuid4().hex[:8]}"
        self.timetable = Timetable(plan(feeds(), settings.AIRGAP_POLICY), settings.AIRGAP_POLICY, self._send_poll)
        self.leading = 0
        self.chores: dict[str, float] = {}
        self.crowded: set[str] = set()
        announce(self.timetable.plan)

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """One round; returns the seconds until the next."""
        try:
            epoch = hold_lease(self.holder)
            if epoch is None:
                self.leading = 0
            else:
                if epoch != self.leading:
                    log.info("beat.leading", epoch=epoch, feeds=[spec.name for spec in self.timetable.plan.beat])
                    self.leading = epoch
                    self.timetable.lead(epoch, time.monotonic())
                    self.chores = dict.fromkeys(CHORES, time.monotonic() + CHORES_AFTER)
                self.timetable.tick(time.monotonic())
                self._send_chores(time.monotonic())
        except DatabaseError as error:
            log.warning("beat.database_away", error=type(error).__name__)
            connections.close_all()
        return TICK

    def close(self) -> None:
        try:
            release_lease(self.holder)
        except DatabaseError as error:
            log.warning("beat.lease_not_released", error=type(error).__name__)
        super().close()

    def _send_chores(self, now: float) -> None:
        for task, due in self.chores.items():
            if due <= now:
                every, queue = CHORES[task]
                self.chores[task] = now + every
                try:
                    if self._has_room(queue):
                        self.app.send_task(task, queue=queue, retry=False, expires=every)
                except Exception as error:  # as for polls: kombu raises what the transport raises
                    log.warning("beat.not_sent", task=task, error=type(error).__name__)
                    return

    def _send_poll(self, feed: str, slot: str) -> None:
        if self._has_room("intel"):
            self.app.send_task("threatintel.tasks.poll", args=(feed, slot), queue="intel", retry=False)

    def _has_room(self, queue: str) -> bool:
        """Whether the queue is not crowded: while workers are away for days, the broker must not fill up with what was said before."""
        messages = int(health.broker_client().llen(queue))
        if messages < ENOUGH:
            self.crowded.discard(queue)
            return True
        if queue not in self.crowded:
            self.crowded.add(queue)
            log.warning("beat.queue_crowded", queue=queue, messages=messages)
        return False
