"""Metrics say what the pages say, cost one reading in five seconds however often they are asked for, and name no host and no tenant."""

import http.client
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import redis
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from airgap import clock
from aisoc_admin import health, metrics
from aisoc_admin.health_server import serve_metrics
from aisoc_admin.role import Role
from llm import uses
from llm.resolver import Path
from tests.airgap.trail import drained, event
from tests.conftest import ROOT
from tests.plugins.processes import free_port
from threatintel.models import FeedRun

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> "redis.Redis":
    class Broker:
        def llen(self, queue: str) -> int:
            return {"intel": 4}.get(queue, 0)

        def hlen(self, _key: str) -> int:
            return 2

    monkeypatch.setattr(health, "broker_client", Broker)
    return Broker()  # type: ignore[return-value]


def read(text: bytes) -> dict[tuple[str, ...], float]:
    """Series by name and values of the labels, these in the order of their names."""
    return {
        (sample.name, *sample.labels.values()): sample.value for family in text_string_to_metric_families(text.decode()) for sample in family.samples
    }


def test_what_the_deployment_does_is_told(environment: Callable[..., Any]) -> None:
    environment(AISOC_AIRGAPPED="1", OTX_API_KEY="x")
    now = clock.now()
    drained(event(minute=now, count=5), event(minute=now, host="other.example", count=2), event(minute=now, rule="malformed", layer="dns"), now=now)
    FeedRun.objects.create(feed="kev", slot="1", not_before=now)
    uses.count("explain", Path.FALLBACK, "busy")
    found = read(metrics.Exposition(deployment=True).text())
    assert (found[("aisoc_llm_answers_total", "explain", "fallback")], found[("aisoc_llm_answers_total", "explain", "live")]) == (1, 0)
    assert found[("aisoc_egress_refused_24h", "http", "public")] == 7
    assert found[("aisoc_egress_refused_24h", "dns", "malformed")] == 1
    assert found[("aisoc_feed_state", "otx", "REFUSED")] == 1
    assert found[("aisoc_feed_runs", "queued")] == 1
    assert (found[("aisoc_queue_messages", "intel")], found[("aisoc_queue_messages", "unacknowledged")]) == (4, 2)
    assert (found[("aisoc_processes", "drift")], found[("aisoc_metrics_missing",)]) == (0, 0)
    assert not [series for series in found if "example" in str(series) or "openai" in str(series)]


def test_a_process_other_than_beat_tells_of_its_host_alone() -> None:
    found = {series[0] for series in read(metrics.Exposition(deployment=False).text())}
    assert found == {"aisoc_check_ok", "aisoc_airgap_enforcing", "aisoc_spool_waiting_segments", "aisoc_metrics_missing"}


def test_a_source_that_is_away_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError

    monkeypatch.setattr(clock, "now", away)
    monkeypatch.setattr(health, "broker_client", lambda: redis.Redis(unix_socket_path="/nowhere"))
    found = read(metrics.Exposition(deployment=True).text())
    assert found[("aisoc_metrics_missing",)] == 5
    assert not [series for series in found if series[0] in ("aisoc_egress_refused_24h", "aisoc_queue_messages")]


def test_asking_often_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    monkeypatch.setattr(metrics, "FAMILIES", (metrics.Family("x", "", (), lambda: reads.append(1) or [((), 1.0)]),))
    exposition = metrics.Exposition(deployment=True)
    assert exposition.text() == exposition.text()
    assert len(reads) == 1
    monkeypatch.setattr(metrics, "KEPT", -1.0)
    exposition.text()
    assert len(reads) == 2


def test_they_are_served_on_a_port_of_their_own() -> None:
    port = free_port()
    serve_metrics("127.0.0.1", port, Role.BEAT)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        for path, status, kind in (("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"), ("/health", 404, "application/json")):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
    assert b"There is /metrics here." in body


def test_two_workers_of_a_web_share_the_port_and_two_services_do_not() -> None:
    port = free_port()
    serve_metrics("127.0.0.1", port, Role.WEB)
    serve_metrics("127.0.0.1", port, Role.WEB)
    with pytest.raises(OSError, match="in use"):
        serve_metrics("127.0.0.1", port, Role.BEAT)


def test_each_metric_is_documented() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for family in metrics.FAMILIES:
        assert f"`{family.name}`" in page, family.name
        assert all(f"`{label}`" in page for label in family.labels)
