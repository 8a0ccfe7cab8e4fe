"""How endpoints answered lately, shared by all processes: "live" on a page means that it worked, not that it is configured.

Written by ChatClient after each call that was sent, at most once in EVERY seconds an endpoint and process unless the outcome changes.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog
from django.db import Error
from django.db.models import Q
from django.utils import timezone

from llm.models import EndpointOutcome
from llm.resolver import ResolvedLLM

OUTCOME_NOT_NOTED = "llm.outcome_not_noted"
EVERY: Final = 5.0  # seconds
AFTER_AN_ERROR: Final = 30.0  # seconds: a database that is away must not slow every call down
MAX_ENDPOINTS: Final = 1024
FORGOTTEN: Final = timedelta(days=30)  # without a call

log = structlog.stdlib.get_logger("llm")
_lock = threading.Lock()
_noted: dict[tuple[str, int], tuple[bool, float]] = {}  # endpoint and API key: whether it succeeded, and until when that need not be written again


class Lately(StrEnum):
    NEVER_TRIED = "never_tried"
    LIVE = "live"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """since: when the failing began, or the last success; None when it was never tried. reason: that of the last failure, while it lasts."""

    state: Lately
    since: datetime | None = None
    reason: str = ""


def note(resolved: ResolvedLLM, failure: str) -> None:
    """One call was answered, or failed with this reason. Raises nothing of the database's: that it cannot be noted is logged."""
    key = key_of(resolved)
    turn = key, hash(resolved.key.reveal())  # in memory alone; the first answer to another API key is written at once
    if not _takes_turn(turn, not failure):
        return
    now = timezone.now()
    try:
        if failure:
            failed = {"failed_at": now, "reason": failure[:300]}
            if not EndpointOutcome.objects.filter(key=key, failing_since__isnull=False).update(**failed):
                _put(EndpointOutcome(key=key, failing_since=now, **failed), *failed, "failing_since")
        else:
            _put(EndpointOutcome(key=key, succeeded_at=now), "succeeded_at", "failing_since", "reason")
        if now.second == 0:  # now and then
            forget(now)
    except Error as error:
        with _lock:
            _noted[turn] = (not failure, time.monotonic() + AFTER_AN_ERROR)
        log.warning(OUTCOME_NOT_NOTED, error=type(error).__name__)


def forget(now: datetime) -> None:
    """Remove what nobody has called for long: an endpoint that was replaced leaves its row behind."""
    old = now - FORGOTTEN
    long_ago = [Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__lt": old}) for name in ("succeeded_at", "failed_at")]
    EndpointOutcome.objects.filter(*long_ago).delete()


def begin_anew(resolved: ResolvedLLM) -> None:
    """The endpoint is called with another key from now on: how it answered to the old one says nothing of it. Raises django.db.Error."""
    EndpointOutcome.objects.filter(key=key_of(resolved)).delete()


def health_of(resolved: ResolvedLLM) -> EndpointHealth:
    """How the endpoint answered lately. One query."""
    return _health(EndpointOutcome.objects.filter(key=key_of(resolved)).first())


def healths_of(many: Iterable[ResolvedLLM]) -> dict[str, EndpointHealth]:
    """The same of many, by key_of(). One query."""
    keys = {key_of(resolved) for resolved in many}
    rows = EndpointOutcome.objects.in_bulk(keys)
    return {key: _health(rows.get(key)) for key in keys}


def _health(row: EndpointOutcome | None) -> EndpointHealth:
    if row is None:
        return EndpointHealth(Lately.NEVER_TRIED)
    if row.failing_since is not None:
        return EndpointHealth(Lately.FAILING, row.failing_since, row.reason)
    return EndpointHealth(Lately.LIVE, row.succeeded_at)


def key_of(resolved: ResolvedLLM) -> str:
    """One endpoint of one tenant. Tenants that share a server have keys of their own, and learn nothing of each other's outcomes."""
    return hashlib.sha256(json.dumps([resolved.tenant, resolved.base_url, resolved.model]).encode()).hexdigest()


def _put(row: EndpointOutcome, *fields: str) -> None:
    EndpointOutcome.objects.bulk_create([row], update_conflicts=True, unique_fields=["key"], update_fields=fields)


def _takes_turn(turn: tuple[str, int], succeeded: bool) -> bool:
    now = time.monotonic()
    with _lock:
        before, until = _noted.get(turn, (not succeeded, 0.0))
        if before is succeeded and now < until:
            return False
        if len(_noted) >= MAX_ENDPOINTS:
            _noted.clear()
        _noted[turn] = (succeeded, now + EVERY)
        return True
