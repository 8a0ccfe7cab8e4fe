"""Threads of one process take turns at SQLite's write lock: its own way of waiting is to sleep, for up to a tenth of a second."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_turn = threading.Lock()


@contextmanager
def write_turn() -> Iterator[None]:
    """Around one short write. On PostgreSQL, which has queues of its own, it is nothing."""
    if connection.vendor != "sqlite":
        yield
        return
    with _turn:
        yield
