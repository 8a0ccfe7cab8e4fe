"""An alert as a value: read strictly from a body, or leniently from what somebody pasted. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from json import JSONDecodeError
from typing import Any, Final

from airgap.read_json import read_json

MAX_TITLE: Final = 500  # characters
MAX_TEXT: Final = 20_000
MAX_TAGS: Final = 100
MAX_FIELDS: Final = 2000
MAX_DEPTH: Final = 32
_OWN: Final = frozenset({"title", "description", "severity", "source", "tags", "raw"})
_TITLES: Final = ("title", "name", "alertname", "alert_name", "rule_name", "displayname", "signature", "eventname", "summary", "message")
_DESCRIPTIONS: Final = ("description", "desc", "details", "reason", "body", "text")
_SOURCES: Final = ("source", "product", "vendor", "provider", "productname", "vendor_name", "sourcetype", "eventsource", "detector", "service")
_SEVERITIES: Final = ("severity", "priority", "level", "risk", "urgency")
_OBJECT: Final = re.compile(r"(?:\[\s*)?\{\s*\"")  # how an object of JSON, or a list of them, begins


class AlertError(ValueError):
    """The alert cannot be read. `field` is its path in the body; the text names the fix."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


@dataclass(frozen=True)
class Field:
    """One text, number or truth of the raw event. name: the last step of its path, without case and separators; above: the step before."""

    path: str
    name: str
    above: str
    text: str


@dataclass(frozen=True)
class Alert:
    """What a detection says. raw: the event behind it, as its product wrote it."""

    title: str = ""
    description: str = ""
    severity: str = ""
    source: str = ""
    tags: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, body: Any) -> "Alert":
        """The alert of a request. Raises AlertError. Keys it does not know are the raw event where no "raw" is given, else they are not read."""
        if not isinstance(body, Mapping):
            raise AlertError("alert", 'An alert is a JSON object with "title", "description", "severity", "source", "tags" and "raw".')
        raw, tags = body.get("raw"), body.get("tags")
        if raw is not None and not isinstance(raw, Mapping):
            raise AlertError("alert.raw", "raw is a JSON object: the event as its product wrote it.")
        if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) and len(tags) <= MAX_TAGS):
            raise AlertError("alert.tags", f"tags is a list of at most {MAX_TAGS} texts.")
        alert = cls(
            title=_text(body, "title", MAX_TITLE),
            description=_text(body, "description", MAX_TEXT),
            severity=_severity(body),
            source=_text(body, "source", 200),
            tags=tuple(tag.strip()[:200] for tag in tags or () if tag.strip()),
            raw={name: value for name, value in body.items() if name not in _OWN} if raw is None else raw,
        )
        if not (alert.title or alert.description or alert.raw):
            raise AlertError("alert", "The alert is empty: give it a title, a description or the raw event.")
        return alert

    @classmethod
    def pasted(cls, text: str) -> "Alert":
        """The alert in what somebody pasted: our own shape, any product's JSON, or plain text. Raises AlertError when there is nothing.

        JSON that is cut off is refused, and so are several alerts at once.
        """
        text = text.strip()
        if not text:
            raise AlertError("alert", "Paste an alert: JSON, or its text.")
        try:
            body = read_json(text)
        except (ValueError, RecursionError) as error:
            _whole(text, error)
            body = None
        if isinstance(body, list) and len(body) > 1 and all(isinstance(one, Mapping) for one in body):
            raise AlertError("alert", f"These are {len(body):,} alerts. Paste one of them.")
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        if not isinstance(body, Mapping):
            first, _, rest = text.partition("\n")
            return cls(title=first.strip()[:MAX_TITLE], description=text[:MAX_TEXT] if rest.strip() or len(first) > MAX_TITLE else "")
        if isinstance(body.get("alert"), Mapping):
            body = body["alert"]
        if isinstance(body.get("raw"), Mapping) or not body.keys() - _OWN:
            return cls.read(body)
        return cls.of_event(body)

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "Alert":
        """An event of some product, whose own names are guessed for the title and the source."""
        found: dict[str, str] = {}
        whole = cls(raw=event)
        for wanted in ("title", "description", "source", "severity"):
            names = {"title": _TITLES, "description": _DESCRIPTIONS, "source": _SOURCES, "severity": _SEVERITIES}[wanted]
            by_name = {one.name: one.text for one in reversed(whole.fields) if one.path.count(".") <= 2}
            found[wanted] = next((by_name[plain] for name in names if (plain := _plain(name)) in by_name), "")
        tags = event.get("tags")
        return cls(
            title=found["title"][:MAX_TITLE],
            description=found["description"][:MAX_TEXT],
            severity=found["severity"].lower()[:40],
            source=found["source"][:200],
            tags=tuple(tag[:200] for tag in tags[:MAX_TAGS] if isinstance(tag, str)) if isinstance(tags, list) else (),
            raw=event,
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "description": self.description,
            "severity": self.severity,
            "source": self.source,
            "tags": list(self.tags),
            "raw": dict(self.raw),
        }

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The texts, numbers and truths of the raw event, in its order; the first MAX_FIELDS."""
        return tuple(_fields(self.raw))

    @cached_property
    def prose(self) -> str:
        """Title, description and tags."""
        return "\n".join((self.title, self.description, " ".join(self.tags)))

    @cached_property
    def text(self) -> str:
        """Everything it says, in one text, bounded."""
        return "\n".join((self.prose, self.source, *(f"{one.path}={one.text}" for one in self.fields)))[: 4 * MAX_TEXT]


def _whole(text: str, error: Exception) -> None:
    """Raises AlertError for an object of JSON that was cut off or joined to another: read as text it would lose its fields without a word."""
    if not isinstance(error, JSONDecodeError) or not _OBJECT.match(text):
        return
    if error.msg == "Extra data" and text[error.pos :].startswith("{"):
        raise AlertError("alert", "These are several alerts, one after another. Paste one of them.")
    where = f"line {error.lineno}, column {error.colno}: {error.msg}"
    raise AlertError("alert", f"This begins as JSON and is none: {where}. Paste the whole alert, as its product exports it.")


def _severity(body: Mapping[str, Any]) -> str:
    """A word, or the number that many products give."""
    value = body.get("severity")
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _text(body, "severity", 40).lower()


def _text(body: Mapping[str, Any], name: str, most: int) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AlertError(f"alert.{name}", f"{name} is a text.")
    if len(value) > most:
        raise AlertError(f"alert.{name}", f"{name} is longer than {most} characters; put the whole event into raw.")
    return value.strip()


def _fields(raw: Any) -> Iterator[Field]:
    stack: list[tuple[Any, str, str, str, int]] = [(raw, "", "", "", 0)]
    left = MAX_FIELDS
    while stack and left:
        value, path, above, name, depth = stack.pop()
        if isinstance(value, Mapping):
            if depth < MAX_DEPTH:
                stack.extend((value[key], f"{path}.{key}".lstrip(".")[:200], name, _plain(str(key)), depth + 1) for key in reversed(list(value)))
        elif isinstance(value, list):
            if depth < MAX_DEPTH:
                stack.extend((item, path, above, name, depth + 1) for item in reversed(value[:MAX_FIELDS]))
        elif value is not None and value != "":
            left -= 1
            yield Field(path, name, above, str(value)[:MAX_TEXT])


def _plain(name: str) -> str:
    """`source.ip`, `Source_IP` and `sourceIp` are one name."""
    return re.sub(r"[^a-z0-9]", "", name[:120].lower())
