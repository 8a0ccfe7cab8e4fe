"""The queue of deliveries in the database: a row before it is a message, claimed by one process at a time, ended once.

What is lost on the way (a worker, a message, the broker) leaves a row that is due; the sweep sends it again. A delivery that a killed worker
had begun is tried again with the same key, by which the receiver tells that it is the same.

    KeyTaken(ValueError)    the idempotency key belongs to another message
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from actions.models import Delivery
from actions.registry import not_configured, notifier_named
from actions.specs import MAX_TEXT, MAX_TITLE, Answer, Message, Result, one_line, shortened, shown
from airgap import clock
from airgap.announce import Severity

ACTION_SENT = "action.sent"
ACTION_FAILED = "action.failed"
LEASE: Final = timedelta(seconds=120)  # the task's hard limit ends a worker before its lease does
FAR: Final = timedelta(days=1)  # beyond every back-off and lease
GRACE: Final = timedelta(seconds=15)  # for a task that was sent to arrive
MAX_ATTEMPTS: Final = 20  # about nine hours
FIRST_WAIT: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = timedelta(hours=1)
ROUND: Final = 200  # rows of one sweep

log = structlog.stdlib.get_logger("actions")
State = Delivery.State


class KeyTaken(ValueError):
    """Another message of this channel has the key."""


def open_delivery(
    channel: str, *, title: str, text: str = "", severity: Severity = Severity.INFO, link: str = "", key: str = "", origin: str = ""
) -> Delivery:
    """Write the row; of a key that is known already, hand back its delivery. A channel without a destination fails here, and says so.

    Raises KeyTaken; KeyError for a channel that does not exist.
    """
    notifier = notifier_named(channel)
    if notifier is None:
        raise KeyError(channel)
    now = clock.now()
    message = {"title": one_line(title, MAX_TITLE), "text": shortened(shown(text), MAX_TEXT), "severity": severity.value, "link": link}
    times = {"created_at": now, "updated_at": now, "not_before": now, "nudge_at": now + GRACE}
    row, created = Delivery.objects.get_or_create(channel=channel, key=key or str(uuid4()), defaults={**message, **times, "origin": origin[:160]})
    if not created and any(getattr(row, name) != value for name, value in message.items()):
        raise KeyTaken(f"This key belongs to another message for {channel} (delivery {row.pk}). Use a new key for a new message.")
    if created and not notifier.url:
        _end(row, Answer(Result.FAILED, not_configured(notifier)))
    return row


def claim(pk: int) -> Delivery | None:
    """Take a due delivery for this process. None: it has ended, is not due, or somebody else has it."""
    now = clock.now()
    with transaction.atomic():
        row = Delivery.objects.select_for_update().filter(_due(now), _free(now), pk=pk, state=State.QUEUED).first()
        if row is None:
            return None
        row.attempts, row.claims, row.lease_until, row.nudge_at = row.attempts + 1, row.claims + 1, now + LEASE, now + LEASE
        row.save(update_fields=["attempts", "claims", "lease_until", "nudge_at"])
    if row.attempts > MAX_ATTEMPTS:  # its workers died, each time
        row.attempts = MAX_ATTEMPTS
        _end(row, Answer(Result.FAILED, f"Given up after {MAX_ATTEMPTS} attempts. {row.reason}".strip()))
        return None
    return row


def finish(row: Delivery, answer: Answer) -> timedelta | None:
    """Write what came of a claim: after how long it is due again, or None when it has ended."""
    if answer.result is not Result.AGAIN:
        _end(row, answer)
        return None
    if row.attempts >= MAX_ATTEMPTS:
        _end(row, Answer(Result.FAILED, f"Given up after {MAX_ATTEMPTS} attempts. {answer.reason}"))
        return None
    wait = max(back_off(row.attempts), min(timedelta(seconds=answer.after), LONGEST_WAIT))
    row.not_before = clock.now() + wait
    row.nudge_at = row.not_before
    row.reason = answer.reason
    log.warning(ACTION_FAILED, **_said(row), rule="", final=False)
    _save(row)
    return wait


def refuse(row: Delivery, rule: str, reason: str) -> None:
    """The gate's refusal is final: the policy changes with a restart, and then the message is old."""
    row.state, row.rule, row.reason = State.REFUSED, rule, reason
    log.warning(ACTION_FAILED, **_said(row), rule=row.rule, final=True)
    _save(row)


def left_behind() -> Sequence[int]:
    """What waits without anybody at work, the longest due first; each is left alone for GRACE, so that a sweep floods nobody."""
    now = clock.now()
    due = Q(nudge_at__lte=now) | Q(nudge_at__gt=now + FAR)
    found = list(Delivery.objects.filter(due, state=State.QUEUED).order_by("nudge_at").values_list("pk", flat=True)[:ROUND])
    Delivery.objects.filter(due, pk__in=found, state=State.QUEUED).update(nudge_at=now + GRACE)
    return found


def sent_later(pk: int) -> None:
    """A task for this delivery comes when it is due: the sweep looks only when it should have come."""
    Delivery.objects.filter(pk=pk, state=State.QUEUED, lease_until=None).update(nudge_at=F("not_before") + GRACE)


def forget_old() -> int:
    """Remove deliveries that ended AISOC_TRAIL_DAYS ago."""
    before = clock.now() - timedelta(days=settings.ENV.trail_days)
    return Delivery.objects.filter(updated_at__lt=before).exclude(state=State.QUEUED).delete()[0]


def message_of(row: Delivery) -> Message:
    return Message(key=row.key, title=row.title, text=row.text, severity=Severity(row.severity), link=row.link, at=row.created_at)


def back_off(attempt: int) -> timedelta:
    """How long to wait after the given attempt: 2, 4, 8 … seconds, at most an hour."""
    return min(FIRST_WAIT * (1 << min(attempt - 1, 20)), LONGEST_WAIT)


def _due(now: datetime) -> Q:
    """A moment far in the future was written before the clock was set back."""
    return Q(not_before__lte=now) | Q(not_before__gt=now + FAR)


def _free(now: datetime) -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_until__gt=now + FAR)


def _end(row: Delivery, answer: Answer) -> None:
    row.state = State.SENT if answer.result is Result.SENT else State.FAILED
    row.reason = answer.reason
    if row.state == State.SENT:
        log.info(ACTION_SENT, **_said(row))
    else:
        log.warning(ACTION_FAILED, **_said(row), rule="", final=True)
    _save(row)


def _said(row: Delivery) -> dict[str, object]:
    return {"delivery": row.pk, "channel": row.channel, "attempt": row.attempts, "reason": row.reason}


def _save(row: Delivery) -> None:
    """Write, unless another process has taken the delivery over."""
    row.updated_at, row.lease_until = clock.now(), None
    names = ("state", "attempts", "reason", "rule", "not_before", "nudge_at", "lease_until", "updated_at")
    mine = Delivery.objects.filter(pk=row.pk, claims=row.claims, state=State.QUEUED)
    if not mine.update(**{name: getattr(row, name) for name in names}):
        log.warning("action.claim_lost", delivery=row.pk, channel=row.channel)
