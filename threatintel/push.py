"""Pushes posted STIX objects to the own MISP: one row an object, claimed by one process at a time, tried again with back-off, ended once.

The row is written in the transaction that stores the object, so that a failure loses neither. A push is safe to repeat: event and
attributes have UUIDs made of the STIX id. What is refused (TLP, the gate, no MISP, nothing to send) is not tried again; posting the
object again is a new start.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F, Max, Q

from airgap import clock
from airgap.active import active_policy
from airgap.policy import Rule
from airgap.transport import AirgapBlocked, Client, gated_client
from threatintel.misp_client import MAX_ANSWER, Before, MispApi, PushFailed, host_of
from threatintel.models import MispPush
from threatintel.normalise import timestamp
from threatintel.poll import plain_error
from threatintel.stix import stix_json
from threatintel.stix_to_misp import Outgoing, event_uuid, outgoing

MISP_PUSHED = "misp.pushed"
MISP_PUSH_FAILED = "misp.push_failed"
WAIT = 8.0  # seconds without a byte before a push gives up
DEADLINE = 15.0  # seconds for one request of a push
IN_REQUEST = 10.0  # seconds after which a push within somebody's request begins no further request of its own
IN_TASK = 60.0
ROUND = 150.0  # seconds of one round of retries, below the task's limits
LEASE = timedelta(seconds=180)  # longer than any push; a dead worker's push is taken over after it
FAR = timedelta(days=1)  # beyond every back-off and lease
MAX_ATTEMPTS: Final = 12
LONGEST_WAIT = timedelta(hours=6)
ROUND_SIZE: Final = 200
NOT_CONFIGURED = "MISP is not configured. Set MISP_URL and MISP_API_KEY."
NOTHING = "Nothing in it has a MISP attribute: no part of its patterns is an address, domain, URL, e-mail address, file hash or file name."
BUSY = "Another push of this object is under way; this one follows it."
OLDER = "A newer version of this object was pushed or waits; this one is not pushed."

log = structlog.stdlib.get_logger("threatintel")
State = MispPush.State


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a push must not happen. rule: of the gate, else ""."""

    reason: str
    rule: str = ""


def wanted(asked: bool | None) -> bool:
    """Whether a posted object is pushed: as asked, else as MISP_PUSH_AUTO says, which is off by default."""
    return bool(settings.ENV.misp_push_auto) if asked is None else asked


def would_refuse(out: Outgoing) -> Refusal | None:
    """Why this event must not be sent, if so: its markings first, then the place. Contacts nobody and records nothing."""
    if out.refusal:
        return Refusal(out.refusal)
    if not out.attributes:
        return Refusal(NOTHING)
    return place_refusal()


def place_refusal() -> Refusal | None:
    """Why nothing may be sent to MISP at all, if so."""
    url = settings.ENV.misp_url
    if not (url and settings.ENV.misp_api_key):
        return Refusal(NOT_CONFIGURED)
    if not (settings.ENV.misp_api_key.isascii() and settings.ENV.misp_api_key.isprintable()):
        return Refusal("MISP_API_KEY has characters that no key has.")
    decision = active_policy().decide_url(url)
    if not decision.allowed:
        return Refusal(decision.reason, decision.rule.value)
    if url.lower().startswith("http:") and active_policy().classify(url) in (Rule.PUBLIC, Rule.MALFORMED):
        return Refusal(f"MISP_URL is plain http to {host_of(url)}, a public host: the key would cross the network in clear. Use https.")
    return None


def open_push(obj: Mapping[str, Any]) -> MispPush | None:
    """Queue a checked object, within the transaction that stores it. None: a newer version of it was queued or pushed before."""
    now, owner = clock.now(), str(obj["id"])
    modified = timestamp(obj.get("modified"))
    fresh = {"body": stix_json(obj), "modified": modified, "attempt": 0, "not_before": now, "reason": "", "rule": "", "updated_at": now}
    row, created = MispPush.objects.get_or_create(
        object_id=owner, defaults={**fresh, "misp_event_uuid": event_uuid(owner), "created_at": now, "state": State.QUEUED}
    )
    if created:
        return row
    row = MispPush.objects.select_for_update().get(pk=row.pk)
    if modified is not None and row.modified is not None and modified < row.modified:
        return None
    state = row.state if row.state == State.RUNNING else State.QUEUED
    MispPush.objects.filter(pk=row.pk).update(**fresh, state=state, version=F("version") + 1)
    row.refresh_from_db()
    return row


def push_now(row: MispPush | None, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Push a queued object while its sender waits; the `misp` block of the answer (CONTRACTS.md 2.7). Never raises for what MISP does."""
    if row is None:
        return _block(None, outgoing(obj, clock.now()), error=OLDER)
    done = _push(row.pk, seconds=IN_REQUEST)
    if done is None:
        return _block(MispPush.objects.get(pk=row.pk), outgoing(obj, clock.now()), error=BUSY)
    return _block(*done)


def retry_due() -> int:
    """One round of the queue, the longest due first; how many were pushed. Ends early when MISP is away: the others keep their attempts."""
    began = time.monotonic()
    now = clock.now()
    pushed = 0
    for pk in MispPush.objects.filter(_claimable(now)).order_by("not_before", "id").values_list("pk", flat=True)[:ROUND_SIZE]:
        if time.monotonic() - began > ROUND - IN_TASK - DEADLINE:
            break
        done = _push(pk, seconds=IN_TASK)
        if done is None:
            continue
        pushed += done[0].state == State.PUSHED
        if done[2]:
            break
    return pushed


def forget_old() -> int:
    """Remove pushes that ended AISOC_INDICATOR_DAYS ago; a later push of the same object finds its event by the UUID."""
    before = clock.now() - timedelta(days=settings.ENV.indicator_days)
    ended = MispPush.objects.filter(state__in=(State.PUSHED, State.FAILED, State.REFUSED), updated_at__lt=before)
    return ended.delete()[0]


@dataclass(frozen=True, slots=True)
class Health:
    """The push as API and pages show it. Holds no key and no user info of the URL. version: of the MISP, null when it told none."""

    state: str
    reason: str
    rule: str | None
    configured: bool
    key_set: bool
    auto: bool
    host: str | None
    version: str | None
    queued: int
    failed: int
    last_success: datetime | None
    last_attempt: datetime | None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def health() -> Health:
    """Asks MISP for its version, with the key, when the gate allows it."""
    env = settings.ENV
    configured = bool(env.misp_url and env.misp_api_key)
    state, reason, rule, version = "OFF", NOT_CONFIGURED, "", ""
    if configured:
        refusal = place_refusal()
        if refusal is not None:
            state, reason, rule = "REFUSED", refusal.reason, refusal.rule
        else:
            state, reason, rule, version = _ask()
    rows = MispPush.objects.aggregate(success=Max("pushed_at"), attempt=Max("updated_at", filter=Q(claims__gt=0)))
    return Health(
        state=state,
        reason=reason,
        rule=rule or None,
        configured=configured,
        key_set=bool(env.misp_api_key),
        auto=bool(env.misp_push_auto),
        host=host_of(env.misp_url) or None,
        version=version or None,
        queued=MispPush.objects.filter(state__in=(State.QUEUED, State.RUNNING)).count(),
        failed=MispPush.objects.filter(state=State.FAILED).count(),
        last_success=rows["success"],
        last_attempt=rows["attempt"],
    )


def _ask() -> tuple[str, str, str, str]:
    url = settings.ENV.misp_url
    try:
        with _client() as client:
            version = MispApi(client, url).version()
    except AirgapBlocked as blocked:
        return "REFUSED", blocked.decision.reason, blocked.decision.rule.value, ""
    except PushFailed as failed:
        return "FAILING", str(failed), "", ""
    except httpx.HTTPError as error:
        return "FAILING", f"{host_of(url)}: {plain_error(error)}", "", ""
    if url.lower().startswith("http:") and active_policy().classify(url) not in (Rule.PRIVATE_ADDRESS, Rule.LOCALHOST):
        return "ATTENTION", "MISP_URL is plain http: the key crosses the network in clear. Use https.", "", version
    return "OK", "", "", version


def _client() -> Client:
    return gated_client(
        purpose="misp.push", timeout=WAIT, deadline=DEADLINE, max_bytes=MAX_ANSWER, headers={"Authorization": settings.ENV.misp_api_key}
    )


def _push(pk: int, *, seconds: float) -> tuple[MispPush, Outgoing | None, bool] | None:
    """Claim a row and push it: the row as it ended, its event, and whether MISP is away. None: somebody else has it, or it has ended."""
    row = _claim(pk)
    if row is None:
        return None
    out: Outgoing | None = None
    began = time.monotonic()
    away = False
    try:
        out = outgoing(json.loads(row.body), clock.now())
        row.skipped_attributes = len(out.skipped)
        refusal = would_refuse(out)
        if refusal is not None and not refusal.rule:  # what the gate refuses is left to the gate, which puts the attempt into the trail
            _end(row, State.REFUSED, refusal.reason)
        else:
            _write(row, out, until=began + seconds)
            _end(row, State.PUSHED, row.reason, seconds=round(time.monotonic() - began, 3))
    except AirgapBlocked as blocked:
        _end(row, State.REFUSED, blocked.decision.reason, rule=blocked.decision.rule.value)
    except PushFailed as failed:
        away = failed.away
        _again(row, str(failed))
    except httpx.HTTPError as error:
        away = True
        _again(row, f"{host_of(settings.ENV.misp_url)}: {plain_error(error)}")
    except DatabaseError:
        raise
    except Exception as error:
        log.exception(MISP_PUSH_FAILED, object=row.object_id, attempt=row.attempt)
        _again(row, f"The push broke off ({type(error).__name__}); see the log.")
    return row, out, away


def _write(row: MispPush, out: Outgoing, *, until: float) -> None:
    before = Before(pushed=bool(row.misp_event_id), attributes=tuple(row.attributes), tlp=row.tlp)
    with _client() as client:
        written = MispApi(client, settings.ENV.misp_url, until=until).write(out.event, before)
    if not written.attributes:
        raise PushFailed("MISP took the event and none of its attributes.")
    row.misp_event_id, row.misp_event_uuid = written.event_id, written.event_uuid
    row.attributes, row.tlp = list(written.attributes), f"tlp:{out.tlp.value}"
    row.pushed_attributes = len(written.attributes)
    row.reason = " ".join(written.notes)


def _claim(pk: int) -> MispPush | None:
    now = clock.now()
    with transaction.atomic():
        row = MispPush.objects.select_for_update().filter(_claimable(now), pk=pk).first()
        if row is None:
            return None
        row.state, row.attempt, row.claims, row.lease_until = State.RUNNING, row.attempt + 1, row.claims + 1, now + LEASE
        if row.attempt > MAX_ATTEMPTS:  # its workers died, each time
            row.state, row.reason = State.FAILED, f"Given up after {MAX_ATTEMPTS} attempts. {row.reason}".strip()
        row.save(update_fields=["state", "attempt", "claims", "lease_until", "reason"])
    return row if row.state == State.RUNNING else None


def _claimable(now: datetime) -> Q:
    """Due, or left by a dead process. A moment far in the future was written before the clock was set back."""
    due = Q(not_before__lte=now) | Q(not_before__gt=now + FAR)
    left = Q(lease_until__lt=now) | Q(lease_until__gt=now + FAR)
    return (Q(state=State.QUEUED) & due) | (Q(state=State.RUNNING) & left)


def _end(row: MispPush, state: State, reason: str, *, rule: str = "", seconds: float | None = None) -> None:
    row.state, row.reason, row.rule, row.body = state, reason, rule, ""
    if state is State.PUSHED:
        row.pushed_at = clock.now()
        log.info(
            MISP_PUSHED,
            object=row.object_id,
            misp_event=row.misp_event_uuid,
            misp_event_id=row.misp_event_id,
            attributes=row.pushed_attributes,
            skipped=row.skipped_attributes,
            attempt=row.attempt,
            seconds=seconds,
            note=reason,
        )
    else:
        log.warning(MISP_PUSH_FAILED, object=row.object_id, attempt=row.attempt, reason=reason, rule=rule, final=True)
    _save(row)


def _again(row: MispPush, reason: str) -> None:
    """Back into the queue with back-off, or ended after the last attempt."""
    if row.attempt >= MAX_ATTEMPTS:
        _end(row, State.FAILED, reason)
        return
    row.state, row.reason, row.rule, row.not_before = State.QUEUED, reason, "", clock.now() + back_off(row.attempt)
    log.warning(MISP_PUSH_FAILED, object=row.object_id, attempt=row.attempt, reason=reason, rule="", final=False)
    _save(row)


def back_off(attempt: int) -> timedelta:
    """How long to wait after the given attempt: 1, 2, 4, 8 … minutes, at most six hours."""
    return min(timedelta(minutes=2 ** (attempt - 1)), LONGEST_WAIT)


def _save(row: MispPush) -> None:
    """Write what came of a claim, unless another process has taken it over. A version that was posted meanwhile is next."""
    now = clock.now()
    names = ("state", "reason", "rule", "not_before", "misp_event_id", "misp_event_uuid", "attributes", "tlp", "pushed_attributes", "pushed_at")
    learned = {name: getattr(row, name) for name in (*names, "skipped_attributes")}
    mine = MispPush.objects.filter(pk=row.pk, claims=row.claims, state=State.RUNNING)
    with transaction.atomic():
        if mine.filter(version=row.version).update(**learned, body=row.body, lease_until=None, updated_at=now):
            return
        newer = {**learned, "state": State.QUEUED, "attempt": 0, "not_before": now, "reason": BUSY, "rule": ""}
        mine.update(**newer, lease_until=None, updated_at=now)


def _block(row: MispPush | None, out: Outgoing | None, _away: bool = False, *, error: str = "") -> dict[str, Any]:
    pushed = row is not None and row.state == State.PUSHED and not error
    number = row.misp_event_id if row is not None else ""
    return {
        "pushed": pushed,
        "misp_event_id": number or None,
        "misp_event_uuid": row.misp_event_uuid if row is not None and number else None,
        "url": f"{settings.ENV.misp_url.rstrip('/')}/events/view/{number}" if number and "@" not in settings.ENV.misp_url else None,
        "pushed_attributes": row.pushed_attributes if row is not None and pushed else 0,
        "skipped_attributes": len(out.skipped) if out is not None else 0,
        "error": error or (row.reason if row is not None else "") or None,
        "queued": row is not None and row.state in (State.QUEUED, State.RUNNING),
    }
