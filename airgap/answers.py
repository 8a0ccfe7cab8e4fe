"""Remembers which names resolved to which addresses, so that a connect to an address can be judged by the name it came from."""

import os
import threading
import time
from collections import OrderedDict
from typing import Final

MAX_ADDRESSES: Final = 4096
MAX_NAMES: Final = 8  # names an address, of those that grant something and of those that do not
KEPT_FOR: Final = 900.0  # seconds

_Names = OrderedDict[str, float]  # name to the moment it is forgotten, oldest first


class AnswerMemory:
    """Bounded, per process, thread-safe, empty of locks held elsewhere after a fork. What is forgotten is refused: it fails closed.

    Names that grant (they are allowlisted) and names that do not are kept apart: a look-up of an internal name must neither
    outvote nor crowd out an allowlisted one that shares its address.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may connect while its thread is in here
        self._names: OrderedDict[str, tuple[_Names, _Names]] = OrderedDict()
        os.register_at_fork(after_in_child=self._renew_lock)

    def record(self, name: str, addresses: set[str], *, grants: bool) -> None:
        """`name` was resolved to these canonical addresses just now."""
        until = time.monotonic() + KEPT_FOR
        with self._lock:
            for address in addresses:
                names = self._names.setdefault(address, (OrderedDict(), OrderedDict()))[0 if grants else 1]
                self._names.move_to_end(address)
                names[name] = until
                names.move_to_end(name)
                if len(names) > MAX_NAMES:
                    names.popitem(last=False)
            while len(self._names) > MAX_ADDRESSES:
                self._names.popitem(last=False)

    def names_of(self, address: str) -> list[str]:
        """The names that resolved to `address` lately: those that grant first, each kind latest first."""
        now = time.monotonic()
        with self._lock:
            return [name for names in self._names.get(address, ()) for name, until in reversed(names.items()) if until > now]

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()
