"""/health and /ready: encoded by a background thread after each round of checks, so that an answer never waits for one."""

import functools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from airgap import events
from airgap.drain import drain_quietly
from airgap.segments import backlog, damaged, unreadable
from airgap.snapshot import airgap_snapshot, guard_snapshot
from threatintel.snapshot import registration_snapshot

INTERVAL: Final = 2.0  # seconds between rounds
STALE_AFTER: Final = 15.0  # seconds without a finished round before the checks are no longer believed
OK: Final = "ok"
NOT_YET: Final = "not checked yet"


def encode(body: dict[str, Any]) -> bytes:
    """JSON as the API renders it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(slots=True)
class Health:
    """The latest round of checks of this process."""

    checks: dict[str, str] = field(default_factory=lambda: {"database": NOT_YET, "broker": NOT_YET, "spool": NOT_YET})
    migrated: bool = False
    writes: str = OK  # what became of the last heartbeat
    finished_at: float = 0.0
    encoded: bytes = b""

    def body(self) -> dict[str, Any]:
        checks = dict(self.checks)
        if self.finished_at and time.monotonic() - self.finished_at > STALE_AFTER:
            checks = {name: f"no answer for {time.monotonic() - self.finished_at:.0f} s" for name in checks}
        body: dict[str, Any] = {
            "status": OK if all(value == OK for value in checks.values()) else "degraded",
            "service": settings.SERVICE,
            "version": settings.VERSION,
            "airgap": airgap_snapshot().as_dict(),
            "airgap_guard": guard_snapshot().as_dict(),
            "checks": checks,
        }
        if settings.SERVICE == "threatintel":
            body["feeds"] = registration_snapshot()
        return body

    def readiness(self) -> dict[str, Any]:
        reasons = [f"database: {self.checks['database']}"] if self.checks["database"] != OK else []
        if not reasons and not self.migrated:
            reasons.append("database: migrations are missing; run manage.py migrate")
        if self.finished_at and time.monotonic() - self.finished_at > STALE_AFTER:
            reasons.append("checks: no answer")
        return {"ready": not reasons, "reasons": reasons}


_health = Health()
checked = threading.Event()  # set after the first round


def current() -> Health:
    """The health of this process as last checked."""
    return _health


def encoded_health() -> tuple[int, bytes]:
    fresh = _health.encoded and time.monotonic() - _health.finished_at <= STALE_AFTER
    return 200, _health.encoded if fresh else encode(_health.body())


def encoded_readiness() -> tuple[int, bytes]:
    readiness = _health.readiness()
    return (200 if readiness["ready"] else 503), encode(readiness)


def refresh() -> None:
    """One round: each check in turn, then the encoded body."""
    database = _database()
    if database == OK and not _health.migrated:
        _health.migrated = _migrated()
    if database == OK and _health.migrated:
        database = _health.writes
    _health.checks = {"database": database, "broker": _broker(), "spool": _spool()}
    if database != OK:
        connections.close_all()  # a broken connection is not kept for the next round
    _health.finished_at = time.monotonic()
    _health.encoded = encode(_health.body())
    checked.set()


def noting_writes(write: Callable[[], None]) -> Callable[[], None]:
    """`write`, and whether the database took it: one that answers may be read-only after a fail-over, or its disk full."""

    @functools.wraps(write)
    def noted() -> None:
        try:
            write()
        except DatabaseError as error:
            _health.writes = f"takes no writes ({type(error).__name__})"
            raise
        _health.writes = OK

    return noted


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, OSError) as error:
        return f"away ({type(error).__name__})"
    return OK


def _migrated() -> bool:
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False


def _broker() -> str:
    """PING would be answered by a broker that is full, or by a replica: this is a write that changes nothing."""
    try:
        broker_client().lpushx("aisoc.health", "")
    except redis.exceptions.NoPermissionError:  # it answers, and keeps its clients to the queues
        return OK
    except redis.ResponseError as error:
        return f"takes no messages ({type(error).__name__})"
    except (redis.RedisError, OSError) as error:
        return f"away ({type(error).__name__})"
    return OK


def _spool() -> str:
    problem = drain_quietly()
    waiting = backlog(settings.AIRGAP_SPOOL_DIR)
    if problem:
        return f"{waiting} segments wait: {problem}" if waiting else problem
    recorder = events.recorder()
    if recorder is not None and (in_memory := recorder.spool.overflowed):
        return f"{in_memory} refused attempts are counted in memory alone: there is no room in {settings.AIRGAP_SPOOL_DIR}"
    if foreign := unreadable(settings.AIRGAP_SPOOL_DIR):
        return f"{foreign} segments belong to another user; give them to this one"
    aside = damaged(settings.AIRGAP_SPOOL_DIR)
    return f"{aside} segments could not be read: what was refused there is not in the trail; keep the .damaged files elsewhere" if aside else OK


_client: "redis.Redis | None" = None


def broker_client() -> "redis.Redis":
    """A client of its own: Celery's pool may be busy with what is being checked."""
    global _client
    if _client is None:
        url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
        _client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    return _client
