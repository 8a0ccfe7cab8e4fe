"""What tests of whole processes ask of the machine: free ports, a server of a peer, and whether a process still lives."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aisoc_admin.lifeline import tied_to_this_process


def free_port(count: int = 1) -> int:
    """A loopback port that can be had, and the `count - 1` after it: below those that the kernel gives to clients meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        if all(_is_free(port + offset) for offset in range(count)):
            return port


@contextmanager
def serving(command: Sequence[str | Path], folder: Path, *, stdout: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A peer's server for the time of the block: its home and its `log` in `folder`. It dies with this process even when that is killed."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log if stdout is None else stdout,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
            preexec_fn=tied_to_this_process(signal.SIGKILL),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


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
