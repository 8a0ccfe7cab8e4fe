"""Opsgenie Alert API v2, at the vendor's address or at a relay inside."""

from actions.posting import Posting, below, posted
from actions.specs import Message, Notifier, shortened
from airgap.announce import Severity

PATH = "/v2/alerts"
MAX_MESSAGE = 130  # characters
PRIORITIES = {Severity.CRITICAL: "P1", Severity.HIGH: "P2", Severity.MEDIUM: "P3", Severity.LOW: "P4", Severity.INFO: "P5"}


def build(notifier: Notifier, message: Message) -> Posting:
    """The whole title stands in the description when it is too long for the message."""
    long = len(message.title) > MAX_MESSAGE
    description = "\n\n".join(part for part in (message.title if long else "", message.text, message.link) if part)
    alert: dict[str, object] = {
        "message": shortened(message.title, MAX_MESSAGE),
        "alias": message.key,
        "description": description,
        "priority": PRIORITIES[message.severity],
        "source": "AiSOC Admin",
        "details": {"severity": message.severity.value},
    }
    return Posting(below(notifier.url, PATH), alert, {"Authorization": f"GenieKey {notifier.secret}"})


send = posted(build)
