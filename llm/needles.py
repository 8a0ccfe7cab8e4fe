"""Texts of which a match of a regular expression must hold at least one: to look for them takes a fraction of the expression's own search."""

from re import _constants as op  # the parser of re has no public name
from re import _parser
from typing import Any, Final

_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def needles(pattern: str) -> tuple[str, ...]:
    """() when there are none: the expression has to be tried then, as one that ignores case. Raises re.error for what is no expression."""
    parsed = _parser.parse(pattern)
    return () if parsed.state.flags & op.SRE_FLAG_IGNORECASE else tuple(sorted(_of(parsed)))


def _of(items: Any) -> set[str]:
    """The set whose shortest text is longest, of those that any match needs; empty when nothing is needed."""
    needed: list[set[str]] = []
    run = ""
    for kind, value in items:
        if kind is op.LITERAL:
            run += chr(value)
            continue
        needed.append({run})
        run = ""
        if kind is op.BRANCH:
            parts = [_of(one) for one in value[1]]
            needed.append(set().union(*parts) if all(parts) else set())
        elif kind is op.SUBPATTERN and not value[1] & op.SRE_FLAG_IGNORECASE:
            needed.append(_of(value[3]))
        elif kind in _REPEATS and value[0] > 0:
            needed.append(_of(value[2]))
    needed.append({run})
    return max((one for one in needed if one and "" not in one), key=lambda one: min(map(len, one)), default=set())
