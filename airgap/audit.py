"""One run over the checklist as command, API, page and report show it: every item with what vouches for it, and the verdict of all."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import Error as DatabaseError

from airgap import attest, chain
from airgap.attest import Standing
from airgap.checklist import DAY, NEWEST_ROWS, Checked, Kind, Look, Verdict, look, run_all, worst
from airgap.models import TrailCheck
from airgap.snapshot import AirgapSnapshot, airgap_snapshot, policy_digest

EXIT: Final = {Verdict.OK: 0, Verdict.ATTENTION: 0, Verdict.FAILING: 1, Verdict.UNKNOWN: 3}
LONGEST: Final = timedelta(days=90)  # that refused attempts may be looked at
TRAIL: Final = "trail_verified"


@dataclass(frozen=True, slots=True)
class Row:
    """An item with its finding. attestation: of an attested item, the newest. accepted: that of one that is not OK, while it counts."""

    checked: Checked
    attestation: Standing | None = None
    accepted: Standing | None = None

    @property
    def verdict(self) -> Verdict:
        return self.checked.finding.verdict

    @property
    def is_attested(self) -> bool:
        return self.checked.item.kind is Kind.ATTESTED

    @property
    def is_waiting(self) -> bool:
        """An attested item that somebody has to attest, or to attest again."""
        return self.is_attested and self.verdict is Verdict.UNKNOWN

    @property
    def is_done(self) -> bool:
        return self.verdict is Verdict.OK or self.accepted is not None

    def as_dict(self) -> dict[str, Any]:
        """CONTRACTS.md 2.4, an item; details, attestation and accepted are added."""
        item, finding = self.checked.item, self.checked.finding
        return {
            "id": item.id,
            "title": item.title,
            "kind": item.kind.value,
            "verdict": finding.verdict.value,
            "evidence": finding.evidence,
            "next_step": finding.next_step,
            "checked_at": self.checked.checked_at,
            "details": list(finding.details),
            "attestation": self.attestation.as_dict() if self.attestation else None,
            "accepted": self.accepted.as_dict() if self.accepted else None,
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """One run. `verdict` is the worst of the items, as found: an acceptance does not change it."""

    seen: Look
    rows: tuple[Row, ...]
    policy: AirgapSnapshot

    @property
    def verdict(self) -> Verdict:
        return worst([row.verdict for row in self.rows])

    @property
    def exit_status(self) -> int:
        return EXIT[self.verdict]

    @property
    def digest(self) -> str:
        return policy_digest(self.policy)

    @property
    def tally(self) -> str:
        """`3 of 7 done · 2 failing · 1 unknown · 1 waits for you`; what is accepted counts as done and stays named."""
        done = sum(row.is_done for row in self.rows)
        open_rows = [row for row in self.rows if not row.is_done]
        waiting = sum(row.is_waiting for row in open_rows)
        counts = (
            (sum(row.verdict is Verdict.FAILING for row in open_rows), "failing", "failing"),
            (sum(row.verdict is Verdict.UNKNOWN and not row.is_waiting for row in open_rows), "unknown", "unknown"),
            (sum(row.verdict is Verdict.ATTENTION for row in open_rows), "asks for attention", "ask for attention"),
            (waiting, "waits for you", "wait for you"),
            (sum(row.accepted is not None for row in self.rows), "accepted with a reason", "accepted with a reason"),
        )
        return " · ".join([f"{done} of {len(self.rows)} done", *(f"{count} {one if count == 1 else many}" for count, one, many in counts if count)])

    @property
    def blockers(self) -> tuple[str, ...]:
        """The items that a sign-off would have to explain away: unknown ones, and failing ones that nobody has accepted."""
        return tuple(row.checked.item.title for row in self.rows if not row.is_done and row.verdict in (Verdict.FAILING, Verdict.UNKNOWN))

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "sentence": self.tally,
            "since": self.seen.since,
            "computed_at": self.seen.now,
            "policy_digest": self.digest,
            "items": [row.as_dict() for row in self.rows],
        }


def audit(window: timedelta = DAY, *, thorough: bool = False) -> Audit:
    """Run every check. thorough: walk every row of the trail and note what was found; else the newest so many."""
    seen = look(window, rows=None if thorough else NEWEST_ROWS)
    done = Audit(seen, tuple(_row(checked, seen) for checked in run_all(seen)), airgap_snapshot())
    if thorough:
        _note_walk(done)
    return done


def _row(checked: Checked, seen: Look) -> Row:
    if seen.processes is None:
        return Row(checked)
    try:
        if checked.item.kind is Kind.ATTESTED:
            return Row(checked, attestation=attest.standing(checked.item.id, seen.now))
        if checked.finding.verdict in (Verdict.FAILING, Verdict.ATTENTION):
            accepted = attest.standing(checked.item.id, seen.now, accepts=True)
            return Row(checked, accepted=accepted if accepted is not None and accepted.counts else None)
    except DatabaseError:
        pass  # the checks have said so
    return Row(checked)


def _note_walk(done: Audit) -> None:
    finding = next((row.checked.finding for row in done.rows if row.checked.item.id == TRAIL), None)
    if finding is None or finding.verdict is Verdict.UNKNOWN:
        return
    try:
        problems = list(finding.details) if finding.verdict is Verdict.FAILING else []
        TrailCheck.objects.create(at=done.seen.now, rows=chain.count_rows(), position=chain.position(), problems=problems)
    except DatabaseError:
        pass  # read-only, or gone meanwhile: the finding itself stands


def window_of(span: timedelta) -> timedelta:
    """Raises ValueError for a span that is too long to look back."""
    if span > LONGEST:
        raise ValueError(f"At most {LONGEST.days} days are looked back.")
    return span
