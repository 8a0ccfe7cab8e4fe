"""Which polls are due: decided by the one scheduler that holds the lease, kept in the database, sent as messages."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Q

from airgap import clock
from airgap.events import AIRGAP_FEED_BLOCKED
from airgap.policy import EgressPolicy
from threatintel import runs
from threatintel.models import SchedulerLease
from threatintel.schedule import Plan, config_digest

LEASE = timedelta(seconds=12)
FIRST_WITHIN = 8.0  # seconds of jitter; with a dead leader's lease the first poll still comes within 30 s
LOOK_FOR_OVERDUE = 5.0  # seconds
LEASE_NAME = "beat"

log = structlog.stdlib.get_logger("threatintel")
Send = Callable[[str, str], None]


def announce(plan: Plan) -> None:
    """One line for each refused feed, at the start of beat."""
    for refused in plan.refused:
        log.warning(AIRGAP_FEED_BLOCKED, feed=refused.name, host=refused.host, rule=refused.rule.value, reason=refused.reason)


def hold_lease(holder: str) -> int | None:
    """Take or renew the lease; the epoch of this leadership, or None while another holder's lease lasts."""
    with transaction.atomic():
        SchedulerLease.objects.get_or_create(name=LEASE_NAME)
        lease = SchedulerLease.objects.select_for_update().get(name=LEASE_NAME)
        now = clock.now()  # not before: who waited for a renewal would take it for a clock that was set back
        lasts = lease.expires_at is not None and now <= lease.expires_at <= now + LEASE  # later: the clock was set back
        if lease.holder == holder and lasts:
            lease.expires_at = now + LEASE
            lease.save(update_fields=["expires_at"])
            return lease.epoch
        if lasts:
            return None
        lease.holder, lease.epoch, lease.expires_at = holder, lease.epoch + 1, now + LEASE
        lease.save(update_fields=["holder", "epoch", "expires_at"])
        return lease.epoch


def release_lease(holder: str) -> None:
    """On a clean stop: the next scheduler need not wait."""
    SchedulerLease.objects.filter(Q(name=LEASE_NAME, holder=holder)).update(expires_at=None)


@dataclass(slots=True)
class Timetable:
    """When each permitted feed is due in this leadership. `now` is a monotonic clock in seconds."""

    plan: Plan
    policy: EgressPolicy
    send: Send
    epoch: int = 0
    due: dict[str, float] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)
    looked_at: float = 0.0

    def lead(self, epoch: int, now: float) -> None:
        """Start a leadership: every feed is due within a few seconds, jittered, in a slot of its own."""
        self.epoch = epoch
        self.due = {spec.name: now + random.uniform(0, FIRST_WITHIN) for spec in self.plan.beat}  # noqa: S311 - jitter
        self.opened = dict.fromkeys(self.due, 0)
        self.looked_at = 0.0

    def tick(self, now: float) -> None:
        """Open what is due and send it, then nudge what is overdue. A message that cannot be sent now is sent as overdue later.

        At most one failed send a tick: a broker that takes messages slowly must not cost the lease.
        """
        sending = True
        for spec in self.plan.beat:
            if self.due[spec.name] > now:
                continue
            self.opened[spec.name] += 1
            slot = f"{self.epoch}.{self.opened[spec.name]}.{config_digest(spec, self.policy)}"
            run = runs.open_run(spec.name, slot, epoch=self.epoch)
            self.due[spec.name] = now + spec.every.total_seconds()
            sending = sending and (run is None or self._nudge(run.feed, run.slot))
        if sending and now - self.looked_at >= LOOK_FOR_OVERDUE:
            self.looked_at = now
            for run in runs.overdue()[:50]:
                runs.nudged(run)
                if not self._nudge(run.feed, run.slot):
                    break

    def _nudge(self, feed: str, slot: str) -> bool:
        try:
            self.send(feed, slot)
        except Exception as error:  # kombu raises what the transport raises; the run stays in the database
            log.warning("feed.not_sent", feed=feed, slot=slot, error=type(error).__name__)
            return False
        return True
