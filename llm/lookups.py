"""The one question that a capability may ask of the threat-intel store: which of these values does a feed name as bad, now.

The store lives in another domain of the same layer; who knows both fills the port when the process starts (aisoc_admin/tools.py).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

MAX_VALUES: Final = 600
Lookup = Callable[[Iterable[str]], Mapping[str, str]]  # values as people write them -> who names them, in a sentence

_lookups: list[Lookup] = []


def provide_lookup(lookup: Lookup) -> None:
    _lookups.append(lookup)


def known_bad(values: Iterable[str]) -> dict[str, str]:
    """The values that an active indicator names, each with the sentence that says so; the first MAX_VALUES are asked for."""
    asked = list(dict.fromkeys(value for value in values if value))[:MAX_VALUES]
    return {value: said for lookup in _lookups for value, said in lookup(asked).items()} if asked else {}
