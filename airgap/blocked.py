"""The one exception of the air gap.

AirgapBlocked(RuntimeError)     the policy refused; a RuntimeError, so that no retry loop takes it for a network fault
"""

from airgap.events import Layer
from airgap.hosts import shown_host
from airgap.policy import Decision


class AirgapBlocked(RuntimeError):
    """An outbound call was refused. `decision` has the rule and the reason; str() holds no path and no query."""

    def __init__(self, decision: Decision, *, host: str, port: int | None, layer: Layer) -> None:
        super().__init__(decision.reason)
        self.decision = decision
        self.host = shown_host(host)
        self.port = port
        self.layer = layer
