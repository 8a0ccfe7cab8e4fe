"""Counts and lists as sentences say them. Pure."""

from collections.abc import Sequence

NAMED = 3  # names that a sentence lists before it counts the rest


def counted(count: int, one: str, many: str = "") -> str:
    """`1 attempt`, `1,204 attempts`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, c and 2 more`."""
    shown, rest = names[:NAMED], len(names) - NAMED
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else "".join(shown)


def sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
