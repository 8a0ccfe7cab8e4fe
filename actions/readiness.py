"""What the readiness report looks at: where each configured channel would send."""

from collections.abc import Iterator

from actions.registry import notifiers
from airgap.readiness import Target
from airgap.relay import MailRelay


def targets() -> Iterator[Target]:
    for row in notifiers():
        if row.url:
            yield Target("channel", row.name, _relay(row.url) if row.to else row.url, row.variables[:1])


def _relay(url: str) -> str:
    """The relay in the form that the policy reads."""
    relay = MailRelay.parse(url)
    return f"https://{f'[{relay.host}]' if ':' in relay.host else relay.host}:{relay.port}"
