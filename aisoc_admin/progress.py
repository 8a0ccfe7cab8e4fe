"""How far work is whose size is known only once it has begun."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from airgap.progress import progress


@contextmanager
def shown_as(what: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Yields what is told the number of rows, and then returns what is told how many more were done."""
    with ExitStack() as stack:
        yield lambda total: stack.enter_context(progress(what, total, "rows"))
