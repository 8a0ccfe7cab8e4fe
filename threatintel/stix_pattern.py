"""Takes a STIX pattern apart into the comparisons that can stand alone as indicators. Pure.

    NotAPattern(ValueError)     text that is no pattern, or one that is too large; str() is a sentence

Source: STIX 2.1 part 9. The field's own parser (stix2-patterns) reads every pattern but the plainest, `[type:path = 'value']`, which a
regular expression reads a thousand times as fast; a test holds both to the same answers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from stix2patterns.exceptions import ParseException
from stix2patterns.v21.grammars.STIXPatternListener import STIXPatternListener
from stix2patterns.v21.pattern import Pattern as ParsedPattern

from threatintel.canonical import NotCanonical, typed

MAX_PATTERN: Final = 20_000  # characters; the parser's time grows with them
MAX_COMPARISONS: Final = 500
MAX_VALUES: Final = 2000  # of sets
MAX_DEPTH: Final = 40  # parentheses and brackets
_PLAIN = re.compile(r"\[\s*([a-z0-9-]+):([A-Za-z0-9_.'-]+)\s*=\s*'((?:[^'\\]|\\['\\])*)'\s*\]")
_LITERAL = re.compile(r"'((?:[^'\\]|\\['\\])*)'")
_COMPARES = re.compile(r"[=<>]|\b(?:IN|LIKE|MATCHES|ISSUBSET|ISSUPERSET|EXISTS)\b")
_HASHES = {
    "md5": "md5",
    "sha-1": "sha1",
    "sha1": "sha1",
    "sha-224": "sha224",
    "sha-256": "sha256",
    "sha256": "sha256",
    "sha-384": "sha384",
    "sha-512": "sha512",
    "sha512": "sha512",
    "ssdeep": "ssdeep",
    "tlsh": "tlsh",
    "imphash": "imphash",
}
# What identifies wherever it is found, alone or beside other conditions.
_TELLING: Mapping[str, str] = {
    "ipv4-addr:value": "ipv4-addr",
    "ipv6-addr:value": "ipv6-addr",
    "domain-name:value": "domain-name",
    "url:value": "url",
    "email-addr:value": "email-addr",
    "email-message:from_ref.value": "email-addr",
    "email-message:sender_ref.value": "email-addr",
    "network-traffic:dst_ref.value": "domain-name",
    "network-traffic:src_ref.value": "domain-name",
    "domain-name:resolves_to_refs[*].value": "domain-name",
}
# What identifies only when nothing else has to hold as well.
_ALONE: Mapping[str, str] = {
    "file:name": "file-name",
    "mutex:name": "mutex",
    "windows-registry-key:key": "windows-registry-key",
    "autonomous-system:number": "autonomous-system",
    "mac-addr:value": "mac-addr",
    "vulnerability:name": "vulnerability",
    "network-traffic:extensions.http-request-ext.request_header.User-Agent": "user-agent",
}


class NotAPattern(ValueError):
    """The text is no STIX pattern that can be read."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """indicators: (type, canonical value) of each comparison that stands alone, once each. skipped: why each other one does not.

    kept: something in it is lost when it is taken apart, so that the whole pattern has to be kept too.
    """

    indicators: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...] = ()
    kept: bool = False


@dataclass(frozen=True, slots=True)
class _Comparison:
    path: str  # "file:hashes.SHA-256"
    operator: str  # "=", "IN", "ISSUBSET", …, with "NOT " before it when negated
    values: tuple[str, ...]


def read_pattern(text: str) -> Pattern:
    """The parts of a pattern. Raises NotAPattern."""
    if plain := _PLAIN.fullmatch(text.strip()):
        object, steps, value = plain.groups()
        path, value = f"{object}:{steps.replace(chr(39), '')}", _unescaped(value)
        try:
            if kind := _type_of(path):
                return Pattern((typed(kind, value),))
        except NotCanonical:
            pass  # said below
        return _taken_apart([_Comparison(path, "=", (value,))], joined=False)
    return _compound(text)


@lru_cache(512)  # what is checked is then stored, and pushed: the parser takes milliseconds for each comparison
def _compound(text: str) -> Pattern:
    listener = _parsed(text)
    return _taken_apart(listener.comparisons, joined=listener.joined)


def _parsed(text: str) -> "_Listener":
    if len(text) > MAX_PATTERN:
        raise NotAPattern(f"The pattern has more than {MAX_PATTERN} characters.")
    if _depth(text) > MAX_DEPTH:
        raise NotAPattern(f"The pattern is nested more than {MAX_DEPTH} deep.")
    bare = _LITERAL.sub("", text)  # the parser takes seconds for what is then refused
    if len(_COMPARES.findall(bare)) > 2 * MAX_COMPARISONS or bare.count(",") > MAX_VALUES:  # `<=` is two of them
        raise NotAPattern(f"The pattern has more than {MAX_COMPARISONS} comparisons, or {MAX_VALUES} values.")
    listener = _Listener()
    try:
        ParsedPattern(text).walk(listener)
    except ParseException:
        raise NotAPattern("The text is no STIX pattern.") from None
    except (RecursionError, AttributeError, IndexError, ValueError) as error:
        raise NotAPattern(f"The pattern cannot be read ({type(error).__name__}).") from None
    if not listener.comparisons:
        raise NotAPattern("The pattern compares nothing.")
    if len(listener.comparisons) > MAX_COMPARISONS:
        raise NotAPattern(f"The pattern has more than {MAX_COMPARISONS} comparisons.")
    return listener


def _depth(text: str) -> int:
    """How deep brackets and parentheses stand within each other, outside text."""
    deepest = depth = 0
    for char in _LITERAL.sub("", text):
        if char in "[(":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]":
            depth -= 1
    return deepest


def _taken_apart(comparisons: Sequence[_Comparison], *, joined: bool) -> Pattern:
    indicators: dict[tuple[str, str], None] = {}
    skipped: list[str] = []
    for comparison in comparisons:
        kind = _type_of(comparison.path)
        if not kind:
            skipped.append(f"{comparison.path[:60]} is no indicator by itself")
        elif kind in _ALONE.values() and joined:
            skipped.append(f"{comparison.path[:60]} does not stand alone beside other conditions")
        elif comparison.operator not in ("=", "IN") and not (comparison.operator == "ISSUBSET" and kind in ("ipv4-addr", "ipv6-addr")):
            skipped.append(f"{comparison.operator} is no exact value")
        else:
            for value in comparison.values:
                try:
                    indicators[typed(kind, value)] = None
                except NotCanonical:
                    skipped.append(f"a value that is no {kind}")
    return Pattern(tuple(indicators), tuple(skipped), kept=bool(skipped) or joined)


def _type_of(path: str) -> str:
    return _TELLING.get(path) or _hash_type(path) or _ALONE.get(path, "")


def _hash_type(path: str) -> str:
    name = path.removeprefix("file:hashes.") if path.startswith("file:hashes.") else ""
    known = _HASHES.get(name.lower())
    return f"file-hash:{known}" if known else ""


def _unescaped(text: str) -> str:
    return re.sub(r"\\(['\\])", r"\1", text) if "\\" in text else text


class _Listener(STIXPatternListener):  # type: ignore[misc]
    """Collects comparisons in their order, and whether anything but OR joins them or a qualifier limits them."""

    def __init__(self) -> None:
        self.comparisons: list[_Comparison] = []
        self.joined = False
        self._type = ""
        self._path = ""

    def exitObjectType(self, ctx: Any) -> None:
        self._type = ctx.getText()

    def exitFirstPathComponent(self, ctx: Any) -> None:
        self._path = _name(ctx.getText())

    def exitKeyPathStep(self, ctx: Any) -> None:
        self._path += f".{_name(ctx.getText().removeprefix('.'))}"

    def exitIndexPathStep(self, ctx: Any) -> None:
        self._path += ctx.getText()

    def exitComparisonExpressionAnd(self, ctx: Any) -> None:
        self.joined = self.joined or ctx.AND() is not None

    exitObservationExpressionAnd = exitComparisonExpressionAnd

    def exitObservationExpressions(self, ctx: Any) -> None:
        self.joined = self.joined or ctx.FOLLOWEDBY() is not None

    def _limited(self, _ctx: Any) -> None:
        self.joined = True

    exitStartStopQualifier = exitWithinQualifier = exitRepeatedQualifier = _limited

    def exitPropTestEqual(self, ctx: Any) -> None:
        self._add(ctx, "=" if ctx.EQ() else "!=", ctx.primitiveLiteral())

    def exitPropTestOrder(self, ctx: Any) -> None:
        self._add(ctx, (ctx.GT() or ctx.LT() or ctx.GE() or ctx.LE()).getText(), ctx.orderableLiteral())

    def exitPropTestSet(self, ctx: Any) -> None:
        self._add(ctx, "IN", ctx.setLiteral())

    def exitPropTestLike(self, ctx: Any) -> None:
        self._add(ctx, "LIKE", ctx.StringLiteral())

    def exitPropTestRegex(self, ctx: Any) -> None:
        self._add(ctx, "MATCHES", ctx.StringLiteral())

    def exitPropTestIsSubset(self, ctx: Any) -> None:
        self._add(ctx, "ISSUBSET", ctx.StringLiteral())

    def exitPropTestIsSuperset(self, ctx: Any) -> None:
        self._add(ctx, "ISSUPERSET", ctx.StringLiteral())

    def exitPropTestExists(self, ctx: Any) -> None:
        self.comparisons.append(_Comparison(f"{self._type}:{self._path}", "EXISTS", ()))

    def _add(self, ctx: Any, operator: str, literal: Any) -> None:
        text = literal.getText()
        values = tuple(_unescaped(value) for value in _LITERAL.findall(text)) or tuple(text.strip("()").split(","))
        negated = "NOT " if ctx.NOT() else ""
        self.comparisons.append(_Comparison(f"{self._type}:{self._path}", negated + operator, values))


def _name(text: str) -> str:
    return _unescaped(text[1:-1]) if text.startswith("'") else text
