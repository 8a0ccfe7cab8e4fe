"""What the reader of Blocked egress asked for: a span, words to match, a place in the list. Rubbish is named and not used."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from django.core import signing
from django.http import QueryDict

from airgap.hosts import Malformed, Url
from airgap.queries import SPANS, EventFilter, Position, Span

DEFAULT: Final = SPANS[1]
LONGEST: Final = {"node": 120, "purpose": 64, "rule": 32, "tenant": 64, "host": 253}  # as the trail keeps them
CURSOR_SALT: Final = "console.egress"


@dataclass(frozen=True, slots=True)
class Asked:
    """`words`: what to match, by field, in the order of LONGEST. `problems`: what could not be used, field by field."""

    span: Span = DEFAULT
    words: dict[str, str] = field(default_factory=dict)
    after: Position | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: QueryDict) -> "Asked":
        problems: list[str] = []
        word, cursor = str(given.get("span", DEFAULT.word)), str(given.get("cursor", ""))
        span = next((span for span in SPANS if span.word == word), None)
        if span is None:
            allowed = ", ".join(span.word for span in SPANS)
            problems.append(f"span: {shown(word)} is not one of {allowed}. The {DEFAULT.title.lower()} are shown.")
        words = {}
        for name, longest in LONGEST.items():
            text = given.get(name, "").strip()
            if name == "host":
                text = host_in(text)
            if not text.isprintable() or len(text) > longest:
                problems.append(f"{name}: {shown(text)} is not one: at most {longest} printable characters. It is not used.")
            elif text:
                words[name] = text
        after = None
        if cursor:
            after = position_of(cursor)
            if after is None:
                problems.append("cursor: this is no place in the list that this deployment gave. The newest events are shown.")
        return cls(span or DEFAULT, words, after, tuple(problems))

    def wanted(self, now: datetime) -> EventFilter:
        word = {name: self.words.get(name, "") for name in LONGEST}
        return EventFilter(
            since=self.span.since(now), host=word["host"], rule=word["rule"], node=word["node"], purpose=word["purpose"], tenant=word["tenant"]
        )

    @property
    def described(self) -> str:
        """`purpose feed.kev, node api-2`; "" without a filter."""
        return ", ".join(f"{name} {text}" for name, text in self.words.items())

    @property
    def lately(self) -> str:
        """`last 24 h`, as a sentence goes on with it."""
        return self.span.title[:1].lower() + self.span.title[1:]

    def query(self, **more: str) -> str:
        """The address of the page, from the question mark on."""
        return f"?{urlencode({'span': self.span.word, **self.words, **more})}"

    def api_query(self, now: datetime) -> str:
        """The same for /api/v1/airgap/events, which knows no node: since in full, and the words."""
        since = self.span.since(now).astimezone(UTC).isoformat().replace("+00:00", "Z")
        return f"?{urlencode({'since': since, **{name: text for name, text in self.words.items() if name != 'node'}}, safe=':')}"


def host_in(text: str) -> str:
    """The host as the trail names it, also out of a URL or host:port; other text as it is, for `(other)` and malformed hosts."""
    as_url = text if "://" in text else f"https://{text}" if ":" in text else ""
    url = Url.parse(as_url)
    return text if isinstance(url, Malformed) else str(url.host)


def shown(text: str) -> str:
    """Text as a message may repeat it."""
    return ascii(text[:40])


def cursor_of(position: Position) -> str:
    return signing.dumps([position.minute.isoformat(), position.row], salt=CURSOR_SALT)


def position_of(cursor: str) -> Position | None:
    """The position in a cursor; None for one that was not signed here."""
    try:
        minute, row = signing.loads(cursor, salt=CURSOR_SALT)
    except signing.BadSignature:
        return None
    return Position(datetime.fromisoformat(minute), int(row))
