"""The generic webhook: JSON, signed with HMAC-SHA256 as Standard Webhooks 1.0 has it, so that receivers verify it with a library."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

from actions.posting import Posting, posted
from actions.specs import Message, Notifier


def build(notifier: Notifier, message: Message) -> Posting:
    """The id is the same at each attempt, the timestamp is the attempt's."""
    body = {
        "type": "aisoc.notification",
        "timestamp": message.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": {
            "key": message.key,
            "title": message.title,
            "message": message.text,
            "severity": message.severity.value,
            "link": message.link or None,
        },
    }
    name, now = f"msg_{message.digest}", str(int(datetime.now(UTC).timestamp()))
    headers = {"webhook-id": name, "webhook-timestamp": now}
    posting = Posting(notifier.url, body, headers)
    if notifier.secret:
        headers["webhook-signature"] = f"v1,{signature(notifier.secret, name, now, posting.content)}"
    return posting


def signature(secret: str, name: str, moment: str, content: bytes) -> str:
    """Over `id.timestamp.body`, in base64."""
    encoded = secret.removeprefix("whsec_")
    key = base64.b64decode(encoded) if encoded != secret else secret.encode()
    return base64.b64encode(hmac.digest(key, f"{name}.{moment}.".encode() + content, hashlib.sha256)).decode()


send = posted(build)
