"""The drain: every spooled attempt ends in the database once, whatever dies in between."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from django.db import DatabaseError, connections
from django.db.models import Sum

from airgap import drain as drain_module
from airgap import events
from airgap.drain import drain, drain_quietly
from airgap.models import DrainedSegment, EgressEvent
from airgap.policy import EgressPolicy
from airgap.transport import AirgapBlocked, gated_client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def refuse(airgapped: Callable[..., EgressPolicy]) -> Callable[..., None]:
    airgapped()

    def many(times: int, url: str = "https://api.openai.com/v1") -> None:
        with gated_client(purpose="test", inner=httpx.MockTransport(lambda _request: httpx.Response(200))) as client:
            for _ in range(times):
                with pytest.raises(AirgapBlocked):
                    client.get(url)

    return many


def total() -> int:
    return EgressEvent.objects.aggregate(n=Sum("count"))["n"] or 0


def test_refusals_become_rows_of_counts(refuse: Callable[..., None]) -> None:
    while time.time() % 60 > 55:
        time.sleep(0.5)  # not across the turn of a minute
    refuse(25)
    refuse(3, "http://8.8.8.8:8080/x/y?z=1")
    assert drain() == 28
    rows = {(row.host, row.port, row.path, row.rule, row.count) for row in EgressEvent.objects.all()}
    assert rows == {("api.openai.com", 443, "/v1", "public", 25), ("8.8.8.8", 8080, "/x/y", "public", 3)}
    row = EgressEvent.objects.get(host="8.8.8.8")
    assert (row.layer, row.purpose, row.caller, row.service) == ("http", "test", __name__, "api")
    assert row.reason == "8.8.8.8 is not a private address and not on AISOC_AIRGAP_ALLOWLIST."
    assert row.minute.second == 0


def test_a_hundred_thousand_refusals_in_a_minute_are_one_row(spool_dir: Path) -> None:
    recorder = events.recorder()
    assert recorder is not None
    now = time.time() // 60 * 60 + 1
    for _ in range(100_000):
        recorder.spool.add(("api.openai.com", 443, "/v1", "public", "http", "test", "", "x"), "why", now)
    assert drain() == 100_000
    assert [row.count for row in EgressEvent.objects.all()] == [100_000]


def test_the_drain_does_nothing_twice(refuse: Callable[..., None]) -> None:
    refuse(4)
    assert (drain(), drain()) == (4, 0)
    assert total() == 4


def test_a_drainer_that_dies_before_it_removes_the_file_counts_nothing_twice(
    refuse: Callable[..., None], spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(4)

    def die(_self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drain_module.WaitingSegment, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            drain()
    assert (total(), len(list(spool_dir.glob("*.sealed")))) == (4, 1)
    assert drain() == 0
    assert (total(), len(list(spool_dir.glob("*.sealed")))) == (4, 0)


def test_a_drainer_that_dies_inside_the_transaction_loses_nothing(refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(4)
    with monkeypatch.context() as patch:
        patch.setattr(drain_module, "_insert", lambda *_args, **_kwargs: (_ for _ in ()).throw(DatabaseError("gone")))
        assert "away" in drain_quietly()
    assert (total(), DrainedSegment.objects.count()) == (0, 0)
    assert drain() == 4
    assert total() == 4


def test_two_drainers_at_once_count_everything_once(spool_dir: Path) -> None:
    recorder = events.recorder()
    assert recorder is not None
    for round_ in range(30):
        for number in range(50):
            recorder.spool.add((f"h{number}.example", 443, "/", "public", "http", "test", "", "x"), "", 1_750_000_000 + round_)
        recorder.spool.seal()
    failures: list[str] = []

    def work() -> None:
        for _ in range(3):
            if problem := drain_quietly():
                failures.append(problem)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert total() == 30 * 50
    assert list(spool_dir.glob("*.se*")) == []


def test_a_refusal_stands_and_is_kept_while_the_database_is_away(
    refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch, spool_dir: Path
) -> None:
    def away(*_args: object, **_kwargs: object) -> None:
        raise DatabaseError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(DrainedSegment.objects, "bulk_create", away)
        for _ in range(40):
            refuse(2)
            assert drain_quietly()
    assert len(list(spool_dir.glob("*"))) <= 2, "a database that is away must not leave many small segments"
    assert total() == 0
    drain()
    assert total() == 80


def test_a_damaged_file_is_set_aside_and_the_rest_is_drained(refuse: Callable[..., None], spool_dir: Path) -> None:
    refuse(2)
    (spool_dir / "a-foreign.sealed").write_bytes(b"rubbish")
    assert drain() == 2
    assert [path.name for path in spool_dir.iterdir()] == ["a-foreign.damaged"]
