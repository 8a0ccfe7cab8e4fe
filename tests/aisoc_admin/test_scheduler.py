"""The chores that beat sends exist, and go to queues that a worker of bin/up takes from."""

from types import SimpleNamespace

import pytest

from aisoc_admin import health, supervise
from aisoc_admin.celery import app
from aisoc_admin.scheduler import CHORES, ENOUGH, LeasedScheduler


def test_each_chore_is_a_task_in_a_queue_that_somebody_works_on() -> None:
    app.loader.import_default_modules()
    for task, (every, queue) in CHORES.items():
        assert task in app.tasks, task
        assert queue in supervise.QUEUES.split(","), task
        assert every >= 1


def test_a_queue_that_nobody_takes_from_does_not_grow_for_days(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A chore every 10 s and a nudge for each waiting poll were 20 MB a day in the broker, and work for an hour once a worker was back."""
    queues = {"intel": 0, "actions": 0}
    sent: list[str] = []

    def send(task: str, *, queue: str, **_: object) -> None:
        sent.append(task)
        queues[queue] += 1

    monkeypatch.setattr(health, "broker_client", lambda: SimpleNamespace(llen=queues.__getitem__))
    beat = LeasedScheduler.__new__(LeasedScheduler)
    beat.app, beat.crowded = SimpleNamespace(send_task=send), set()
    for second in range(2 * ENOUGH):
        beat.chores = dict.fromkeys(("actions.tasks.sweep",), float(second))
        beat._send_chores(float(second))
        beat._send_poll("kev", "1.1")
    assert queues == {"intel": ENOUGH, "actions": ENOUGH}
    assert [record.msg["queue"] for record in caplog.records if isinstance(record.msg, dict)] == ["actions", "intel"], "told once"
    sent.clear()
    queues["actions"] = queues["intel"] = 0
    beat.chores = dict.fromkeys(CHORES, 0.0)
    beat._send_chores(1.0)
    beat._send_poll("kev", "1.1")
    assert sorted(sent) == sorted([*CHORES, "threatintel.tasks.poll"])
    assert beat.crowded == set()
