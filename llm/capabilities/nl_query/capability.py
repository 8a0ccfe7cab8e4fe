"""Answers a question with a query: the grammar where it understands all of it, else the model, else what the grammar did understand."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from llm.capabilities.nl_query.grammar import conforms
from llm.capabilities.nl_query.query import SCHEMA, All, Category, Either, Field, Node, Not, Op, Query, Test, from_answer, tests_in
from llm.capabilities.nl_query.reader import Reading, literals, negates, read
from llm.capabilities.nl_query.render import Dialect, Inexpressible, render
from llm.outcome import Model, Outcome, live_or_fallback
from llm.resolver import Path
from tenants.models import Tenant

CAPABILITY: Final = "nl_query"
MAX_TOKENS: Final = 600
INSTRUCTIONS: Final = """You translate an analyst's question about security events into a search.
Answer with one JSON object and nothing else. `category` says which events; `tests` are comparisons, all of which must hold (any of them when
`any_test` is true); a test with several `values` holds for any of them; `not` reverses it. `outcome` is failure or success, `action` is created,
modified, deleted, blocked or allowed, `logon` is interactive, network, remote or service. `within` takes a network such as 10.0.0.0/8.
`last_hours` is the time asked for, 24 when none is named. `count` asks how many, `by` groups the count, `more_than` keeps larger counts.
Copy values from the question letter by letter. Example: "failed logins of bob on web-1 in two days" is
{"category": "authentication", "tests": [{"field": "outcome", "op": "is", "values": ["failure"]}, {"field": "user", "op": "is", "values": ["bob"]},
{"field": "host", "op": "is", "values": ["web-1"]}], "last_hours": 48}"""
UNDERSTOOD: Final = "The grammar understood all of the question; no model was asked."
NO_QUESTION: Final = (
    "This does not read as a question about events: say which (failed logins, processes, DNS queries), of whom, where and since when."
)


_NAMED: Final = frozenset(
    (
        Field.USER, Field.HOST, Field.SOURCE_IP, Field.DESTINATION_IP, Field.DOMAIN, Field.URL, Field.HASH, Field.MD5, Field.SHA1, Field.SENDER,
        Field.RECIPIENT,
    )
)  # fmt: skip


class Engine(StrEnum):
    """Who read the question."""

    DETERMINISTIC = "deterministic"
    LLM = "llm"


@dataclass(frozen=True, slots=True)
class Translated:
    """The query, or None when the question could not be read at all. validated: it conforms to the grammar of its language."""

    query: str | None
    engine: Engine
    validated: bool


def translate(question: str, dialect: Dialect, *, tenant: Tenant | None) -> Outcome[Translated]:
    """The question in the query language."""
    reading = read(question)
    if reading.whole:
        found, said = _deterministic(reading, dialect)
        if found.query is not None:
            return Outcome(found, Path.FALLBACK, f"{UNDERSTOOD}{said}")

    def ask(model: Model) -> Translated:
        answer = model.json(INSTRUCTIONS, {"question": question}, SCHEMA, max_tokens=MAX_TOKENS)
        query = _checked(from_answer(answer), question)
        if reading.dated:  # what the grammar read of the time is sure
            query = replace(query, window=reading.query.window)
        return _written(query, dialect, Engine.LLM)

    outcome = live_or_fallback(CAPABILITY, ask, lambda: _deterministic(reading, dialect)[0], tenant=tenant)
    if outcome.path is Path.LIVE:
        return outcome
    return replace(outcome, reason=f"{outcome.reason}{_deterministic(reading, dialect)[1]}")


def by_rule(question: str, dialect: Dialect) -> Translated:
    """What the grammar alone makes of the question."""
    return _deterministic(read(question), dialect)[0]


def _deterministic(reading: Reading, dialect: Dialect) -> tuple[Translated, str]:
    """What the grammar understood as a query, and what people should know of it."""
    query = reading.query
    nothing = query.where is None and query.category is Category.ANY and not query.count
    if nothing and reading.unread:
        return Translated(None, Engine.DETERMINISTIC, validated=False), f" {NO_QUESTION}"
    try:
        found = _written(query, dialect, Engine.DETERMINISTIC)
    except Inexpressible as error:
        return Translated(None, Engine.DETERMINISTIC, validated=False), f" {error}"
    said = "" if reading.dated else " No time is named: the last 24 hours are meant."
    if reading.unread:
        said += f" Not understood and left out: {', '.join(repr(word) for word in reading.unread[:12])}."
    return found, said


def _written(query: Query, dialect: Dialect, engine: Engine) -> Translated:
    text = render(query, dialect)
    if not conforms(text, dialect):
        raise Inexpressible(f"The query does not conform to {dialect.value}.")
    return Translated(text, engine, validated=True)


def _checked(query: Query, question: str) -> Query:
    """The model's query, if it says anything, holds every address, name and quoted text of the question, and no others. Raises ValueError."""
    held = {value.casefold() for test in tests_in(query.where) for value in test.values}
    held |= {str(number) for number in (query.limit, query.more_than[1] if query.more_than else None) if number is not None}
    missing = [text for text in literals(question) if not any(text.casefold() in value or value in text.casefold() for value in held)]
    if missing or (query.where is None and query.category is Category.ANY):
        raise ValueError("The model's query leaves out what was asked for.")
    if negates(question) and not any(isinstance(part, Not) for part in _parts(query.where)):
        raise ValueError("The model's query asks for what the question excludes.")
    if not all(_said(value, question) for test in tests_in(query.where) if _names(test) for value in test.values):
        raise ValueError("The model's query asks for somebody or something that the question does not name.")
    return query


def _parts(node: Node | None) -> tuple[Node, ...]:
    return node.parts if isinstance(node, All | Either) else (node,) if node is not None else ()


def _names(test: Test) -> bool:
    """Whether the test is on who or where, which only the question can say. A program or a network may be known otherwise."""
    return test.field in _NAMED and test.op is not Op.WITHIN


def _said(value: str, question: str) -> bool:
    """Whether the question holds the value, or a word that the value is made of (alice for alice@corp.example)."""
    said, low = question.casefold(), value.casefold()
    return re.search(rf"(?<![\w-]){re.escape(low)}(?![\w-])", said) is not None or any(word in low for word in re.findall(r"[\w.@-]{4,}", said))
