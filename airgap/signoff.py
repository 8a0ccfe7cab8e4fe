"""Sign-offs: the whole checklist as it stood when somebody put their name to it, kept, signed and comparable with what is found now."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import rfc8785
import structlog

from airgap import clock
from airgap.active import deployment_key
from airgap.attest import AttestError, stamp
from airgap.audit import Audit
from airgap.ed25519 import is_signed
from airgap.models import SignOff
from airgap.report import plain

LONGEST: Final = 4000  # characters of a note
KEPT_SHOWN: Final = 50

log = structlog.stdlib.get_logger("airgap")


@dataclass(frozen=True, slots=True)
class Signed:
    """A sign-off as it is shown. genuine: its signature and its digest fit what is stored."""

    id: int
    at: datetime
    by: str
    note: str
    verdict: str
    sentence: str
    digest: str
    genuine: bool

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "at": self.at,
            "by": self.by,
            "note": self.note,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "digest": self.digest,
            "genuine": self.genuine,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was signed off."""

    what: str
    before: str
    now: str


def sign_off(done: Audit, *, by: str, note: str = "") -> SignOff:
    """Keep `done` under a name. Raises AttestError while an item is unknown, or fails and nobody has accepted that."""
    if done.blockers:
        raise AttestError(
            "not_ready", f"It cannot be signed off: {', '.join(done.blockers)}. Clear these, attest them, or accept them with a reason."
        )
    text = note.strip().replace("\r\n", "\n")
    if len(text) > LONGEST or any(char not in "\n\t" and not char.isprintable() for char in text):
        raise AttestError("invalid", f"The note is plain text of at most {LONGEST} characters.", "note")
    snapshot = plain({**done.as_dict(), "policy": done.policy.as_dict()})
    row = SignOff(at=clock.now(), by=by[:150], note=text, verdict=done.verdict.value, digest=digest_of(snapshot), snapshot=snapshot)
    key = deployment_key()
    row.signature, row.key = key.sign(text_of(row)), key.fingerprint
    row.save(force_insert=True)
    log.info("checklist.signed_off", user=row.by, verdict=row.verdict, digest=row.digest)
    return row


def digest_of(snapshot: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form (RFC 8785)."""
    return hashlib.sha256(rfc8785.dumps(dict(snapshot))).hexdigest()


def text_of(row: SignOff) -> bytes:
    """What is signed: canonical JSON (RFC 8785); the digest stands for the snapshot."""
    body = {"at": stamp(row.at), "by": row.by, "digest": row.digest, "kind": "aisoc-sign-off", "note": row.note, "verdict": row.verdict}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def shown(row: SignOff) -> Signed:
    key = deployment_key()
    try:
        fits = digest_of(row.snapshot) == row.digest
    except (TypeError, ValueError):
        fits = False
    genuine = fits and row.key == key.fingerprint and is_signed(key.public, row.signature, text_of(row))
    sentence = str(row.snapshot.get("sentence", "")) if isinstance(row.snapshot, dict) else ""
    return Signed(row.pk, row.at, row.by, row.note, row.verdict, sentence, row.digest, genuine)


def latest() -> list[SignOff]:
    """The newest first."""
    return list(SignOff.objects.order_by("-at", "-id")[:KEPT_SHOWN])


def changes(before: Mapping[str, Any], done: Audit) -> tuple[Change, ...]:
    """What is not now as `before` (the snapshot of a sign-off) has it: verdicts, evidence of the policy, items that came or went."""
    found: list[Change] = []
    old = {item["id"]: item for item in before.get("items", [])}
    for row in done.rows:
        item = row.checked.item
        was = old.pop(item.id, None)
        now = _said(row.as_dict())
        if was is None:
            found.append(Change(item.title, "not on the checklist", now))
        elif was["verdict"] != row.verdict or _vouched(was) != _vouched(plain(row.as_dict())):
            found.append(Change(item.title, _said(was), now))
    found += [Change(item["title"], _said(item), "not on the checklist any more") for item in old.values()]
    if (was_digest := str(before.get("policy_digest", ""))) != done.digest:
        found.append(Change("Air-gap policy", _policy(was_digest, before.get("policy", {})), _policy(done.digest, done.policy.as_dict())))
    return tuple(found)


def _vouched(item: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Who attested it and who accepted it, when and why."""
    return [(one["by"], one["at"], one["note"]) if (one := item[kind]) else () for kind in ("attestation", "accepted")]


def _said(item: Mapping[str, Any]) -> str:
    accepted = f" Accepted by {item['accepted']['by']}: {item['accepted']['note']}" if item["accepted"] else ""
    return f"{item['verdict']}: {item['evidence']}{accepted}"


def _policy(digest: str, policy: Mapping[str, Any]) -> str:
    return f"{digest}, air gap {'on' if policy.get('enabled') else 'off'}, allowlist {', '.join(policy.get('allowlist', [])) or '(empty)'}"
