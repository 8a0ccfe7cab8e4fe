"""The signed audit report: policy, processes, checklist with evidence, attestations and the trail's heads, as canonical JSON (RFC 8785).

Signed with the deployment's key (Ed25519) over the canonical form of the member `report`. airgap/verify_report.py verifies it, also
on a machine with nothing but Python.
"""

import platform
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import django
import rfc8785
from django.conf import settings
from django.db import Error as DatabaseError

from airgap import attest, chain
from airgap.active import deployment_key
from airgap.audit import Audit
from airgap.fleet import Process
from airgap.models import SignOff
from airgap.snapshot import guard_snapshot
from airgap.verify_report import KIND, as_markdown

VERSION: Final = 1
DAYS: Final = 400  # finished days of the trail, the latest
SIGN_OFFS: Final = 20

MOST: Final = 2**53  # from here on readers of JSON differ
NOTHING_KEPT: Final[Mapping[str, Any]] = {"attestations": [], "sign_offs": [], "trail": None}  # the database is away

Report = dict[str, Any]


def report_of(done: Audit) -> Report:
    """What is signed. Whole numbers, texts, booleans and null only, so that every reader computes the same bytes."""
    key = deployment_key()
    content = {
        "kind": KIND,
        "version": VERSION,
        "generated_at": done.seen.now,
        "since": done.seen.since,
        "verdict": done.verdict.value,
        "sentence": done.tally,
        "deployment": {
            "node": socket.gethostname()[:120],
            "service": settings.SERVICE,
            "version": settings.VERSION,
            "python": platform.python_version(),
            "django": django.get_version(),
            "environment": settings.ENV.environment,
            "policy_digest": done.digest,
            "guard": guard_snapshot().as_dict(),
            "key": key.fingerprint,
        },
        "policy": done.policy.as_dict(),
        "processes": None if done.seen.processes is None else [_process(one) for one in done.seen.processes],
        "checklist": [row.as_dict() for row in done.rows],
        **(NOTHING_KEPT if done.seen.processes is None else _kept()),
    }
    report: Report = plain(content)
    return report


def _kept() -> Mapping[str, Any]:
    """What only the database knows; null when it is away."""
    try:
        rows = [{**one.as_dict(), "item": one.row.item, "accepts": one.row.accepts} for one in attest.history()]
        signed_off = [
            {"at": one.at, "by": one.by, "verdict": one.verdict, "digest": one.digest} for one in SignOff.objects.order_by("-at")[:SIGN_OFFS]
        ]
        return {"attestations": rows, "sign_offs": signed_off, "trail": chain.summary(DAYS)}
    except DatabaseError:
        return NOTHING_KEPT


def _process(process: Process) -> dict[str, Any]:
    said = process.as_dict()
    return {**said, "clock_skew": None, "clock_skew_ms": round(process.skew * 1000), "facts": dict(process.facts)}


def plain(value: Any) -> Any:
    """What every reader of JSON reads alike, whatever stands in the database: no floats, no large numbers; times as RFC 3339 in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Mapping):
        return {str(name).encode("ascii", "replace").decode(): plain(inner) for name, inner in value.items()}
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= MOST):
        return str(value)
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # a lone surrogate
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def signed(report: Report) -> bytes:
    """The whole document, itself in canonical form."""
    key = deployment_key()
    signature = {"algorithm": "Ed25519", "fingerprint": key.fingerprint, "public_key": key.public.hex(), "value": key.sign(rfc8785.dumps(report))}
    return rfc8785.dumps({"report": report, "signature": signature})


def markdown_of(report: Report) -> str:
    """The readable form of the same content."""
    return as_markdown(report)
