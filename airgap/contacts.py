"""With the air gap off: which targets the gate let through that it would refuse when on, as host, port and purpose, counted.

Not a log and not a patch: the gate notes a target in memory when a client first turns to it, and the background thread adds what
was noted to the database. Bounded in memory and in the table; what is beyond is counted under `(other)`.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from airgap import clock
from airgap.events import storable
from airgap.hosts import shown_host
from airgap.policy import Decision, EgressPolicy
from airgap.segments import OTHER

MOST_NOTED: Final = 200  # targets between two flushes of a process
MOST_KEPT: Final = 1000  # rows
KEPT: Final = timedelta(days=30)


class _Key(NamedTuple):
    host: str
    port: int
    purpose: str


class _Noted(NamedTuple):
    rule: str
    reason: str
    times: int
    first_seen: float
    last_seen: float


_lock = threading.RLock()  # a signal handler may note while its thread is in here
_noted: dict[_Key, _Noted] = {}
_sealed: dict[int, EgressPolicy] = {}


def _start_over() -> None:
    """In a forked child: another thread's lock would stay locked for ever, and what was noted is the parent's to tell."""
    global _lock
    _lock = threading.RLock()
    _noted.clear()


os.register_at_fork(after_in_child=_start_over)


def note(policy: EgressPolicy, host: str, port: int | None, purpose: str) -> None:
    """Called by the gate when a client turns to a target for the first time and the air gap is off. Sends and writes nothing."""
    decision = sealed(policy).decide_host(host, port)
    if not decision.allowed:
        _add(_Key(storable(shown_host(host), 253), port or 0, storable(purpose, 60)), decision)


def sealed(policy: EgressPolicy) -> EgressPolicy:
    """The same policy switched on."""
    if policy.enabled:
        return policy
    found = _sealed.get(id(policy))
    if found is None or found.allowlist is not policy.allowlist:
        _sealed.clear()
        found = _sealed[id(policy)] = EgressPolicy(True, policy.allowlist)
    return found


def _add(key: _Key, decision: Decision) -> None:
    now = time.time()
    with _lock:
        if key not in _noted and len(_noted) >= MOST_NOTED:
            key = _Key(OTHER, 0, "")
        before = _noted.get(key)
        if before is None:
            other = key.host == OTHER
            _noted[key] = _Noted("" if other else decision.rule.value, "" if other else storable(decision.reason, 400), 1, now, now)
        else:
            _noted[key] = before._replace(times=before.times + 1, last_seen=now)


def flush() -> None:
    """Add what was noted to the database. Raises django.db.Error when it is away; nothing is lost then."""
    with _lock:
        taken = dict(_noted)
        _noted.clear()
    if not taken:
        return
    try:
        with transaction.atomic():
            for key, noted in taken.items():
                _store(key, noted)
    except Exception:
        _put_back(taken)
        raise


def _put_back(taken: dict[_Key, _Noted]) -> None:
    with _lock:
        for key, old in taken.items():
            new = _noted.get(key)
            _noted[key] = old if new is None else old._replace(times=old.times + new.times, last_seen=new.last_seen)


def _store(key: _Key, noted: _Noted) -> None:
    from airgap.models import Contact  # here, so that the gate can be imported without Django's settings

    first, last = (datetime.fromtimestamp(seconds, UTC) for seconds in (noted.first_seen, noted.last_seen))
    name = {"host": key.host, "port": key.port, "purpose": key.purpose, "service": settings.SERVICE}
    added = {"count": F("count") + noted.times, "last_seen": Greatest("last_seen", last), "rule": noted.rule, "reason": noted.reason}
    rows = Contact.objects.filter(**name)
    if rows.update(**added):
        return
    if Contact.objects.count() >= MOST_KEPT:
        name = {"host": OTHER, "port": 0, "purpose": "", "service": settings.SERVICE}
        noted = noted._replace(rule="", reason="")
        if Contact.objects.filter(**name).update(**{**added, "rule": "", "reason": ""}):
            return
    try:
        with transaction.atomic():
            Contact.objects.create(**name, rule=noted.rule, reason=noted.reason, count=noted.times, first_seen=first, last_seen=last)
    except IntegrityError:  # another process was first
        Contact.objects.filter(**name).update(**added)


def forget_old() -> None:
    """Remove what was not contacted for a month."""
    from airgap.models import Contact  # here, as above

    Contact.objects.filter(last_seen__lt=clock.now() - KEPT).delete()
