"""Reads a question in English by a fixed grammar: every word is understood, changes nothing, or is named as not understood. Pure.

    question = (window | top | count | unique | group | threshold | event | condition | filler)*
    condition = ["not"] (field [operator] values | preposition values | operator values | value | "(" conditions ")"), joined by and, or

`or` binds weaker than `and`; between bare values it joins values of one field ("port 22 or 3389"). What the event says of itself
("failed logins") holds for all of the question.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from llm.capabilities.nl_query import words
from llm.capabilities.nl_query.query import (
    ADDRESSES,
    NUMBERS,
    All,
    BadQuery,
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
    Unit,
    Window,
    moment,
    tests_in,
)
from llm.capabilities.nl_query.values import COUNTRIES, TOKEN, TOOLS, Word, comparison, is_program, shape_of, value_of, with_countries, word_of

MAX_QUESTION: Final = 1000
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_LONGEST: Final = 5  # words of a phrase
_PREPOSITIONS: Final = frozenset(
    words.split("from to on at by as for in under using running executing via over involving against into inside within through named called")
)
_PARENT_WORDS: Final = ("spawned by", "launched by", "started by", "child of", "children of", "whose parent is", "with parent")
_NEGATIONS: Final = frozenset({"not", "excluding", "except", "without", "exclude", "ignoring", "!=", "isn't", "aren't", "doesn't", "don't"})
_COUNTING: Final = ("how many times", "how many", "number of", "count of", "the count of", "total number of", "count", "total")
_GROUPING: Final = ("grouped by", "group by", "broken down by", "for each", "per", "by", "each")
_VERBS: Final[Mapping[str, tuple[Category, tuple[Node, ...]]]] = {
    "logged in": (Category.AUTHENTICATION, (Test(Field.OUTCOME, Op.IS, ("success",)),)),
    "logged on": (Category.AUTHENTICATION, (Test(Field.OUTCOME, Op.IS, ("success",)),)),
    "failed to log in": (Category.AUTHENTICATION, (Test(Field.OUTCOME, Op.IS, ("failure",)),)),
    "failed to log on": (Category.AUTHENTICATION, (Test(Field.OUTCOME, Op.IS, ("failure",)),)),
    "connected": (Category.NETWORK, ()),
    "connecting": (Category.NETWORK, ()),
    "communicated with": (Category.NETWORK, ()),
    "ran": (Category.PROCESS, ()),
    "executed": (Category.PROCESS, ()),
    "running": (Category.PROCESS, ()),
    "resolved": (Category.DNS, ()),
    "queried": (Category.DNS, ()),
    "visited": (Category.WEB, ()),
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was understood, and the words that were not. `dated`: the question names its time."""

    query: Query
    unread: tuple[str, ...]
    dated: bool

    @property
    def whole(self) -> bool:
        return not self.unread


def read(question: str) -> Reading:
    """The question as a query. Never fails: what is not understood is among `unread`."""
    return _Reader(question[:MAX_QUESTION]).read()


@dataclass(slots=True)
class _Group:
    """An open parenthesis: conditions joined by `and`, those lists joined by `or`."""

    lists: list[list[Node]] = field(default_factory=lambda: [[]])
    negated: bool = False

    def node(self) -> Node | None:
        parts = [_all(part) for part in self.lists if part]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else Either(tuple(parts))


class _Reader:
    def __init__(self, question: str) -> None:
        self.words = [word_of(match[0]) for match in TOKEN.finditer(question)]
        self.words = with_countries([word for word in self.words if word.text or word.quoted])
        self.at = 0
        self.category: Category | None = None
        self.base: list[Node] = []
        self.groups = [_Group()]
        self.negated = False
        self.said_event = False
        self.window: Window | None = None
        self.counting = False
        self.by: list[Field] = []
        self.every: Unit | None = None
        self.unique: Field | None = None
        self.subject: Field | None = None
        self.threshold: tuple[Op, int] | None = None
        self.limit: int | None = None
        self.unread: list[str] = []

    def read(self) -> Reading:
        steps = (
            self._read_window, self._read_top, self._read_threshold, self._read_unique, self._read_group, self._read_count, self._read_connector,
            self._read_event, self._read_condition,
        )  # fmt: skip
        while self.at < len(self.words):
            before = self.at
            if any(step() for step in steps):
                continue
            self.at = before
            leads = self._now().low in _PREPOSITIONS and self._longest(words.EVENTS, 1) is not None
            if self._now().quoted or (self._now().low not in words.FILLER and not leads):
                self.unread.append(self._now().text)
            self.at += 1
        return self._finished()

    def _finished(self) -> Reading:
        while len(self.groups) > 1:
            self._close()
        if self.negated:
            self.unread.append("not")
        where = self.groups[0].node()
        base = [node for node in self.base if node not in self._listed(where)]
        parts = [*base, *(where.parts if isinstance(where, All) else [where] if where else [])]
        node = _all(parts) if parts else None
        category: Category | None = None if self.category is Category.ANY else self.category
        named = [test.field for test in tests_in(node)] + ([self.subject] if self.subject else [])
        named.sort(key=lambda one: one is Field.PATH)  # a program has a path too
        category = category or next((words.IMPLIED[one] for one in named if one in words.IMPLIED), None) or self.category
        if self.subject and not self.by:
            if self.counting and not self.threshold and not self.limit:
                self.unique = self.subject
            else:
                self.by = [self.subject]
        count = bool(self.counting or self.by or self.every or self.unique or self.threshold)
        if not parts and category is None and not count:
            self.unread = self.unread or [word.text for word in self.words] or ["(nothing)"]
        try:
            query = Query(
                category or Category.ANY, node, self.window or Last(), count, tuple(self.by), self.every, self.unique, self.threshold, self.limit
            )
        except BadQuery as error:
            return Reading(Query(), (*self.unread, str(error)), dated=self.window is not None)
        return Reading(query, tuple(self.unread), dated=self.window is not None)

    @staticmethod
    def _listed(node: Node | None) -> tuple[Node, ...]:
        return node.parts if isinstance(node, All) else (node,) if node else ()

    # ── Words ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self, ahead: int = 0) -> Word:
        place = self.at + ahead
        return self.words[place] if place < len(self.words) else Word("", False)

    def _is(self, *phrases: str) -> int:
        """How many words the first of these phrases that stands here has; 0 for none."""
        for phrase in phrases:
            parts = phrase.split(" ")
            if all(self._now(ahead).low == part and not self._now(ahead).quoted for ahead, part in enumerate(parts)):
                return len(parts)
        return 0

    def _take(self, *phrases: str) -> bool:
        length = self._is(*phrases)
        self.at += length
        return length > 0

    def _longest(self, table: Mapping[str, T], ahead: int = 0) -> tuple[T, int] | None:
        for length in range(_LONGEST, 0, -1):
            found = [self._now(ahead + place) for place in range(length)]
            if found[-1].text and not any(word.quoted for word in found):
                phrase = " ".join(word.low for word in found)
                if phrase in table:
                    return table[phrase], length
        return None

    def _number(self, ahead: int = 0) -> int | None:
        low = self._now(ahead).low
        return int(low) if re.fullmatch(r"[0-9]{1,9}", low) else words.NUMBERS.get(low)

    # ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _read_window(self) -> bool:
        start, before = self.at, self.window
        if not self._read_one_window():
            return False
        if before not in (None, self.window):
            self.window = before
            self.unread += [word.text for word in self.words[start : self.at]]
        return True

    def _read_one_window(self) -> bool:
        start = self.at
        if self._take("today", "since midnight"):
            self.window = Today()
            return True
        if self._take("yesterday"):
            self.window = Today(yesterday=True)
            return True
        if self._take("since") and (amount := self._number()) and self._now(1).low in words.UNITS and self._now(2).low == "ago":
            unit, factor = words.UNITS[self._now(1).low]
            self.window, self.at = Last(amount * factor, unit), self.at + 3
            return True
        self.at = start
        self._take("in", "over", "during", "within", "for", "from", "since")
        self._take("the")
        if self._take("last", "past", "previous"):
            shortened = re.fullmatch(r"([0-9]{1,4})(min|m|h|hrs|d|w)", self._now().low)
            if shortened:
                unit, factor = words.UNITS[shortened[2]]
                self.window, self.at = Last(int(shortened[1]) * factor, unit), self.at + 1
                return True
            amount = self._number()
            unit_word = self._now(0 if amount is None else 1).low
            if unit_word in words.UNITS and len(unit_word) > 1 and amount != 0:
                unit, factor = words.UNITS[unit_word]
                self.window, self.at = Last((amount or 1) * factor, unit), self.at + (1 if amount is None else 2)
                return True
        self.at = start
        return self._read_dates()

    def _read_dates(self) -> bool:
        start = self.at
        opening = self._now().low
        if opening not in ("since", "after", "between", "from", "on"):
            return False
        self.at += 1
        first = self._read_moment()
        if first is not None and opening == "on":
            self.window = Between(first[0], first[1])
            return True
        if first is not None and opening in ("between", "from") and self._take("and", "to", "until", "till", "through", "-"):
            if (last := self._read_moment()) is not None:
                self.window = Between(first[0], last[1])
                return True
        elif first is not None and opening != "between":
            self.window = Between(first[1] if opening == "after" else first[0])
            return True
        self.at = start
        return False

    def _read_moment(self) -> tuple[datetime, datetime] | None:
        """A date, with or without a time, as its begin and its end: a day ends with the day, a time where it begins."""
        text, length = self._now().text, 1
        if re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?Z?", self._now(1).text) and "T" not in text:
            text, length = f"{text}T{self._now(1).text:0>5}", 2
        if not _DATE.fullmatch(text):
            return None
        try:
            found = moment(text)
            end = found if "T" in text else found + timedelta(days=1)
        except (BadQuery, OverflowError):  # the latter: there is no day after the calendar's last
            return None
        self.at += length
        return found, end

    # ── Counts ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def _read_top(self) -> bool:
        start = self.at
        if self._take("limited to", "limit to", "limit") and (most := self._number()) is not None and self.limit is None:
            self.limit, self.at = most, self.at + 1
            return True
        self.at = start
        self._take("the")
        if self._take("top"):
            amount = self._number()
            self.at += amount is not None
        elif (amount := self._number()) is not None and self._is_most(1):
            self.at += 2
        elif self._is_most(0):
            self.at += 1
        else:
            self.at = start
            return False
        if self._now(-1).low in ("most", "top") and self._now().low in (
            "common",
            "active",
            "frequent",
            "targeted",
            "queried",
            "busiest",
            "frequently",
        ):
            self.at += 1
        if self._now().low in ("used", "seen", "queried"):
            self.at += 1
        found = self._field_here()
        if found is None:
            self.at = start
            return False
        self._add_group(found[0])
        self.at += found[1]
        self.counting, self.limit = True, amount or 10
        while self._is("and") and (more := self._field_here(1)) and not self._value_follows(1 + more[1]):
            self._add_group(more[0])
            self.at += 1 + more[1]
        if self._take("by"):
            counted = self.at
            if not self._take(*_COUNTING) and self._longest(words.EVENTS) is None:
                self.at = counted - 1
        return True

    def _is_most(self, ahead: int) -> bool:
        return self._now(ahead).low == "most" and self._now(ahead + 1).low in ("common", "active", "frequent", "targeted", "queried", "frequently")

    def _read_threshold(self) -> bool:
        found = self._longest(words.THRESHOLDS)
        if found is None or (amount := self._number(found[1])) is None:
            return False
        rest = found[1] + 1
        if (
            self._now(rest).low != "times"
            and self._longest(words.EVENTS, rest) is None
            and self._now(rest).low not in ("unique", "distinct", "different")
        ):
            return False
        self.at += rest + (self._now(rest).low == "times")
        self.threshold, self.counting = (found[0], amount), True
        return True

    def _read_unique(self) -> bool:
        if self._now().low not in ("unique", "distinct", "different") or (found := self._field_here(1)) is None:
            return False
        self.at += 1 + found[1]
        if self.counting or self._is("per", "for each", "by"):
            self.unique, self.counting = found[0], True
        else:
            self._add_group(found[0])
        return True

    def _read_group(self) -> bool:
        length = self._is(*_GROUPING)
        if not length:
            if self._take("over time"):
                self.every, self.counting = Unit.HOUR, True
                return True
            return False
        unit = self._now(length).low
        if unit in ("minute", "hour", "day"):
            self.every, self.counting, self.at = Unit(unit), True, self.at + length + 1
            return True
        found = self._field_here(length)
        if found is None or self._value_follows(length + found[1]):
            return False
        self.at += length + found[1]
        self.counting = True
        self._add_group(found[0])
        while self._now().low in ("and", ",") and (more := self._field_here(1)) and not self._value_follows(1 + more[1]):
            self._add_group(more[0])
            self.at += 1 + more[1]
        return True

    def _read_count(self) -> bool:
        if self._is("count", "total") and self._value_follows(1) and not self._longest(words.EVENTS, 1):
            return False
        if not self._take(*_COUNTING):
            return False
        self.counting = True
        return True

    def _add_group(self, name: Field) -> None:
        if name not in self.by:
            self.by.append(name)

    # ── Conditions ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _read_connector(self) -> bool:
        if self._take("("):
            self.groups.append(_Group(negated=self.negated))
            self.negated = False
            return True
        if self._is(")") and len(self.groups) > 1:
            self.at += 1
            self._close()
            return True
        if self._take("or"):
            self._drop_negation()
            self.groups[-1].lists.append([])
            return True
        if self._take("and", "but", "but also", ","):
            self._drop_negation()
            return True
        if self._now().low in _NEGATIONS and not self._now().quoted:
            self.at += 1
            self.negated = not self.negated
            return True
        return False

    def _drop_negation(self) -> None:
        """What was to be negated was not understood: the next condition is another."""
        if self.negated:
            self.unread.append("not")
            self.negated = False

    def _close(self) -> None:
        closed = self.groups.pop()
        node = closed.node()
        if node is not None:
            self.groups[-1].lists[-1].append(Not(node) if closed.negated else node)

    def _add(self, node: Node) -> None:
        others = self.groups[-1].lists[-1]
        if not self.negated and any(_excludes(node, other) for other in others):
            self.unread += [value for test in tests_in(node) for value in test.values]
            return
        others.append(Not(node) if self.negated else node)
        self.negated = False

    def _read_event(self) -> bool:
        event, name = self._longest({**words.EVENTS, **_VERBS}), self._field_here()
        if event is None or (name and (name[1] > event[1] or (name[1] == event[1] and self._compared(name[1])))):
            return False
        if name and name[1] == event[1] and (name[0] in self.by or self._acts(event[1])):
            return False
        (category, tests), length = event
        if self.category not in (None, Category.ANY, category):
            return category is Category.ANY and self._skip(length)
        if self.said_event and any(len(group.lists) > 1 for group in self.groups):
            return False  # what one event says of itself does not hold for the other
        if category is not Category.ANY or self.category is None:
            self.category = category
        self.at += length
        self.said_event = True
        if self.negated and tests:
            self._add(_all(list(tests)))
        else:
            self.base += [test for test in tests if test not in self.base]
        return True

    def _acts(self, ahead: int) -> bool:
        """Whether a verb follows: what is named does something, and is no event itself."""
        ahead += self._now(ahead).low in ("that", "which", "have", "has")
        return self._longest(_VERBS, ahead) is not None

    def _skip(self, length: int) -> bool:
        self.at += length
        return True

    def _read_condition(self) -> bool:
        """A comparison of a field, of what a preposition means, or of a value whose shape tells the field."""
        start, negated = self.at, self.negated
        if self._read_parent() or self._read_outside():
            return True
        preposition = ""
        if self._now().low in _PREPOSITIONS and not self._now().quoted:
            preposition = self._now().low
            self.at += 1
            self._take("the", "an", "a")
        found = self._field_here()
        if found is not None:
            self.at += found[1]
            bare = not preposition and not self.negated and not self._compares()
            if bare and self._is_ordinary(self._now(), plural=self._now(-1).low.endswith("s")):
                pass
            elif self._read_comparison(found[0], either=self.words[self.at - 1].low in ("ip", "ips", "addresses") and found[1] == 1):
                return True
            if preposition or self.subject or not self._may_be_subject():
                self.at, self.negated = start, negated
                return False
            self.subject = found[0]
            return True
        operator = self._longest(words.OPERATORS)
        if (
            not preposition
            and operator
            and operator[0] in (Op.CONTAINS, Op.STARTS, Op.ENDS)
            and (meant := words.TEXT.get(self.category or Category.ANY))
        ):
            return self._read_comparison(meant)
        if self._read_value(preposition):
            return True
        self.at, self.negated = start, negated
        return False

    def _compares(self) -> bool:
        return self._longest(words.OPERATORS) is not None or self._now().low in ("!=", *_NEGATIONS)

    @staticmethod
    def _is_ordinary(word: Word, *, plural: bool) -> bool:
        """Whether a word right after a field's name rather says something of it than is its value: "user added", "hosts infected"."""
        if word.quoted or not re.fullmatch(r"[A-Za-z]+", word.text):
            return False
        return (
            plural
            or word.low in words.NO_NAMES
            or re.fullmatch(r"\w{2,}(?:ed|ing)|sent|seen|run|made|written|hidden|stolen|taken", word.low) is not None
        )

    def _may_be_subject(self) -> bool:
        return self.category is None or self.counting or self._now(-1).low.endswith("s")

    def _read_parent(self) -> bool:
        if not self._take(*_PARENT_WORDS):
            return False
        if found := self._field_here():
            self.at += found[1]
            return self._read_comparison(found[0])
        name = Field.PARENT if is_program(self._now().text) or self._now().low in TOOLS else Field.USER
        return self._read_comparison(name)

    def _read_outside(self) -> bool:
        """Addresses inside or outside of the private networks."""
        length = 1 if self._now().low in ("from", "to") else 0
        kind = self._now(length).low
        if kind not in ("external", "internal", "public", "private", "outside"):
            return False
        destination = self._now().low == "to" or (not length and self._now(-1).low == "to")
        self.at += length + 1
        self._take("the", "our")
        self._take("source", "destination")
        self._take("ip addresses", "ip address", "addresses", "address", "ips", "ip", "hosts", "networks", "network")
        test = Test(Field.DESTINATION_IP if destination else Field.SOURCE_IP, Op.WITHIN, _PRIVATE)
        self._add(test if kind in ("internal", "private") else Not(test))
        return True

    def _read_comparison(self, name: Field, *, either: bool = False) -> bool:
        start, negated = self.at, self.negated
        operator = Op.IS
        said = False
        while True:
            if self._take("does not", "do not", "is not", "are not", "isn't", "doesn't", "not", "!=", "other than", "was not"):
                self.negated = not self.negated
            elif found := self._longest(words.OPERATORS):
                operator, self.at, said = found[0], self.at + found[1], True
            elif said and self._now().low in ("the", "a", "an", "any", "one", "of") and not self._now().quoted:
                self.at += 1
            else:
                break
        if self._is("exists", "is set", "present"):
            self.at += self._is("exists", "is set", "present")
            self._add(Test(name, Op.EXISTS))
            return True
        texts, joint = self._values(name, operator)
        if not texts:
            self.at, self.negated = start, negated
            return False
        try:
            node = self._tests(name, operator, texts, joint)
            if either and name in ADDRESSES:
                node = Either((self._tests(Field.SOURCE_IP, operator, texts, joint), self._tests(Field.DESTINATION_IP, operator, texts, joint)))
        except BadQuery:
            self.at, self.negated = start, negated
            return False
        self._add(node)
        return True

    def _read_value(self, preposition: str) -> bool:
        word = self._now()
        if not word.text or (not preposition and not word.quoted and shape_of(word.text) is None and word.low not in TOOLS):
            return False
        if preposition and not word.quoted and (word.low in words.FILLER or self._longest(words.EVENTS)):
            return False
        if preposition in ("named", "called"):
            named = {Category.FILE: Field.FILE, Category.ALERT: Field.RULE}.get(self.category or Category.ANY, Field.PROCESS)
            return self._read_comparison(named)
        fields, operator = self._meant(preposition, word)
        if not fields:
            return False
        start = self.at
        texts, joint = self._values(fields[0], operator)
        if not texts or (fields[0] in (Field.HOST, Field.USER, Field.DOMAIN) and not self._are_names(start)):
            self.at = start
            return False
        try:
            nodes = [self._tests(name, operator, texts, joint) for name in fields]
        except BadQuery:
            return False
        self._add(nodes[0] if len(nodes) == 1 else Either(tuple(nodes)))
        return True

    def _are_names(self, start: int) -> bool:
        """Whether the words from `start` can be names: no hour or number of things, and no noun of the plain text goes on after them."""
        named = [word for word in self.words[start : self.at] if word.low not in ("or", "and", ",") and not word.quoted]
        if any(word.low in words.NO_NAMES or not _NAME.fullmatch(word.text) or _HOUR.fullmatch(word.low) for word in named):
            return False
        follows = self._now()
        if not named or not follows.text or follows.quoted or follows.text in "(),<>=":
            return True
        if follows.low in _STOPS | _PREPOSITIONS | _NEGATIONS | words.FILLER or self._is(*_PARENT_WORDS):
            return True
        tables: tuple[Mapping[str, object], ...] = (_VERBS, words.THRESHOLDS, words.OPERATORS)
        if any(self._longest(table) for table in tables):
            return True
        found = self._field_here()
        return found is not None and self._compared(found[1])

    def _meant(self, preposition: str, word: Word) -> tuple[tuple[Field, ...], Op]:
        """The field, or either of two, that a value after a preposition is a value of."""
        shape, category = shape_of(word.text), self.category
        if shape == "address":
            if preposition in ("from", "for", "by"):
                return (Field.SOURCE_IP,), Op.IS
            if preposition in ("to", "against", "into"):
                return (Field.DESTINATION_IP,), Op.IS
            return (Field.SOURCE_IP, Field.DESTINATION_IP), Op.IS
        if shape == "hash":
            return (Field.HASH,), Op.IS
        if shape == "url":
            return ((Field.URL,), Op.IS) if category in (None, Category.WEB, Category.NETWORK) else ((), Op.IS)
        if word.text.startswith("/") and category is Category.WEB:
            return (Field.URL,), Op.CONTAINS
        if shape == "registry":
            return (Field.KEY,), Op.CONTAINS
        if shape == "path":
            return (Field.PATH,), Op.STARTS if preposition in ("in", "under", "inside", "within", "to", "from") else Op.IS
        if shape == "mailbox" and category is Category.EMAIL:
            return (Field.RECIPIENT if preposition == "to" else Field.SENDER,), Op.IS
        if shape == "program" or (word.low in TOOLS and preposition not in ("on", "at")):
            if category is Category.FILE and not preposition:
                return (Field.FILE,), Op.IS
            return (Field.PARENT if preposition == "by" and category in (None, Category.PROCESS) else Field.PROCESS,), Op.IS
        if word.low in COUNTRIES and preposition in ("from", "in"):
            return (Field.COUNTRY,), Op.IS
        if shape == "domain" and preposition in ("to", "for", "from", "into") and category in _DOMAINS:
            if category is Category.EMAIL:
                return (Field.SENDER if preposition == "from" else Field.RECIPIENT,), Op.ENDS
            return (Field.DOMAIN,), Op.IS
        if word.quoted and not preposition and (meant := words.TEXT.get(category or Category.ANY)):
            return (meant,), Op.CONTAINS
        if word.low in COUNTRIES:
            return (), Op.IS
        if preposition == "to" and category in (Category.NETWORK, Category.WEB) and not word.text.isdigit():
            return (Field.DOMAIN,), Op.IS  # the host that an event is of is the one that connects
        if preposition in ("on", "at", "against", "to", "from") and not word.text.isdigit():
            return (Field.HOST,), Op.IS
        if preposition in ("by", "as", "for") and not word.text.isdigit():
            return (Field.USER,), Op.IS
        return (), Op.IS

    def _tests(self, name: Field, operator: Op, texts: list[str], joint: bool) -> Node:
        tests = [comparison(name, operator, text) for text in texts]
        if joint:
            return _all(list(tests))
        merged: dict[tuple[Field, Op], list[str]] = {}
        for test in tests:
            merged.setdefault((test.field, test.op), []).extend(test.values)
        nodes: list[Node] = [Test(field, op, tuple(dict.fromkeys(values))) for (field, op), values in merged.items()]
        return nodes[0] if len(nodes) == 1 else Either(tuple(nodes))

    def _values(self, name: Field, operator: Op) -> tuple[list[str], bool]:
        """The values that stand here, and whether all of them are meant (contains 'a' and 'b')."""
        texts: list[str] = []
        joint = False
        while True:
            word = self._now()
            if not word.text or not self._is_value(name):
                return texts, joint
            texts.append(value_of(name, word))
            self.at += 1
            ahead = 1 + (self._now().low == "," and self._now(1).low in ("or", "and"))
            joining = self._now(ahead - 1).low
            if joining not in ("or", "and", ",") or not self._continues(name, ahead):
                return texts, joint
            joint = joint or (joining == "and" and operator is Op.CONTAINS)
            self.at += ahead

    def _is_value(self, name: Field, ahead: int = 0) -> bool:
        word = self._now(ahead)
        if word.quoted:
            return True
        if not word.text or word.text in "(),<>=":
            return False
        if name in NUMBERS:
            return word.text.isdigit()
        if name in ADDRESSES:
            return shape_of(word.text) == "address"
        if name is Field.SEVERITY:
            return word.low in ("critical", "high", "medium", "low", "informational")
        return self._plain_value(ahead) and word.low not in _NEGATIONS

    def _continues(self, name: Field, ahead: int) -> bool:
        """Whether the words after `and` or `or` go on with values of the same field."""
        if not self._is_value(name, ahead):
            return False
        if self._now(ahead).quoted or name in NUMBERS or name in ADDRESSES:
            return True
        return not self._longest(words.EVENTS, ahead) and not self._field_here(ahead) and self._now(ahead).low not in _PREPOSITIONS

    def _field_here(self, ahead: int = 0) -> tuple[Field, int] | None:
        return self._longest(words.FIELDS, ahead) or self._longest(words.PLURALS, ahead)

    def _compared(self, ahead: int) -> bool:
        """Whether what follows a field's name compares it."""
        if self._now(ahead).low in ("was", "were", "are", "in") and self._now(ahead - 1).low.endswith("s"):
            return False  # "processes were started by", "processes in C:\\Temp"
        return self._longest(words.OPERATORS, ahead) is not None or self._now(ahead).low in ("!=", "not") or self._value_follows(ahead)

    def _value_follows(self, ahead: int) -> bool:
        word = self._now(ahead)
        if not word.text:
            return False
        if word.quoted or (self._longest(words.OPERATORS, ahead) is not None and word.low not in ("in", "over", "under")):
            return True
        return word.low not in _NEGATIONS and self._plain_value(ahead)

    def _plain_value(self, ahead: int) -> bool:
        word = self._now(ahead)
        if word.low in words.FILLER or word.low in _STOPS or word.low in _PREPOSITIONS or word.text in "(),":
            return False
        tables: tuple[Mapping[str, object], ...] = (words.EVENTS, _VERBS, words.THRESHOLDS, _PARENT_PHRASES)
        return not any(self._longest(table, ahead) for table in tables)


_PARENT_PHRASES: Final = dict.fromkeys(_PARENT_WORDS, True)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?Z?)?")
_NAME: Final = re.compile(r"[\w.$*@\\-]*[A-Za-z_*][\w.$*@\\-]*")  # not of digits and dots alone
_HOUR: Final = re.compile(r"[0-9]{1,2}(?:[:.][0-9]{2})?(?:am|pm|h)?|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?")
_STOPS: Final = frozenset(
    words.split(
        "and or but today yesterday per grouped group top sorted order since between before after last past previous each over time times more at limit"
    )
)
_DOMAINS: Final = frozenset({Category.DNS, Category.NETWORK, Category.WEB, Category.EMAIL})


def _excludes(node: Node, other: Node) -> bool:
    """Whether both ask for one value of the same field, and for different ones: no event has both."""
    return (
        isinstance(node, Test)
        and isinstance(other, Test)
        and node.field is other.field
        and node.op is other.op is Op.IS
        and node.field is not Field.RECIPIENT
        and not set(node.values) & set(other.values)
    )


def _all(parts: list[Node]) -> Node:
    flat = [one for part in parts for one in (part.parts if isinstance(part, All) else (part,))]
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def literals(question: str) -> list[str]:
    """The quoted texts, addresses, hashes, programs, mailboxes, paths, domains, URLs and numbers of a question: no query may leave them out.

    A number of hours or days is no such number: it is in the query's time.
    """
    found = [word_of(match[0]) for match in TOKEN.finditer(question[:MAX_QUESTION])]
    return [
        word.text
        for word, after in zip(found, [*found[1:], Word("", False)], strict=True)
        if word.text and (word.quoted or shape_of(word.text) is not None or (word.text.isdigit() and after.low not in words.UNITS))
    ]


def negates(question: str) -> bool:
    """Whether the question asks for what is not."""
    return any(not word.quoted and word.low in _NEGATIONS for word in (word_of(match[0]) for match in TOKEN.finditer(question[:MAX_QUESTION])))
