"""The chores that beat sends exist, and go to queues that a worker of bin/up takes from."""

from aisoc_admin import supervise
from aisoc_admin.celery import app
from aisoc_admin.scheduler import CHORES


def test_each_chore_is_a_task_in_a_queue_that_somebody_works_on() -> None:
    app.loader.import_default_modules()
    for task, (every, queue) in CHORES.items():
        assert task in app.tasks, task
        assert queue in supervise.QUEUES.split(","), task
        assert every >= 1
