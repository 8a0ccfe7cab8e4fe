"""What the reader of Indicators asked for: a value in any form, words to match, a place in the list. Rubbish is named and not used."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing
from django.http import QueryDict

from console.egress_filter import shown
from threatintel.canonical import MAX_TEXT, TYPES
from threatintel.queries import ACTIVE, EXPIRED, REVOKED
from threatintel.specs import Tlp

STATUSES: Final = (ACTIVE, EXPIRED, REVOKED)
TLPS: Final = tuple(tlp.value for tlp in Tlp)
LONGEST_LABEL: Final = 200
WORDS: Final = ("type", "feed", "status", "tlp", "label")
CURSOR_SALT: Final = "console.indicators"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader has come to: after the indicator that was stored then, with this key."""

    at: datetime
    key: UUID


@dataclass(frozen=True, slots=True)
class Asked:
    """value: as pasted. words: what to match, in the order of WORDS. problems: what could not be used, field by field."""

    value: str = ""
    words: dict[str, str] = field(default_factory=dict)
    after: Position | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: QueryDict, feeds: Collection[str]) -> "Asked":
        """feeds: the names of those that have indicators, or could."""
        problems: list[str] = []
        value = given.get("q", "").strip()
        if len(value) > MAX_TEXT or not value.isprintable():
            problems.append(f"Value: at most {MAX_TEXT:,} characters, on one line. It is not used; paste many values below “Look up many”.")
            value = ""
        words = {}
        known = {"type": TYPES, "feed": feeds, "status": STATUSES, "tlp": TLPS}
        for name in WORDS:
            text = given.get(name, "").strip()
            if not text:
                continue
            if name == "label" and (len(text) > LONGEST_LABEL or not text.isprintable()):
                problems.append(f"Label: {shown(text)} is none: at most {LONGEST_LABEL} printable characters. It is not used.")
            elif name != "label" and text not in known[name]:
                problems.append(f"{'TLP' if name == 'tlp' else name.capitalize()}: {shown(text)} is not one of the list. It is not used.")
            else:
                words[name] = text
        cursor = given.get("cursor", "")
        after = position_of(cursor) if cursor else None
        if cursor and after is None:
            problems.append("cursor: this is no place in the list that this deployment gave. The newest indicators are shown.")
        return cls(value, words, after, tuple(problems))

    def __bool__(self) -> bool:
        return bool(self.value or self.words)

    def query(self, **more: str) -> str:
        """The address of the page, from the question mark on."""
        given = {**({"q": self.value} if self.value else {}), **self.words, **more}
        return f"?{urlencode(given)}" if given else ""

    def api_query(self) -> str:
        """The same for /api/v1/iocs/search, which calls the feed a source."""
        words = {"source" if name == "feed" else name: text for name, text in self.words.items()}
        given = {**({"value": self.value} if self.value else {}), **words}
        return f"?{urlencode(given)}" if given else ""


def cursor_of(position: Position) -> str:
    return signing.dumps([position.at.isoformat(), position.key.hex], salt=CURSOR_SALT)


def position_of(cursor: str) -> Position | None:
    """The position in a cursor; None for one that was not signed here."""
    try:
        at, key = signing.loads(cursor, salt=CURSOR_SALT)
    except signing.BadSignature:
        return None
    return Position(datetime.fromisoformat(at), UUID(key))
