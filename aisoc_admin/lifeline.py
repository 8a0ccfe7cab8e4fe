"""A process that must not outlive its parent, even when the parent is killed with SIGKILL (Linux; elsewhere a no-op)."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None  # loaded before any fork: no import lock is taken in a child


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Have the kernel send `number` to this process when its parent ends.

    The kernel forgets it at fork, so every forked child calls this for itself: gunicorn's post_fork, Celery's
    worker_process_init. "Parent" is the thread that forked: fork from the main thread only. Give `parent`, the pid
    that forked us, where it is known: a parent that died before this call is then noticed too.
    """
    if _libc is None:
        return
    expected = os.getppid() if parent is None else parent
    if _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != expected:
        os.kill(os.getpid(), number)


def tied_to_this_process(number: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` for subprocess.Popen that ties the new program to the calling process."""
    parent = os.getpid()
    return lambda: die_with_parent(number, parent)
