"""Writes a query in ES|QL, SPL or KQL. Every value goes through the one function of its language that quotes it. Pure.

Inexpressible(ValueError)   the language has no such field or cannot hold the value; str() says which
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Final, assert_never

from llm.capabilities.nl_query import fields
from llm.capabilities.nl_query.query import (
    DEFAULT_LIMIT,
    NUMBERS,
    All,
    Between,
    Category,
    Either,
    Field,
    Last,
    Node,
    Not,
    Op,
    Query,
    Test,
    Today,
)


class Dialect(StrEnum):
    """The query languages, as CONTRACTS.md 2.6 names them."""

    ESQL = "esql"
    SPL = "spl"
    KQL = "kql"


class Inexpressible(ValueError):
    """The language has no such field or cannot hold the value. str() says which."""


_SIGNS: Final = {Op.ABOVE: ">", Op.AT_LEAST: ">=", Op.BELOW: "<", Op.AT_MOST: "<="}


def render(query: Query, dialect: Dialect) -> str:
    """The query as text, on one line. Raises Inexpressible."""
    return _RENDERERS[dialect](query)


def _quoted(text: str) -> str:
    """A string literal: all three languages escape with a backslash between double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _joined(node: Node, test: Callable[[Test], str], words: tuple[str, str, str], inside: bool = False) -> str:
    """The node in a language whose `and`, `or` and `not` are these words."""
    conjunction, disjunction, negation = words
    match node:
        case Test():
            return test(node)
        case All(parts):
            text = conjunction.join(_joined(part, test, words, inside=True) for part in parts)
            return f"({text})" if inside and len(parts) > 1 else text
        case Either(parts):
            text = disjunction.join(_joined(part, test, words, inside=True) for part in parts)
            return f"({text})" if len(parts) > 1 else text
        case Not(part):
            text = _joined(part, test, words, inside=True)
            return f"{negation}{text}" if text.startswith("(") and text.endswith(")") and _closes_last(text) else f"{negation}({text})"
        case _:
            assert_never(node)


def _closes_last(text: str) -> bool:
    """Whether the parenthesis that opens the text is closed at its end (quoted ones do not count)."""
    depth = 0
    for place, character in enumerate(re.sub(r'"(?:\\.|[^"\\])*"', lambda quoted: "q" * len(quoted[0]), text)):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            return place == len(text) - 1
    return False


def _any(texts: list[str], word: str) -> str:
    return texts[0] if len(texts) == 1 else f"({word.join(texts)})"


# ── ES|QL ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _esql(query: Query) -> str:
    name = _names(fields.ESQL, fields.ESQL_IN, query.category)

    def test(one: Test) -> str:
        column = name(one.field)
        values = [fields.ESQL_WORDS.get((one.field, value), value) for value in one.values]
        number = one.field in NUMBERS and column not in fields.ESQL_KEYWORDS
        literals = [value if number else _quoted(value) for value in values]
        match one.op:
            case Op.EXISTS:
                return f"{column} IS NOT NULL"
            case Op.IS:
                return f"{column} == {literals[0]}" if len(literals) == 1 else f"{column} IN ({', '.join(literals)})"
            case Op.WITHIN:
                return f"CIDR_MATCH({column}, {', '.join(literals)})"
            case Op.CONTAINS | Op.STARTS | Op.ENDS:
                return _any([f"TO_LOWER({column}) LIKE {_quoted(_like(one.op, value.lower()))}" for value in values], " OR ")
            case _:
                return f"{column} {_SIGNS[one.op]} {one.values[0]}"

    wheres = [part for part in (_esql_window(query), fields.EVENTS[query.category].esql) if part]
    if query.where is not None:
        wheres.append(_joined(query.where, test, (" AND ", " OR ", "NOT ")))
    stages = ["FROM logs-*", f"WHERE {' AND '.join(wheres)}"]
    if query.count:
        measure, value = ("unique", f"COUNT_DISTINCT({name(query.unique)})") if query.unique else ("count", "COUNT(*)")
        groups = [name(field) for field in query.by]
        if query.every:
            groups.insert(0, f"bucket = BUCKET(@timestamp, 1 {query.every.value})")
        stages.append(f"STATS {measure} = {value}" + (f" BY {', '.join(groups)}" if groups else ""))
        if query.more_than:
            stages.append(f"WHERE {measure} {_SIGNS[query.more_than[0]]} {query.more_than[1]}")
        if query.every:
            stages.append("SORT bucket ASC")
        elif groups:
            stages.append(f"SORT {measure} DESC")
        if groups and not query.every:
            stages.append(f"LIMIT {query.limit or DEFAULT_LIMIT}")
    else:
        stages += ["SORT @timestamp DESC", f"LIMIT {query.limit or DEFAULT_LIMIT}"]
    return " | ".join(stages)


def _like(op: Op, value: str) -> str:
    """A pattern of ES|QL's LIKE, whose wildcards are * and ?."""
    plain = re.sub(r"([*?\\])", r"\\\1", value)
    return {Op.CONTAINS: f"*{plain}*", Op.STARTS: f"{plain}*", Op.ENDS: f"*{plain}"}[op]


def _esql_window(query: Query) -> str:
    match query.window:
        case Last(amount, unit):
            return f"@timestamp >= NOW() - {amount} {unit.value}{'s' if amount > 1 else ''}"
        case Today(yesterday=False):
            return "@timestamp >= DATE_TRUNC(1 day, NOW())"
        case Today():
            return "@timestamp >= DATE_TRUNC(1 day, NOW() - 1 day) AND @timestamp < DATE_TRUNC(1 day, NOW())"
        case Between(start, end):
            return f'@timestamp >= "{_iso(start)}"' + (f' AND @timestamp < "{_iso(end)}"' if end else "")
        case _:
            assert_never(query.window)


# ── SPL ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _spl(query: Query) -> str:
    name = _names(fields.SPL, fields.SPL_IN, query.category)

    def test(one: Test) -> str:
        column = name(one.field)
        values = [fields.SPL_WORDS.get((one.field, value), value) for value in one.values]
        if any(character in value for value in values for character in "*`"):
            raise Inexpressible("SPL reads an asterisk as a wildcard and a backtick as a macro, within quotes too.")
        literals = [value if one.field in NUMBERS else _quoted(value) for value in values]
        match one.op:
            case Op.EXISTS:
                return f"{column}=*"
            case Op.IS if len(literals) > 1:
                return f"{column} IN ({', '.join(literals)})"
            case Op.IS | Op.WITHIN:
                return _any([f"{column}={literal}" for literal in literals], " OR ")
            case Op.CONTAINS | Op.STARTS | Op.ENDS:
                shapes = {Op.CONTAINS: "*{}*", Op.STARTS: "{}*", Op.ENDS: "*{}"}
                return _any([f"{column}={_quoted(shapes[one.op].format(value))}" for value in values], " OR ")
            case _:
                return f"{column}{_SIGNS[one.op]}{one.values[0]}"

    parts = ["index=*", *_spl_window(query), *([event] if (event := fields.EVENTS[query.category].spl) else [])]
    if query.where is not None:
        parts.append(_joined(query.where, test, (" ", " OR ", "NOT ")))
    stages = [" ".join(parts)]
    if query.count:
        measure, value = ("unique", f"dc({name(query.unique)}) as unique") if query.unique else ("count", "count")
        groups = " ".join(name(field) for field in query.by)
        if query.every:
            stages.append(f"bin _time span=1{query.every.value[0]}")
            groups = f"_time {groups}".strip()
        stages.append(f"stats {value}" + (f" by {groups}" if groups else ""))
        if query.more_than:
            stages.append(f"where {measure} {_SIGNS[query.more_than[0]]} {query.more_than[1]}")
        if query.every:
            stages.append("sort 0 _time")
        elif groups:
            stages += [f"sort - {measure}", f"head {query.limit or DEFAULT_LIMIT}"]
    else:
        stages.append(f"head {query.limit or DEFAULT_LIMIT}")
    return " | ".join(stages)


def _spl_window(query: Query) -> list[str]:
    match query.window:
        case Last(amount, unit):
            return [f"earliest=-{amount}{unit.value[0]}"]
        case Today(yesterday=False):
            return ["earliest=@d"]
        case Today():
            return ["earliest=-1d@d", "latest=@d"]
        case Between(start, end):  # seconds since 1970: a date would be read in the reader's zone
            return [f"earliest={start.timestamp():.0f}"] + ([f"latest={end.timestamp():.0f}"] if end else [])
        case _:
            assert_never(query.window)


# ── KQL ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _kql(query: Query) -> str:
    columns, spoken = fields.KQL[query.category], fields.KQL_WORDS[query.category]
    events = fields.EVENTS[query.category]

    def name(field: Field) -> str:
        if field not in columns:
            raise Inexpressible(f"{events.kql.split(' ')[0]} has no column for {_shown(field)}.")
        return columns[field]

    def test(one: Test) -> str:
        column = name(one.field)
        values = [spoken.get((one.field, value), value) for value in one.values]
        number = one.field in NUMBERS and not (query.category is Category.WEB and one.field is Field.STATUS)  # ASIM keeps it as a text
        literals = [value if number else _quoted(value) for value in values]
        match one.op:
            case Op.EXISTS:
                return f"isnotempty({column})"
            case Op.IS if len(literals) > 1:
                return f"{column} {'in' if number else 'in~'} ({', '.join(literals)})"
            case Op.IS:
                return f"{column} {'==' if number else '=~'} {literals[0]}"
            case Op.WITHIN:
                return _any([f"ipv{ip_network(value, strict=False).version}_is_in_range({column}, {_quoted(value)})" for value in values], " or ")
            case Op.CONTAINS | Op.STARTS | Op.ENDS:
                word = {Op.CONTAINS: "contains", Op.STARTS: "startswith", Op.ENDS: "endswith"}[one.op]
                return _any([f"{column} {word} {literal}" for literal in literals], " or ")
            case _:
                return f"toint({column}) {_SIGNS[one.op]} {one.values[0]}" if not number else f"{column} {_SIGNS[one.op]} {one.values[0]}"

    wheres = [_kql_window(query, events.time)]
    if query.where is not None:
        wheres.append(_joined(query.where, test, (" and ", " or ", "not")))
    stages = [events.kql, f"where {' and '.join(wheres)}"]
    if query.count:
        measure, value = ("Unique", f"dcount({name(query.unique)})") if query.unique else ("Count", "count()")
        groups = [name(field) for field in query.by]
        if query.every:
            groups.insert(0, f"bin({events.time}, 1{query.every.value[0]})")
        stages.append(f"summarize {measure} = {value}" + (f" by {', '.join(groups)}" if groups else ""))
        if query.more_than:
            stages.append(f"where {measure} {_SIGNS[query.more_than[0]]} {query.more_than[1]}")
        if query.every:
            stages.append(f"sort by {events.time} asc")
        elif groups:
            stages.append(f"top {query.limit or DEFAULT_LIMIT} by {measure} desc")
    else:
        stages.append(f"top {query.limit or DEFAULT_LIMIT} by {events.time} desc")
    return " | ".join(stages)


def _kql_window(query: Query, time: str) -> str:
    match query.window:
        case Last(amount, unit):
            return f"{time} >= ago({amount}{unit.value[0]})"
        case Today(yesterday=False):
            return f"{time} >= startofday(now())"
        case Today():
            return f"{time} >= startofday(ago(1d)) and {time} < startofday(now())"
        case Between(start, end):
            return f"{time} >= datetime({_iso(start)})" + (f" and {time} < datetime({_iso(end)})" if end else "")
        case _:
            assert_never(query.window)


def _names(everywhere: Mapping[Field, str], in_category: Mapping[Category, Mapping[Field, str]], category: Category) -> Callable[[Field], str]:
    own = in_category.get(category, {})
    return lambda field: own.get(field, everywhere[field])


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(field: Field) -> str:
    return field.value.replace("_", " ")


_RENDERERS: Final[dict[Dialect, Callable[[Query], str]]] = {Dialect.ESQL: _esql, Dialect.SPL: _spl, Dialect.KQL: _kql}
