"""Does one delivery: claims it, sends it through the gate, writes what came of it."""

from datetime import timedelta

import structlog
from django.db import DatabaseError

from actions import deliveries
from actions.posting import host_of
from actions.registry import not_configured, notifier_named
from actions.specs import Answer, Result
from airgap.blocked import AirgapBlocked
from airgap.events import Layer

log = structlog.stdlib.get_logger("actions")


def deliver(pk: int) -> timedelta | None:
    """Try a delivery once: after how long it is due again, or None when there is nothing more to do. A repeated call does nothing."""
    row = deliveries.claim(pk)
    if row is None:
        return None
    notifier = notifier_named(row.channel)
    if notifier is None or not notifier.url:
        reason = not_configured(notifier) if notifier else "This version of the product does not know the channel."
        return deliveries.finish(row, Answer(Result.FAILED, reason))
    try:
        answer = notifier.send(notifier, deliveries.message_of(row))
    except AirgapBlocked as blocked:
        own = "" if notifier.to else host_of(notifier.url)
        sent_on = f"{own} sent the message on to a place that is refused: " if own and blocked.layer is Layer.HTTP and blocked.host != own else ""
        deliveries.refuse(row, blocked.decision.rule.value, f"{sent_on}{blocked.decision.reason}")
        return None
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("action.broke_off", delivery=row.pk, channel=row.channel, error=type(error).__name__)
        answer = Answer(Result.AGAIN, f"The attempt broke off ({type(error).__name__}); see the log.")
    return deliveries.finish(row, answer)
