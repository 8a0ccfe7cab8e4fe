"""The `valkey` fixture: a real Valkey of its own for one test. Enabled by `pytest_plugins = ["tests.plugins.valkey"]`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisoc_admin import embedded


@pytest.fixture
def valkey() -> Iterator[str]:
    """The URL of an empty server, as CELERY_BROKER_URL takes it. Not in tmp_path: a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder, embedded.running(Path(folder)) as url:
        yield url
