"""The read-only tools of an investigation: a registry that is filled when tools are first asked for.

A tool gets the alert and no other argument, so that whoever chooses tools, a model too, can ask for nothing but what the alert holds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm.alerts import Alert


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact. source: who says so. says: the fact as a sentence of a report, "" for what is only evidence.

    restricted: its marking (TLP) keeps it from a model outside.
    """

    label: str
    value: str
    source: str
    says: str = ""
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """purpose: what it finds out, for whoever chooses. run reads and changes nothing; what it raises fails its step alone."""

    name: str
    title: str
    purpose: str
    run: "Callable[[Alert], Iterable[Finding]]"


_providers: list[Callable[[], Iterable[Tool]]] = []
_tools: dict[str, Tool] = {}


def provide(load: Callable[[], Iterable[Tool]]) -> None:
    """`load` gives its tools when they are first asked for: what they need (a third of a second of imports) burdens no other process."""
    _providers.append(load)


def tools() -> tuple[Tool, ...]:
    """In the order in which they are provided, which is that of the deterministic plan. Raises ValueError for a name that two have."""
    while _providers:
        for tool in _providers[0]():
            if _tools.setdefault(tool.name, tool) is not tool:
                raise ValueError(f"Two tools are named {tool.name!r}.")
        _providers.pop(0)
    return tuple(_tools.values())
