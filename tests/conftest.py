"""Fixtures that every test may use. Sockets other than loopback raise."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

from airgap import events
from airgap.policy import EgressPolicy
from aisoc_admin import env, first

pytest_plugins = [
    "tests.plugins.quick_flush",
    "tests.plugins.mirror",
    "tests.plugins.valkey",
    "tests.plugins.misp_double",
    "tests.plugins.misp_server",
    "tests.plugins.receiver",
    "tests.plugins.smtp",
    "tests.plugins.llm_server",
    "tests.plugins.llmock_server",
    "tests.plugins.taxii_server",
    "tests.plugins.model_server",
    "tests.plugins.warning_lists",
]

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite tests use a file, as production does: other threads and processes must see the same database."""
    from django.conf import settings

    default = settings.DATABASES["default"]
    if default["ENGINE"].endswith("sqlite3"):
        default.setdefault("TEST", {})["NAME"] = str(tmp_path_factory.mktemp("db") / "test.sqlite3")


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest) -> None:
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def spool_dir(tmp_path: Path, settings: object) -> Path:
    """Each test spools into a folder of its own."""
    folder = tmp_path / "spool"
    settings.AIRGAP_SPOOL_DIR = folder
    events.configure(folder, service="api")
    return folder


@pytest.fixture(autouse=True)
def _fresh_snapshots(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test looked at, or left to grow old, is not shown to the next."""
    from aisoc_admin import health

    monkeypatch.setattr(health, "_health", health.Health())
    yield
    first.airgap_status.cache_clear()
    first.llm_status.cache_clear()


@pytest.fixture
def airgapped(settings: object) -> Callable[..., EgressPolicy]:
    """airgapped("intel.corp") puts this process under that policy."""

    def put(allowlist: str = "", *, on: str = "1") -> EgressPolicy:
        settings.AIRGAP_POLICY = EgressPolicy.from_text(on, allowlist)
        first.airgap_status.cache_clear()
        first.llm_status.cache_clear()
        return settings.AIRGAP_POLICY

    return put


@pytest.fixture
def environment(settings: object) -> Callable[..., env.Environment]:
    """environment(CISA_KEV_URL=…) gives this process those variables, and no others."""

    def put(**variables: str) -> env.Environment:
        settings.ENV = env.read(variables)
        settings.AIRGAP_POLICY = settings.ENV.policy
        settings.AIRGAP_TENANT_RULE = settings.ENV.tenant_rule
        first.airgap_status.cache_clear()
        first.llm_status.cache_clear()
        return settings.ENV

    return put


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("The shared data folder is not there.")
    return SHARED
