"""Many values at once, a line each as they are pasted: which of them the store knows, which not, and which lines are none."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils import timezone

from console.indicators import Row, row_of_view
from console.process import Witness, witness
from console.shown import defanged
from threatintel.canonical import recognise
from threatintel.lookup import Pair, lookup
from threatintel.observables import every_meaning

MOST_LINES: Final = 10_000
MOST_BYTES: Final = 2_000_000
SHOWN: Final = 500  # matches; the CSV has all
LISTED: Final = 100  # lines that are no observable, and values that are not known
LONGEST_LINE: Final = 200  # characters of a line that are shown
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """A value that was pasted, and what the store knows: the value itself, and networks that contain it."""

    type: str
    value: str
    text: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class BulkPage:
    """lines: those that are not empty. repeated: those that say again what an earlier one says. problem: why nothing was looked up."""

    computed_at: datetime
    witness: Witness
    pasted: str = ""
    problem: str = ""
    lines: int = 0
    values: int = 0
    repeated: int = 0
    matches: tuple[Match, ...] = ()
    unknown: tuple[str, ...] = ()
    unread: tuple[Line, ...] = ()
    types: tuple[tuple[str, int], ...] = ()

    @property
    def shown(self) -> tuple[Match, ...]:
        return self.matches[:SHOWN]

    @property
    def unknown_shown(self) -> tuple[str, ...]:
        return self.unknown[:LISTED]

    @property
    def unread_shown(self) -> tuple[Line, ...]:
        return self.unread[:LISTED]


def bulk_page(pasted: str | None) -> BulkPage:
    """None: nothing was pasted yet. Raises django.db.Error when the database is away."""
    now, seen_by = timezone.now(), witness()
    if pasted is None:
        return BulkPage(now, seen_by)
    lines = [Line(number, text) for number, line in enumerate(pasted.splitlines(), 1) if (text := line.strip())]
    if not lines:
        return BulkPage(now, seen_by, problem="Values: paste at least one, a line each.")
    if len(lines) > MOST_LINES:
        return BulkPage(now, seen_by, problem=f"Values: {len(lines):,} lines; at most {MOST_LINES:,} are looked up at once. Paste them in parts.")
    meanings = [tuple(every_meaning(line.text)) for line in lines]
    known = lookup(pair for meant in meanings for pair in meant)
    matches: list[Match] = []
    unknown: list[str] = []
    unread: list[Line] = []
    asked: Counter[Pair] = Counter()
    for line, meant in zip(lines, meanings, strict=True):
        pair = recognise(line.text) or next((one for one in meant if one in known), None)
        if pair is None:
            unread.append(Line(line.number, line.text[:LONGEST_LINE]))
            continue
        asked[pair] += 1
        if asked[pair] > 1:
            continue
        text = defanged(*pair)
        if rows := tuple(row_of_view(view) for one in meant for view in known.get(one, ())):
            matches.append(Match(*pair, text, rows))
        else:
            unknown.append(text)
    return BulkPage(
        now,
        seen_by,
        pasted=pasted,
        lines=len(lines),
        values=len(asked),
        repeated=asked.total() - len(asked),
        matches=tuple(matches),
        unknown=tuple(unknown),
        unread=tuple(unread),
        types=tuple(Counter(type for type, _ in asked).most_common()),
    )


def bulk_csv(page: BulkPage) -> str:
    """A line for each match; a value that a spreadsheet would take for a formula has an apostrophe before it."""
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(("asked_type", "asked_value", "type", "value", "status", "confidence", "tlp", "labels", "feeds", "last_seen"))
    for match in page.matches:
        for row in match.rows:
            one = row.view
            last = one.last_seen.isoformat() if one.last_seen else ""
            cells = (
                match.type,
                match.value,
                one.type,
                one.value,
                one.status,
                one.confidence,
                one.tlp,
                " ".join(one.labels),
                " ".join(row.feeds),
                last,
            )
            lines.writerow([_inert(str(cell)) for cell in cells])
    return out.getvalue()


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell
