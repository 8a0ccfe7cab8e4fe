"""What answers is not yet in order: a database that takes no writes, and a broker that takes no messages."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection

from aisoc_admin import health

pytest_plugins = ["tests.plugins.valkey"]


@pytest.fixture
def broker(valkey: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    settings.CELERY_BROKER_URL = valkey
    monkeypatch.setattr(health, "_client", None)
    with redis.Redis.from_url(valkey.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")) as client:
        yield client


def test_a_broker_that_is_full_or_a_replica_takes_no_messages(broker: "redis.Redis") -> None:
    assert health._broker() == "ok"
    broker.config_set("maxmemory", "1mb")
    broker.config_set("maxmemory-policy", "noeviction")
    assert health._broker() == "takes no messages (OutOfMemoryError)"
    broker.config_set("maxmemory", "0")
    assert health._broker() == "ok"
    broker.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert health._broker() == "takes no messages (ReadOnlyError)"
    broker.execute_command("REPLICAOF", "NO", "ONE")
    assert health._broker() == "ok"
    assert broker.keys() == [], "the check leaves nothing behind"


def test_a_broker_that_keeps_its_clients_to_the_queues_is_ok(broker: "redis.Redis") -> None:
    broker.execute_command("ACL", "SETUSER", "default", "resetkeys", "~intel", "~llm", "~actions", "~_kombu*", "~unacked*")
    assert health._broker() == "ok"


@pytest.mark.django_db
def test_a_database_that_takes_no_writes_is_not_ready(broker: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a fail-over to a standby, or with a disk that is full: SELECT 1 is answered all the same."""
    monkeypatch.setattr(health, "_health", health.Health())
    monkeypatch.setattr("aisoc_admin.health.connections.close_all", lambda: None)  # the test's own connection
    full = [True]

    def beat() -> None:
        if full:
            raise OperationalError("database or disk is full")

    noted = health.noting_writes(beat)
    assert noted.__qualname__ == beat.__qualname__, "the log names what was tried"
    with pytest.raises(OperationalError):
        noted()
    health.refresh()
    assert health.current().readiness() == {"ready": False, "reasons": ["database: takes no writes (OperationalError)"]}
    assert health.current().body()["status"] == "degraded"
    full.clear()
    noted()
    health.refresh()
    assert health.current().readiness() == {"ready": True, "reasons": []}
    assert connection.is_usable()
