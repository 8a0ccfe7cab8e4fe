"""What tests of whole processes ask of the machine: free ports, and whether a process still lives."""

import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path


def free_port(count: int = 1) -> int:
    """A loopback port that can be had, and the `count - 1` after it: below those that the kernel gives to clients meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        if all(_is_free(port + offset) for offset in range(count)):
            return port


def lives(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def soon(true: Callable[[], object], seconds: float = 5) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pids: list[int], seconds: float = 5) -> bool:
    return soon(lambda: not any(lives(pid) for pid in pids), seconds)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
