"""The one look-up of a name: what it answers is judged, and what was judged is dialled, so that nothing can answer differently in between."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from airgap.hosts import Host
from airgap.policy import Decision, EgressPolicy
from airgap.tenant_rule import Surroundings

Refuse = Callable[[Decision, str, int], Exception]
KEPT: Final = 30.0  # seconds that the addresses of the deployment's own hosts are taken for true


class Judge(Protocol):
    """What the gate asks: the operator's policy, or that behind the tenant rule."""

    @property
    def enabled(self) -> bool: ...

    def decide_host(self, host: str, port: int | None = None) -> Decision: ...

    def decide_answer(self, name: str, answer: str, port: int) -> Decision: ...


def judged_addresses(policy: Judge, host: str, port: int, refuse: Refuse) -> list[str]:
    """The addresses of `host` in the resolver's order, each once, an IPv6 zone kept; every one of them allowed.

    Raises what `refuse` makes for an answer that is refused, OSError or UnicodeError when the name does not resolve.
    """
    addresses = _addresses(host, port)
    for address in addresses:
        decision = policy.decide_answer(host, address, port)
        if not decision.allowed:
            raise refuse(decision, host, port)
    return addresses


class OwnAddresses:
    """The addresses of the names that the tenant rule protects, looked up anew after KEPT seconds.

    A name that does not resolve keeps the addresses that it had last. A name that the policy refuses is not looked up.
    """

    def __init__(self, names: Mapping[str, int], policy: EgressPolicy) -> None:
        self._names = names
        self._policy = policy
        self._lock = threading.Lock()
        self._known: dict[str, frozenset[str]] = {}
        self._until = 0.0

    def surroundings(self) -> Surroundings:
        """What is known now. Only who comes first waits for the look-up, and one at a time renews it."""
        if time.monotonic() >= self._until and self._lock.acquire(blocking=self._until == 0.0):
            try:
                if time.monotonic() >= self._until:
                    self._known = {name: self._looked_up(name, port) for name, port in self._names.items()}
                    self._until = time.monotonic() + KEPT
            finally:
                self._lock.release()
        return Surroundings(self._known, is_of_this_machine)

    def _looked_up(self, name: str, port: int) -> frozenset[str]:
        before = self._known.get(name, frozenset())
        return _canonical_addresses(name, port) or before if self._policy.decide_host(name, port).allowed else before


@lru_cache(maxsize=4)
def own_addresses(names: tuple[tuple[str, int], ...], policy: EgressPolicy) -> OwnAddresses:
    """One for each rule and policy; a process has one of each."""
    return OwnAddresses(dict(names), policy)


def is_of_this_machine(address: str) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _canonical_addresses(name: str, port: int) -> frozenset[str]:
    try:
        answers = _addresses(name, port)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(host.text for answer in answers if isinstance(host := Host.parse(answer), Host))


def _addresses(host: str, port: int) -> list[str]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(_with_zone(*answer[4]) for answer in answers))


def _with_zone(address: str | int, _port: str | int | bytes, _flow: int = 0, scope: int = 0) -> str:
    return f"{address}%{scope}" if scope else str(address)
