"""Readers in each role, a database that is away, and runs of feeds: for the tests of the pages, with and without a browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from airgap.models import ProcessBeat
from airgap.snapshot import GuardSnapshot, airgap_snapshot, policy_digest
from console.process import process_name
from tenants.models import Membership, Tenant
from tenants.roles import Role
from threatintel import ingest
from threatintel.models import FeedCursor, FeedRun
from threatintel.specs import Page, Record, Tlp

AIRGAPPED = {
    "AISOC_AIRGAPPED": "1",
    "AISOC_AIRGAP_ALLOWLIST": "mirror.example.internal,intel.corp",
    "LLM_BASE_URL": "http://ollama:11434/v1",
    "LLM_API_KEY": "sk-planted-7777",
    "LLM_MODEL": "llama3.1:8b",
    "CISA_KEV_URL": "http://kev-mirror.internal/feed.json",
    "OTX_API_KEY": "otx-planted-8888",
}
HEALTHY = {"database": "ok", "broker": "ok", "spool": "ok"}


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def sealed(environment: Callable[..., object]) -> None:
    """Air gap on with an allowlist, a local LLM, a mirrored KEV and a public OTX."""
    environment(**AIRGAPPED)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background thread, which no test runs, found everything in order."""
    monkeypatch.setattr("aisoc_admin.health._health.checks", HEALTHY)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """guarded("enforce") gives this process that guard."""

    def put(mode: str, *, active: bool = True, selftest: bool = True) -> None:
        for place in ("process", "errors"):
            monkeypatch.setattr(f"console.{place}.guard_snapshot", lambda: GuardSnapshot(mode, active=active, selftest=selftest))

    return put


@pytest.fixture
def heard(db: None) -> Callable[..., ProcessBeat]:
    """heard() is the heartbeat of this process, heard("worker-1:9", role="worker", seconds_ago=60) that of another one under the same policy."""

    def beat(name: str = "", *, seconds_ago: float = 3, **fields: Any) -> ProcessBeat:
        host, _colon, pid = (name or process_name()).rpartition(":")
        now, policy = timezone.now(), airgap_snapshot()
        values = {
            "instance": f"{host}{pid}{ProcessBeat.objects.count()}", "service": "api", "role": "web", "host": host, "pid": int(pid), "version": "0.1.0",
            "airgapped": policy.enabled, "guard": "enforce" if policy.enabled else "inactive", "digest": policy_digest(policy), "skew": 0.1,
            "started_at": now - timedelta(hours=40), "beat_at": now - timedelta(seconds=seconds_ago),
        }  # fmt: skip
        return ProcessBeat.objects.create(**{**values, **fields})

    return beat


@pytest.fixture
def agreeing(sealed: None, heard: Callable[..., ProcessBeat]) -> None:
    """This process and three others, all under the policy of `sealed`."""
    heard()
    heard("worker-1:9", service="threatintel", role="worker")
    heard("worker-2:9", service="actions", role="worker")
    heard("beat-1:7", service="threatintel", role="beat")


@pytest.fixture
def reader(db: None) -> Callable[..., Client]:
    """reader("auditor") is a browser signed in as a user with that role, reader("analyst acme, tenant_admin globex") with those; reader(None) has none."""

    def sign_in(roles: str | None, *, staff: bool = False) -> Client:
        first = (roles or "nobody").split()[0]
        user = User.objects.create_user(f"{first}-1", password="correct-horse-9", is_staff=staff)
        for role, _space, slug in (text.partition(" ") for text in (roles or "").split(", ") if text):
            tenant = Tenant.objects.get_or_create(slug=slug, defaults={"name": slug})[0] if slug else None
            Membership.objects.create(user=user, role=Role(role), tenant=tenant)
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def operator(reader: Callable[..., Client]) -> Client:
    return reader("operator")


@pytest.fixture
def auditor(reader: Callable[..., Client]) -> Client:
    return reader("auditor")


@contextmanager
def away() -> Iterator[None]:
    """Every statement of this thread fails as it does when the database is gone."""

    def refuse(*_args: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse):
        yield


@pytest.fixture
def database_away() -> Callable[[], Any]:
    return away


@pytest.fixture
def ran(db: None) -> Callable[..., FeedRun]:
    """ran("kev", "ok", minutes_ago=5, added=3) is a run of a feed as the worker leaves it."""

    def run(feed: str, state: str, *, minutes_ago: float = 0, **values: Any) -> FeedRun:
        when = timezone.now() - timedelta(minutes=minutes_ago)
        finished = None if state in ("queued", "running") else when
        slot = f"1.{FeedRun.objects.count()}"
        made = FeedRun.objects.create(
            feed=feed, slot=slot, state=state, attempt=1, not_before=when, started_at=when - timedelta(seconds=2), finished_at=finished, **values
        )
        FeedRun.objects.filter(pk=made.pk).update(created_at=when)
        return made

    return run


@pytest.fixture
def indicators(db: None) -> Callable[[str, int], None]:
    def store(feed: str, count: int) -> None:
        values = [f"CVE-2024-{10000 + number}" for number in range(count)]
        records = tuple(Record(type="vulnerability", value=value, external_id=value, confidence=90, tlp=Tlp.CLEAR) for value in values)
        ingest.store(feed, Page(records=records, cursor=None))
        FeedCursor.objects.update_or_create(feed=feed, defaults={"data_date": timezone.now(), "live": count})

    return store


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(response: Any) -> str:
    """The page as it reads, with single spaces."""
    parser = _Text()
    parser.feed(response.content.decode())
    return " ".join("".join(parser.words).split())


@pytest.fixture
def text() -> Callable[[Any], str]:
    return text_of
