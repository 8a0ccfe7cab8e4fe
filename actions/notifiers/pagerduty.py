"""PagerDuty Events API v2, at the vendor's address or at a relay inside."""

import socket
from datetime import UTC

from actions.posting import Posting, below, posted
from actions.specs import Message, Notifier, shortened
from airgap.announce import Severity

PATH = "/v2/enqueue"
MAX_SUMMARY = 1024  # characters
SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "warning",
    Severity.INFO: "info",
}


def build(notifier: Notifier, message: Message) -> Posting:
    event: dict[str, object] = {
        "routing_key": notifier.secret,
        "event_action": "trigger",
        "dedup_key": message.key,
        "client": "AiSOC Admin",
        "payload": {
            "summary": shortened(message.title, MAX_SUMMARY),
            "source": socket.gethostname() or "aisoc",
            "severity": SEVERITIES[message.severity],
            "timestamp": message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "component": "aisoc-admin",
            "custom_details": {"message": message.text},
        },
    }
    if message.link:
        event["links"] = [{"href": message.link, "text": "Open"}]
    return Posting(below(notifier.url, PATH), event)


send = posted(build)
