"""Evaluates a Sigma rule on one event: a walk over the condition that pySigma parsed. Pure.

    CannotEvaluate(ValueError)  the rule uses what this evaluator does not know; str() is the reason that people read

Texts compare without regard to case unless `|cased`, as the Sigma specification says (rules specification 2.1.0, "Value modifiers"). All
matching is done by RE2, whose time is linear in the text: a pattern from a tenant's rule cannot hold a web thread.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sigma.rule import SigmaRule
    from sigma.types import SigmaRegularExpression, SigmaString

MAX_PATTERN_MEMORY: Final = 1 << 20
MAX_FIELDS: Final = 2000
MAX_COMPARISONS: Final = 50_000  # of one rule with one event, each some 10 microseconds
Event = Mapping[str, Any]  # dotted field names; a value or a list of values


class CannotEvaluate(ValueError):
    """The rule holds a construct that is not evaluated here. str() names it."""


def flat(raw: object) -> dict[str, Any]:
    """The event with dotted names: `{"process": {"name": "a"}}` is `{"process.name": "a"}`. Lists of mappings give lists of values."""
    found: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}  # of found, those that were made here
    left: deque[tuple[str, object]] = deque([("", raw)])
    while left and len(found) < MAX_FIELDS:
        name, value = left.popleft()
        if isinstance(value, Mapping):
            left += [(f"{name}.{key}" if name else str(key), child) for key, child in value.items()]
        elif isinstance(value, list) and any(isinstance(child, Mapping) for child in value):
            left += [(name, child) for child in value[:100]]
        elif name in found:
            if name not in lists:
                before = found[name]
                lists[name] = found[name] = [*before] if isinstance(before, list) else [before]
            lists[name] += value if isinstance(value, list) else [value]
        else:
            found[name] = value
    return found


def matches(rule: "SigmaRule", event: Event) -> bool:
    """Whether any condition of the rule holds for the event. Raises CannotEvaluate, also for more work than MAX_COMPARISONS."""
    values = {name.casefold(): len(value) if isinstance(value, list) else 1 for name, value in event.items()}
    every = sum(values.values())
    nodes = (node for condition in rule.detection.parsed_condition for node in _nodes(condition.parsed) if not hasattr(node, "args"))
    if sum(values.get(node.field.casefold(), 1) if getattr(node, "field", None) else every for node in nodes) > MAX_COMPARISONS:
        raise CannotEvaluate(f"The rule and the event come to more than {MAX_COMPARISONS:,} comparisons; give less of the event, or a smaller rule.")
    folded = {name.casefold(): value for name, value in event.items()}
    return any(_holds(condition.parsed, folded) for condition in rule.detection.parsed_condition)


def fields_of(rule: "SigmaRule") -> set[str]:
    """The fields that the rule's conditions look at."""
    found: set[str] = set()
    for condition in rule.detection.parsed_condition:
        found |= {node.field for node in _nodes(condition.parsed) if getattr(node, "field", None)}
    return found


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "args", ()):
        yield from _nodes(child)


def _holds(node: Any, event: Event) -> bool:
    from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR, ConditionValueExpression

    match node:
        case ConditionAND():
            return all(_holds(child, event) for child in node.args)
        case ConditionOR():
            return any(_holds(child, event) for child in node.args)
        case ConditionNOT():
            return not _holds(node.args[0], event)
        case ConditionFieldEqualsValueExpression():
            name = node.field.casefold()
            return _equal(node.value, event.get(name), name in event, event)
        case ConditionValueExpression():
            return any(_keyword(node.value, value) for value in event.values())
    raise CannotEvaluate(f"A {type(node).__name__} in the condition is not evaluated here.")


def _equal(wanted: Any, actual: Any, present: bool, event: Event) -> bool:
    from sigma.types import SigmaExists, SigmaExpansion, SigmaNull

    if isinstance(wanted, SigmaExpansion):
        return any(_equal(one, actual, present, event) for one in wanted.values)
    if isinstance(wanted, SigmaExists):
        return wanted.exists == present
    if isinstance(wanted, SigmaNull):
        return actual is None
    values = actual if isinstance(actual, list) else [actual]
    return any(_is(wanted, value, event) for value in values if value is not None)


def _is(wanted: Any, value: Any, event: Event) -> bool:
    from sigma.types import (
        SigmaBool,
        SigmaCIDRExpression,
        SigmaCompareExpression,
        SigmaFieldReference,
        SigmaNumber,
        SigmaRegularExpression,
        SigmaString,
        SigmaTimestampPart,
    )

    match wanted:
        case SigmaString():
            return _like(wanted, _text(value))
        case SigmaRegularExpression():
            return _found(wanted, _text(value))
        case SigmaBool():
            return _text(value).casefold() == _text(wanted.boolean)
        case SigmaTimestampPart():
            raise CannotEvaluate("A part of a time (|hour, |day and the like) is not evaluated here.")
        case SigmaNumber():
            return _number(value) == wanted.number
        case SigmaCompareExpression():
            number = _number(value)
            return number is not None and _compared(number, wanted.op.name, wanted.number.number)
        case SigmaCIDRExpression():
            return _inside(_text(value), wanted.cidr)
        case SigmaFieldReference() if not wanted.starts_with and not wanted.ends_with:
            return _text(event.get(wanted.field.casefold(), "")).casefold() == _text(value).casefold()
    raise CannotEvaluate(f"A {type(wanted).__name__} is not evaluated here.")


def _keyword(wanted: Any, value: Any) -> bool:
    """A keyword is anywhere in an event's text."""
    from sigma.types import SigmaRegularExpression, SigmaString

    texts = [_text(one) for one in (value if isinstance(value, list) else [value]) if one is not None]
    if isinstance(wanted, SigmaRegularExpression):
        return any(_found(wanted, text) for text in texts)
    keyword = wanted if isinstance(wanted, SigmaString) else SigmaString(str(wanted))
    return any(_like(keyword, text, anywhere=True) for text in texts)


def _like(wanted: "SigmaString", text: str, anywhere: bool = False) -> bool:
    import re2
    from sigma.types import SigmaCasedString, SpecialChars

    parts = []
    for part in wanted.s:
        match part:
            case str():
                parts.append(re2.escape(part))
            case SpecialChars.WILDCARD_MULTI:
                parts.append(".*")
            case SpecialChars.WILDCARD_SINGLE:
                parts.append(".")
            case _:
                raise CannotEvaluate("A placeholder (%name%) is not evaluated here.")
    pattern = "".join(parts)
    return _re2(f".*{pattern}.*" if anywhere else pattern, "s" if isinstance(wanted, SigmaCasedString) else "si").fullmatch(text) is not None


def _found(wanted: "SigmaRegularExpression", text: str) -> bool:
    letters = {"IGNORECASE": "i", "MULTILINE": "m", "DOTALL": "s"}
    return _re2(str(wanted.regexp), "".join(sorted(letters[flag.name] for flag in wanted.flags))).search(text) is not None


@lru_cache(maxsize=8)  # a keyword is looked for in one field after the other
def _re2(pattern: str, flags: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(f"(?{flags}){pattern}" if flags else pattern, options=options)
    except re2.error as error:
        raise CannotEvaluate(f"The regular expression {pattern[:60]!r} cannot be evaluated here ({error}).") from None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value) if str(value).strip() else None
    except ValueError:
        return None


def _compared(number: float, operator: str, limit: float) -> bool:
    return {"LT": number < limit, "LTE": number <= limit, "GT": number > limit, "GTE": number >= limit, "NEQ": number != limit}[operator]


def _inside(text: str, cidr: str) -> bool:
    try:
        return ip_address(text) in ip_network(cidr)
    except (ValueError, TypeError):
        return False
