"""What the page of all tenants shows: a row a tenant, those that inherit too, with filters; the same in JSON and Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from console.process import Witness, witness
from console.tenant_rows import TenantRow, read_rows, tally
from console.verdict import Banner
from console.wording import counted, in_words
from tenants.acting import Acting
from tenants.roles import CHANGE_READERS
from threatintel.snapshot import Verdict

PAGE: Final = 100  # tenants
GATES: Final = {"allowed": "allowed", "refused": "refused", "none": "nothing to judge"}
SOURCES: Final = {"tenant": "tenant row", "environment": "environment", "none": "none"}
PATHS: Final = {"live": "LIVE", "untried": "LIVE, not tried yet", "failing": "LIVE, but failing", "fallback": "FALLBACK"}
_WORST: Final = (Verdict.FAILING, Verdict.ATTENTION, Verdict.UNKNOWN, Verdict.OK)


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """What the reader asked for; a word that is none of the choices is no filter. after: the slug after which the page begins."""

    gate: str = ""
    source: str = ""
    path: str = ""
    text: str = ""
    after: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "TenantFilter":
        def one_of(name: str, choices: Mapping[str, str]) -> str:
            return query.get(name, "") if query.get(name, "") in choices else ""

        gate, source, path = one_of("gate", GATES), one_of("source", SOURCES), one_of("path", PATHS)
        return cls(gate, source, path, query.get("q", "").strip()[:200], query.get("after", "")[:63])

    def __bool__(self) -> bool:
        return bool(self.gate or self.source or self.path or self.text)

    @property
    def asked(self) -> dict[str, str]:
        """As a query, without the place in the list."""
        given = {"gate": self.gate, "source": self.source, "path": self.path, "q": self.text}
        return {name: value for name, value in given.items() if value}

    def covers(self, row: TenantRow) -> bool:
        words = " ".join((row.tenant.slug, row.tenant.name, row.host, row.resolved.model)).lower()
        return (
            self.gate in ("", row.gate.word)
            and self.source in ("", row.resolved.source.value)
            and self.path in ("", row.path.state)
            and self.text.lower() in words
        )


@dataclass(frozen=True, slots=True)
class TenantsPage:
    """rows: what the filter leaves, one page of it. next_after: the slug after which the next page begins, "" on the last."""

    banner: Banner
    computed_at: datetime
    witness: Witness
    rows: tuple[TenantRow, ...]
    filter: TenantFilter
    total: int
    found: int
    next_after: str
    reads_changes: bool

    @property
    def caption(self) -> str:
        if self.filter:
            return f"{self.found:,} of {counted(self.total, 'tenant')}, filtered"
        return f"{counted(self.total, 'tenant')}, those that inherit the operator's connection too"

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.banner.verdict,
            "sentence": self.banner.sentence,
            "points": list(self.banner.points),
            "computed_at": self.computed_at,
            "seen_by": self.witness.node,
            "policy": self.witness.digest,
            "tenants": [row.as_dict(changes=self.reads_changes) for row in self.rows],
        }


def tenants_page(now: Acting, wanted: TenantFilter, *, whole: bool = False) -> TenantsPage:
    """whole: every row that the filter leaves, for a file. Raises django.db.Error when the database is away."""
    rows = read_rows(now)
    found = [row for row in rows if wanted.covers(row)]
    rest = found if whole else [row for row in found if row.tenant.slug > wanted.after]
    shown = rest if whole else rest[:PAGE]
    return TenantsPage(
        banner=tenants_banner(rows),
        computed_at=timezone.now(),
        witness=witness(),
        rows=tuple(shown),
        filter=wanted,
        total=len(rows),
        found=len(found),
        next_after=shown[-1].tenant.slug if len(rest) > len(shown) else "",
        reads_changes=now.role in CHANGE_READERS,
    )


def tenants_banner(rows: Sequence[TenantRow]) -> Banner:
    """The worst of the tenants. A refused one is the gate at work and makes nothing worse."""
    if not rows:
        return Banner(
            Verdict.OFF, "There is no tenant yet. Make one in the admin, or with manage.py create_token NAME --role tenant_admin --tenant SLUG."
        )
    by_verdict = {verdict: [row for row in rows if row.verdict is verdict] for verdict in Verdict}
    worst = next((verdict for verdict in _WORST if by_verdict[verdict]), Verdict.REFUSED if by_verdict[Verdict.REFUSED] else Verdict.OFF)
    if len(rows) == 1:
        return Banner(rows[0].verdict, f"{rows[0].tenant.slug}: {rows[0].sentence}")
    says = {
        Verdict.FAILING: ("has a row that cannot be used", "have rows that cannot be used"),
        Verdict.ATTENTION: ("does not get live answers", "do not get live answers"),
        Verdict.UNKNOWN: ("has a connection that nothing was asked of yet", "have a connection that nothing was asked of yet"),
    }
    points = tuple(
        f"{in_words([row.tenant.slug for row in by_verdict[verdict]])} {one if len(by_verdict[verdict]) == 1 else many}."
        for verdict, (one, many) in says.items()
        if by_verdict[verdict]
    )
    return Banner(worst, f"{tally(rows).words}.", points)
