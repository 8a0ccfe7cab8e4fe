"""The product's Celery application with one more task: `celery -A tests.egress.in_pool worker …`."""

from pathlib import Path

from aisoc_admin.celery import app
from tests.egress import clients


@app.task(name="tests.egress.try_clients")
def try_clients(answer: str) -> None:
    """Tries every client in this pool child and writes the attempts to a file."""
    clients.write("worker", Path(answer))
