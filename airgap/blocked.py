"""The one exception of the air gap.

AirgapBlocked(RuntimeError)     the policy refused; a RuntimeError, so that no retry loop takes it for a network fault
"""

from functools import partial
from typing import Any

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

    def __reduce__(self) -> tuple[Any, ...]:
        """A process pool hands it on as it is; one that could not be read again there would end the pool, or let it wait for ever."""
        return partial(AirgapBlocked, host=self.host, port=self.port, layer=self.layer), (self.decision,)
