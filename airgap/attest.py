"""Attestations: who vouches for what cannot be proven from inside, or accepts what is not OK, with a note, a ticket and an expiry.

Append-only and signed with the deployment's key, which is not in the database: a row that was put there or altered does not count.

AttestError(Exception)     it cannot be attested so; `code`, `field` and the sentence say why
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from airgap import clock
from airgap.active import deployment_key
from airgap.checklist import ChecklistItem, Finding, Kind, Look, Verdict, found, items, look
from airgap.ed25519 import is_signed
from airgap.models import Attestation
from airgap.probe import ProbeError, read_probe

DAYS: Final = 90
MOST_DAYS: Final = 366
LONGEST: Final = {"note": 4000, "ticket": 120, "evidence": 20_000}
SOON: Final = timedelta(days=14)  # before its expiry an attestation asks for attention
READ: Final = 200  # rows of the history that are read

log = structlog.stdlib.get_logger("airgap")


class AttestError(Exception):
    """code: for machines. field: the one to correct, "" when it is none. missing: there is no such item."""

    def __init__(self, code: str, message: str, field: str = "", *, missing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Standing:
    """The attestation or acceptance that counts for an item now. genuine: its signature fits."""

    row: Attestation
    genuine: bool
    expired: bool

    @property
    def counts(self) -> bool:
        return self.genuine and not self.expired

    def as_dict(self) -> dict[str, Any]:
        row = self.row
        return {
            "by": row.by,
            "at": row.at,
            "expires_at": row.expires_at,
            "note": row.note,
            "ticket": row.ticket,
            "evidence": row.evidence,
            "expired": self.expired,
            "genuine": self.genuine,
        }


def text_of(row: Attestation) -> bytes:
    """What is signed: canonical JSON (RFC 8785: sorted keys, no white space); times in UTC to the microsecond."""
    body = {
        "accepts": row.accepts,
        "at": stamp(row.at),
        "by": row.by,
        "evidence": row.evidence,
        "expires_at": stamp(row.expires_at),
        "item": row.item,
        "kind": "aisoc-attestation",
        "note": row.note,
        "ticket": row.ticket,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def attest(item_id: str, *, by: str, note: object, ticket: object = "", days: object = DAYS, evidence: object = "") -> Attestation:
    """Vouch for an attested item. Raises AttestError, also for automatic items: nobody ticks by hand what the product sees."""
    item = _item(item_id)
    if item.kind is Kind.AUTOMATIC:
        raise AttestError("automatic", f"{item.title}: this item is checked by the product and cannot be ticked by hand. Do its next step instead.")
    row = _row(item, by, note, ticket, days, evidence, accepts=False)
    if row.evidence:
        try:
            read_probe(row.evidence)
        except ProbeError as error:
            raise AttestError("invalid", f"{error} Put other evidence into the note.", "evidence") from None
    return _stored(row)


def accept(item_id: str, *, by: str, note: object, ticket: object = "", days: object = DAYS) -> Attestation:
    """Accept an automatic item that is not OK, with the reason in `note`. The verdict stays what it is. Raises AttestError."""
    item = _item(item_id)
    if item.kind is not Kind.AUTOMATIC:
        raise AttestError("attested", f"{item.title}: this item is attested, not accepted.")
    if found(item, look()).verdict not in (Verdict.FAILING, Verdict.ATTENTION):
        raise AttestError("nothing_to_accept", f"{item.title}: only an item that is FAILING or asks for ATTENTION can be accepted.")
    return _stored(_row(item, by, note, ticket, days, "", accepts=True))


def _item(item_id: str) -> ChecklistItem:
    item = next((one for one in items() if one.id == item_id), None)
    if item is None:
        raise AttestError("not_found", "There is no checklist item with this id.", missing=True)
    return item


def _row(item: ChecklistItem, by: str, note: object, ticket: object, days: object, evidence: object, *, accepts: bool) -> Attestation:
    texts = {name: _text(name, value) for name, value in (("note", note), ("ticket", ticket), ("evidence", evidence))}
    if not texts["note"]:
        why = "Say why it is acceptable" if accepts else "Say what you saw and where"
        raise AttestError("required", f"A note is needed. {why}.", "note")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        raise AttestError("invalid", f"The days until it expires are a whole number from 1 to {MOST_DAYS}; {DAYS} is usual.", "days")
    now = clock.now()
    return Attestation(item=item.id, accepts=accepts, by=by[:150], at=now, expires_at=now + timedelta(days=days), **texts)


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AttestError("invalid", f"The {name} is a text.", name)
    text = value.replace("\r\n", "\n").strip()
    if len(text) > LONGEST[name]:
        raise AttestError("too_long", f"The {name} has {len(text)} characters; at most {LONGEST[name]} are kept.", name)
    if any(char != "\n" and char != "\t" and not char.isprintable() for char in text):
        raise AttestError("invalid", f"The {name} holds a character that does not print; write plain text.", name)
    return text


def _stored(row: Attestation) -> Attestation:
    key = deployment_key()
    row.signature, row.key = key.sign(text_of(row)), key.fingerprint
    row.save(force_insert=True)
    log.info(
        "checklist.accepted" if row.accepts else "checklist.attested", item=row.item, user=row.by, ticket=row.ticket, expires=stamp(row.expires_at)
    )
    return row


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def history() -> Iterator[Standing]:
    """The latest attestations and acceptances, newest first."""
    now = clock.now()
    for row in Attestation.objects.order_by("-at", "-id")[:READ]:
        yield _standing(row, now)


def standing(item_id: str, now: datetime, *, accepts: bool = False) -> Standing | None:
    """The newest row of an item, whether or not it still counts."""
    row = Attestation.objects.filter(item=item_id, accepts=accepts).order_by("-at", "-id").first()
    return _standing(row, now) if row is not None else None


def _standing(row: Attestation, now: datetime) -> Standing:
    key = deployment_key()
    return Standing(row, row.key == key.fingerprint and is_signed(key.public, row.signature, text_of(row)), row.expires_at <= now)


def attested(item_id: str, unattested: str, how: str) -> Callable[[Look], Finding]:
    """The check of an attested item. unattested: what cannot be seen from inside; how: what to do to attest it."""

    def check(seen: Look) -> Finding:
        latest = standing(item_id, seen.now)
        if latest is None:
            return Finding(Verdict.UNKNOWN, f"To attest: {unattested}", how)
        row = latest.row
        who = f"{row.by} on {row.at:%Y-%m-%d %H:%M} UTC{f', ticket {row.ticket}' if row.ticket else ''}"
        details: tuple[str, ...] = (f"Note: {row.note}",)
        if not latest.genuine:
            evidence = f"The attestation by {who} does not carry the signature of this deployment's key: it was not made here, or was altered."
            return Finding(Verdict.FAILING, evidence, "Find out who wrote to the database, then attest anew.", details)
        probe = None
        if row.evidence:
            probe = read_probe(row.evidence)
            details = (*details, probe.sentence)
        if probe is not None and probe.reached:
            return Finding(
                Verdict.FAILING, f"Recorded by {who}: {probe.sentence}", "Close the firewall, run the probe again and attest anew.", details
            )
        said = f"Attested by {who}, until {row.expires_at:%Y-%m-%d}.{f' {probe.sentence}' if probe else ''}"
        if latest.expired:
            return Finding(Verdict.UNKNOWN, f"To attest again: it expired on {row.expires_at:%Y-%m-%d}. {said}", how, details)
        if row.expires_at - seen.now <= SOON and row.expires_at - row.at > SOON:
            return Finding(Verdict.ATTENTION, f"It expires within {SOON.days} days. {said}", how, details)
        return Finding(Verdict.OK, said, "", details)

    return check


FIREWALL: Final = ChecklistItem(
    "firewall",
    "The egress firewall denies the SOC subnet",
    attested(
        "firewall",
        "no process can prove what the perimeter denies.",
        "Run manage.py airgap_probe | sh on a SOC host, then attest with its output, your name and a ticket.",
    ),
    kind=Kind.ATTESTED,
    order=3,
)
