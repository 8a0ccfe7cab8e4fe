"""How words, times and numbers are written on the pages."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from console import advice, shown
from threatintel.snapshot import Verdict

register = template.Library()


@register.inclusion_tag("console/parts/badge.html")
def badge(verdict: str, text: str = "") -> dict[str, str]:
    """Shape, word and colour of one of the six verdicts. `text` stands in for the word where the state has its own."""
    return {"verdict": Verdict(verdict).value, "text": text or str(verdict)}


@register.inclusion_tag("console/parts/copy.html")
def copy(text: object, name: str = "") -> dict[str, str]:
    """A button that copies `text`; `name` says what it copies when the text itself would be too long to read out."""
    return {"text": str(text), "name": name or str(text)}


@register.inclusion_tag("console/parts/curl.html", takes_context=True)
def curl(context: dict[str, Any], path: str, token: bool = False) -> dict[str, str]:
    """The command that proves what a section says, with the scheme and host of this request."""
    address = context["request"].build_absolute_uri(path)
    header = '-H "Authorization: Token $TOKEN" ' if token else ""
    return {"command": f"curl -s {header}'{address}'", "path": path}


@register.simple_tag
def moment(value: datetime | None, never: str = "never") -> SafeString | str:
    """`4 min ago · 14:03:11Z` in a <time>."""
    if value is None:
        return never
    value = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}"><span class="ago">{}</span><span class="dot"> · </span><span class="clock">{}</span></time>',
        value.isoformat(timespec="seconds").replace("+00:00", "Z"),
        ago(timezone.now() - value),
        clock(value),
    )


@register.simple_tag
def stamp(value: datetime | None, never: str = "never") -> str:
    """The same moment in full, for text that is kept: `2026-11-23T14:03:11Z`."""
    return never if value is None else value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@register.filter
def clock(value: datetime) -> str:
    """UTC; with the date when it is not today's."""
    value = value.astimezone(UTC)
    return f"{value:%H:%M:%SZ}" if value.date() == timezone.now().astimezone(UTC).date() else f"{value:%Y-%m-%d %H:%M:%SZ}"


def ago(age: timedelta) -> str:
    """Rough age in words; a moment to come is `in …`."""
    seconds = age.total_seconds()
    if abs(seconds) < 5:
        return "now"
    return f"{_span(seconds)} ago" if seconds > 0 else f"in {_span(-seconds)}"


def _span(seconds: float) -> str:
    for unit, size, least in (("d", 86400, 2), ("h", 3600, 2), ("min", 60, 1)):
        if seconds >= least * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


@register.filter
def every(seconds: int) -> str:
    """A poll period in the largest unit that fits exactly: `24 h`, `15 min`, `90 s`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def took(span: timedelta | None) -> str:
    return "–" if span is None else f"{span.total_seconds():.1f} s"


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def host_port(event: Mapping[str, Any]) -> str:
    """The target of an event of the trail."""
    return advice.host_port(event["host"], event["port"])


@register.filter
def unlinked(text: object) -> str:
    """Text of a source, so that nothing makes a link of it and every character shows."""
    return shown.unlinked(text)


@register.filter
def visible(text: object) -> str:
    """Text of a source as it is, but that every character shows."""
    return shown.visible(str(text))


@register.filter
@lru_cache(maxsize=1024)
def breakable(text: str) -> SafeString:
    """A long word that may go on in the next line after each `_` and `.`; copied, it is the same text."""
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in re.split(r"(?<=[_.])", text)))


@register.filter
def cell(text: object) -> str:
    """Text inside one cell of a Markdown table."""
    words = " ".join(str(text).split())
    return re.sub(r"([\\|<`\[])", r"\\\1", words) or "–"
