"""Remembers which names resolved to which addresses, so that a connect to an address can be judged by the name it came from."""

import os
import threading
import time
from collections import OrderedDict
from typing import Final

MAX_ADDRESSES: Final = 4096
MAX_NAMES: Final = 8  # names an address
KEPT_FOR: Final = 900.0  # seconds


class AnswerMemory:
    """Bounded, per process, thread-safe, empty of locks held elsewhere after a fork. What is forgotten is refused: it fails closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
        os.register_at_fork(after_in_child=self._renew_lock)

    def record(self, name: str, addresses: set[str]) -> None:
        """`name` was resolved to these canonical addresses just now."""
        until = time.monotonic() + KEPT_FOR
        with self._lock:
            for address in addresses:
                names = self._names.setdefault(address, OrderedDict())
                self._names.move_to_end(address)
                names[name] = until
                names.move_to_end(name)
                if len(names) > MAX_NAMES:
                    names.popitem(last=False)
            while len(self._names) > MAX_ADDRESSES:
                self._names.popitem(last=False)

    def names_of(self, address: str) -> list[str]:
        """The names that resolved to `address` lately, latest first."""
        now = time.monotonic()
        with self._lock:
            return [name for name, until in reversed(self._names.get(address, {}).items()) if until > now]

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()
