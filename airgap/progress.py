"""How far long work is: a bar on a terminal, a plain line every few seconds elsewhere, on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_EVERY = 5.0  # seconds


@contextmanager
def progress(what: str, total: int, unit: str = "B") -> Iterator[Callable[[int], None]]:
    """Yields what is told how much more was done, of `total` (0: unknown)."""
    if sys.stderr.isatty():
        with tqdm(total=total or None, desc=what, unit=unit, unit_scale=True, file=sys.stderr) as bar:
            yield bar.update  # type: ignore[misc]
        return
    done, told = 0, time.monotonic()

    def tell(more: int) -> None:
        nonlocal done, told
        done += more
        if time.monotonic() - told >= LINE_EVERY:
            told = time.monotonic()
            print(f"{what}: {100 * done // total} %" if total else f"{what}: {done} {unit}", file=sys.stderr, flush=True)  # noqa: T201

    yield tell
