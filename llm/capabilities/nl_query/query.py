"""A question as a value, before it is written in any query language. Pure.

BadQuery(ValueError)        the value is no query; str() names what is wrong
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, Final

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000
MAX_VALUES: Final = 50
MAX_TEXT: Final = 400


class BadQuery(ValueError):
    """The value is no query. str() names what is wrong."""


class Category(StrEnum):
    """Which events are asked for."""

    ANY = "any"
    AUTHENTICATION = "authentication"
    PROCESS = "process"
    NETWORK = "network"
    DNS = "dns"
    FILE = "file"
    REGISTRY = "registry"
    WEB = "web"
    EMAIL = "email"
    ALERT = "alert"
    ACCOUNT = "account"
    WINDOWS = "windows"


class Field(StrEnum):
    """What an event can be asked for; each language has its own name for it (fields.py)."""

    USER = "user"
    HOST = "host"
    SOURCE_IP = "source_ip"
    DESTINATION_IP = "destination_ip"
    SOURCE_PORT = "source_port"
    DESTINATION_PORT = "destination_port"
    PROCESS = "process"
    PARENT = "parent"
    COMMAND = "command"
    DOMAIN = "domain"
    URL = "url"
    FILE = "file"
    PATH = "path"
    HASH = "hash"  # SHA-256
    MD5 = "md5"
    SHA1 = "sha1"
    KEY = "key"
    COUNTRY = "country"
    SEVERITY = "severity"
    RULE = "rule"
    EVENT_ID = "event_id"
    SENDER = "sender"
    RECIPIENT = "recipient"
    SUBJECT = "subject"
    METHOD = "method"
    STATUS = "status"
    USER_AGENT = "user_agent"
    OUTCOME = "outcome"
    ACTION = "action"
    LOGON = "logon"


WORDS: Final[Mapping[Field, tuple[str, ...]]] = {  # fields that hold one of a few words
    Field.OUTCOME: ("failure", "success"),
    Field.ACTION: ("created", "modified", "deleted", "blocked", "allowed"),
    Field.LOGON: ("interactive", "network", "remote", "service"),
}
NUMBERS: Final = frozenset({Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.STATUS, Field.EVENT_ID})
HASHES: Final[Mapping[int, Field]] = {32: Field.MD5, 40: Field.SHA1, 64: Field.HASH}  # by their length in hexadecimal
ADDRESSES: Final = frozenset({Field.SOURCE_IP, Field.DESTINATION_IP})


class Op(StrEnum):
    """A comparison."""

    IS = "is"
    CONTAINS = "contains"
    STARTS = "starts"
    ENDS = "ends"
    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    AT_MOST = "at_most"
    WITHIN = "within"  # an address in a network
    EXISTS = "exists"


_ORDER: Final = frozenset({Op.ABOVE, Op.AT_LEAST, Op.BELOW, Op.AT_MOST})


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison; with several values, any of them."""

    __test__ = False  # no test of pytest's

    field: Field
    op: Op
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (not self.values) != (self.op is Op.EXISTS) or len(self.values) > MAX_VALUES:
            raise BadQuery(f"{self.field} needs one to {MAX_VALUES} values.")
        for value in self.values:
            if not value or len(value) > MAX_TEXT or any(ord(character) < 32 for character in value):
                raise BadQuery(f"A value of {self.field} is empty, longer than {MAX_TEXT} characters or holds a control character.")
            if self.field in WORDS and value not in WORDS[self.field]:
                raise BadQuery(f"{self.field} is one of {', '.join(WORDS[self.field])}.")
            if (self.field in NUMBERS or self.op in _ORDER) and not re.fullmatch(r"[0-9]{1,12}", value):
                raise BadQuery(f"{self.field} is compared with a whole number.")
            if self.op is Op.WITHIN:
                _network(value)


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


Node = Test | All | Either | Not


class Unit(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Last:
    """The last so many units up to now."""

    amount: int = 24
    unit: Unit = Unit.HOUR


@dataclass(frozen=True, slots=True)
class Today:
    """The day that is now, or the one before it."""

    yesterday: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """From a moment (UTC), up to and without another."""

    start: datetime
    end: datetime | None = None


Window = Last | Today | Between


@dataclass(frozen=True, slots=True)
class Query:
    """The whole question. count: how many, rather than which; unique: how many different values of a field."""

    category: Category = Category.ANY
    where: Node | None = None
    window: Window = Last()
    count: bool = False
    by: tuple[Field, ...] = ()
    every: Unit | None = None  # counts over time
    unique: Field | None = None
    more_than: tuple[Op, int] | None = None  # of the count
    limit: int | None = None

    def __post_init__(self) -> None:
        if (self.by or self.every or self.unique or self.more_than) and not self.count:
            raise BadQuery("Groups, intervals and thresholds belong to a count.")
        if self.more_than and self.more_than[0] not in _ORDER:
            raise BadQuery("A threshold is an order.")
        if self.limit is not None and not 1 <= self.limit <= MAX_LIMIT:
            raise BadQuery(f"A limit is 1 to {MAX_LIMIT}.")


def tests_in(node: Node | None) -> Iterator[Test]:
    """Every comparison below a node."""
    match node:
        case Test():
            yield node
        case All(parts) | Either(parts):
            for part in parts:
                yield from tests_in(part)
        case Not(part):
            yield from tests_in(part)
        case None:
            return


# ── What a model says ────────────────────────────────────────────────────────────────────────────────────────────────
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["category", "tests"],
    "properties": {
        "category": {"enum": [item.value for item in Category]},
        "tests": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["field", "op", "values"],
                "properties": {
                    "field": {"enum": [item.value for item in Field]},
                    "op": {"enum": [item.value for item in Op]},
                    "values": {"type": "array", "items": {"type": "string", "maxLength": MAX_TEXT}, "maxItems": 20},
                    "not": {"type": "boolean"},
                },
            },
        },
        "any_test": {"type": "boolean"},
        "last_hours": {"type": "integer", "minimum": 1, "maximum": 8760},
        "count": {"type": "boolean"},
        "by": {"type": "array", "items": {"enum": [item.value for item in Field]}, "maxItems": 3},
        "more_than": {"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    },
}


def from_answer(answer: Mapping[str, Any]) -> Query:
    """The query that a model's answer in the form of SCHEMA says. Raises BadQuery."""
    parts: list[Node] = []
    for one in answer["tests"]:
        test = Test(Field(one["field"]), Op(one["op"]), tuple(one["values"]))
        parts.append(Not(test) if one.get("not") else test)
    parts = list(dict.fromkeys(parts))  # small models say the same again and again
    joined: Node | None = None
    if parts:
        joined = parts[0] if len(parts) == 1 else (Either if answer.get("any_test") else All)(tuple(parts))
    by = tuple(dict.fromkeys(Field(name) for name in answer.get("by", ())))
    more = answer.get("more_than")
    return Query(
        Category(answer["category"]),
        joined,
        Last(int(answer.get("last_hours", 24))),
        count=bool(answer.get("count") or by or more is not None),
        by=by,
        more_than=None if more is None else (Op.ABOVE, int(more)),
        limit=answer.get("limit"),
    )


def moment(text: str) -> datetime:
    """A date or a time as ISO 8601 has it, in UTC where no zone is named. Raises BadQuery."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadQuery(f"{text!r} is no date.") from None


def _network(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise BadQuery(f"{text!r} is no network.") from None
