"""The one look-up of a name: what it answers is judged, and what was judged is dialled, so that nothing can answer differently in between."""

import socket
from collections.abc import Callable

from airgap.policy import Decision, EgressPolicy

Refuse = Callable[[Decision, str, int], Exception]


def judged_addresses(policy: EgressPolicy, host: str, port: int, refuse: Refuse) -> list[str]:
    """The addresses of `host` in the resolver's order, each once, an IPv6 zone kept; every one of them allowed.

    Raises what `refuse` makes for an answer that is refused, OSError or UnicodeError when the name does not resolve.
    """
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    for address in addresses:
        decision = policy.decide_answer(host, address, port)
        if not decision.allowed:
            raise refuse(decision, host, port)
    return addresses
