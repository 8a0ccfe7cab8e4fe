"""What the page "Audit checklist" shows: one run over the checklist, what was signed off and what changed since, and what the air gap would refuse."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.http import QueryDict
from django.utils import timezone

from airgap.attest import DAYS, MOST_DAYS, Standing, history
from airgap.audit import Audit, Row, audit
from airgap.checklist import Verdict as Result
from airgap.models import SignOff
from airgap.readiness import Readiness, readiness
from airgap.signoff import Change, Signed, changes, latest, shown
from airgap.verify_report import read_span
from console.database import DATABASE_AWAY
from console.process import Witness, witness
from console.verdict import Banner
from threatintel.snapshot import Verdict

WINDOWS: Final = (("1h", "1 h"), ("24h", "24 h"), ("7d", "7 days"), ("30d", "30 days"))
DEFAULT: Final = "24h"
FRESH: Final = 60.0  # seconds for which the count in the navigation is good
PAGES: Final[Mapping[str, tuple[str, str]]] = {
    "no_blocks": ("console:egress", "Blocked egress"),
    "feeds_internal": ("console:feeds", "Threat-intel feeds"),
    "feeds_fresh": ("console:feeds", "Threat-intel feeds"),
    "feeds_tls": ("console:feeds", "Threat-intel feeds"),
}  # where the evidence of an item is in full; that of the others is on Deployment & AI
ELSEWHERE: Final = ("console:deployment", "Deployment & AI")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the reader asked for. `against`: the sign-off to compare with, 0 for the latest."""

    window: str = DEFAULT
    against: int = 0

    @classmethod
    def read(cls, query: QueryDict) -> "Asked":
        window, against = query.get("span", DEFAULT), query.get("against", "")
        known = against.isascii() and against.isdigit() and len(against) < 19
        return cls(window if window in dict(WINDOWS) else DEFAULT, int(against) if known else 0)

    @property
    def span(self) -> timedelta:
        return read_span(self.window)


@dataclass(frozen=True, slots=True)
class Form:
    """What was typed into a form that was not taken, with what to correct. item "": the sign-off."""

    item: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as a row. `page`: where its evidence is in full."""

    number: int
    row: Row
    page: tuple[str, str] | None
    form: Form | None

    @property
    def can_accept(self) -> bool:
        return not self.row.is_attested and self.row.accepted is None and self.row.verdict in (Result.FAILING, Result.ATTENTION)


@dataclass(frozen=True, slots=True)
class ChecklistPage:
    """One answer of the page, in HTML, Markdown and JSON alike."""

    banner: Banner
    computed_at: datetime
    witness: Witness
    asked: Asked
    audit: Audit
    rows: tuple[ItemRow, ...]
    readiness: Readiness
    signed: tuple[Signed, ...]
    against: Signed | None
    changes: tuple[Change, ...]
    history: tuple[Standing, ...]
    form: Form | None
    database_away: bool = False

    @property
    def windows(self) -> tuple[tuple[str, str], ...]:
        return WINDOWS

    @property
    def default_days(self) -> int:
        return DAYS

    @property
    def most_days(self) -> int:
        return MOST_DAYS

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.audit.as_dict(),
            "seen_by": asdict(self.witness),
            "readiness": self.readiness.as_dict(),
            "sign_offs": [one.as_dict() for one in self.signed],
            "compared_with": self.against.id if self.against else None,
            "changes": [asdict(one) for one in self.changes],
        }


def checklist_page(asked: Asked, form: Form | None = None) -> ChecklistPage:
    """The page with the database, or, when that is away, with every item UNKNOWN."""
    done = audit(asked.span)
    _remember(done)
    try:
        signed, told, away = latest(), tuple(history()), False
    except DATABASE_AWAY:
        signed, told, away = [], (), True
    against = next((one for one in signed if one.pk == asked.against), signed[0] if signed else None)
    return ChecklistPage(
        banner=banner(done, against),
        computed_at=timezone.now(),
        witness=witness(),
        asked=asked,
        audit=done,
        rows=tuple(_item(number, row, form) for number, row in enumerate(done.rows, 1)),
        readiness=readiness(),
        signed=tuple(shown(one) for one in signed),
        against=shown(against) if against else None,
        changes=changes(against.snapshot, done) if against else (),
        history=told,
        form=form,
        database_away=away,
    )


def _item(number: int, row: Row, form: Form | None) -> ItemRow:
    of_item = form if form is not None and form.item == row.checked.item.id else None
    return ItemRow(number, row, None if row.is_attested else PAGES.get(row.checked.item.id, ELSEWHERE), of_item)


def banner(done: Audit, against: SignOff | None) -> Banner:
    """The verdict of the audit; what was accepted does not change it and is said."""
    open_items = [row.checked.item.title for row in done.rows if not row.is_done]
    points = [f"Open: {'; '.join(open_items)}."] if open_items else []
    points += [
        f"Accepted by {row.accepted.row.by} until {row.accepted.row.expires_at:%Y-%m-%d}: {row.checked.item.title}. {row.accepted.row.note}"
        for row in done.rows
        if row.accepted is not None
    ]
    if against is None:
        points.append("Never signed off.")
    return Banner(Verdict(done.verdict.value), f"{done.tally}.", tuple(points))


# ── The count in the navigation ──────────────────────────────────────────────────────────────────────────────────────
_count: tuple[float, str] = (0.0, "")


def done_count() -> str:
    """`3 of 14 done`, at most a minute old: every page shows it, and a whole run is not for every page."""
    when, words = _count
    if not words or time.monotonic() - when > FRESH:
        words = _remember(audit())
    return words


def _remember(done: Audit) -> str:
    global _count
    words = done.tally.split(" · ", 1)[0]
    _count = (time.monotonic(), words)
    return words
