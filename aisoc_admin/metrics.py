"""Prometheus metrics on a port of their own: a table of families, each read when Prometheus asks.

What is the deployment's (the trail, feeds, queues) is read from the database and served by beat, so that it is counted once;
what is a host's is served by every process. No label holds a host name, a URL or a tenant.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import Count, Sum
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from airgap import clock, fleet
from airgap.models import EgressTotal
from airgap.queries import SPANS, EventFilter
from airgap.segments import backlog
from airgap.snapshot import guard_snapshot
from aisoc_admin import health
from llm.resolver import Path
from llm.uses import uses
from threatintel.models import FeedRun
from threatintel.snapshot import feeds_snapshot

QUEUES: Final = ("intel", "llm", "actions")
KEPT: Final = 5.0  # seconds for which an answer serves again: asking often costs nothing
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
log = structlog.stdlib.get_logger("metrics")
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its labels. `read` gives label values and a value for each series; deployment: served by beat alone."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[], Iterable[Sample]]
    deployment: bool = True
    kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily


def _refused() -> Iterator[Sample]:
    day = next(span for span in SPANS if span.word == "24h")
    totals = EventFilter(since=day.since(clock.now())).totals(EgressTotal.Span.HOUR)
    for rule, layer, count in totals.values_list("rule", "layer").annotate(attempts=Sum("count")).order_by("rule", "layer"):
        yield (rule, layer), count


def _processes() -> Iterator[Sample]:
    found = [process.state for process in fleet.processes()]
    for state in fleet.State:
        yield (state.value,), found.count(state)


def _feed_states() -> Iterator[Sample]:
    for feed in feeds_snapshot():
        yield (feed.name, feed.state.value), 1


def _feed_ages() -> Iterator[Sample]:
    now = clock.now()
    for feed in feeds_snapshot():
        if feed.last_success is not None:
            yield (feed.name,), (now - feed.last_success).total_seconds()


def _data_ages() -> Iterator[Sample]:
    now = clock.now()
    for feed in feeds_snapshot():
        if feed.data_date is not None:
            yield (feed.name,), (now - feed.data_date).total_seconds()


def _indicators() -> Iterator[Sample]:
    for feed in feeds_snapshot():
        yield (feed.name,), feed.indicators


def _runs() -> Iterator[Sample]:
    waiting = FeedRun.objects.filter(state__in=(FeedRun.State.QUEUED, FeedRun.State.RUNNING))
    found = dict(waiting.values_list("state").annotate(runs=Count("id")))
    for state in (FeedRun.State.QUEUED, FeedRun.State.RUNNING):
        yield (state.value,), found.get(state.value, 0)


def _messages() -> Iterator[Sample]:
    client = health.broker_client()
    for queue in QUEUES:
        yield (queue,), int(client.llen(queue))
    yield ("unacknowledged",), int(client.hlen("unacked"))


def _answers() -> Iterator[Sample]:
    for use in uses():
        yield (use.capability, Path.LIVE.value), use.live
        yield (use.capability, Path.FALLBACK.value), use.fallback


def _checks() -> Iterator[Sample]:
    for name, found in health.current().checks.items():
        yield (name,), found == health.OK


def _enforcing() -> Iterator[Sample]:
    guard = guard_snapshot()
    yield (), settings.AIRGAP_POLICY.enabled and guard.mode == "enforce" and guard.active


def _spool() -> Iterator[Sample]:
    yield (), backlog(settings.AIRGAP_SPOOL_DIR)


FAMILIES: Final = (
    Family("aisoc_egress_refused_24h", "Outbound attempts refused in the last 24 hours.", ("rule", "layer"), _refused),
    Family("aisoc_processes", "Processes of the deployment by what their heartbeats say.", ("state",), _processes),
    Family("aisoc_feed_state", "1 for the state that each feed is in.", ("feed", "state"), _feed_states),
    Family("aisoc_feed_success_age_seconds", "Since the last poll that ended well.", ("feed",), _feed_ages),
    Family("aisoc_feed_data_age_seconds", "Since the date that the feed's own data bears.", ("feed",), _data_ages),
    Family("aisoc_feed_indicators", "Live sources of indicators.", ("feed",), _indicators),
    Family("aisoc_feed_runs", "Polls that wait or run.", ("state",), _runs),
    Family("aisoc_queue_messages", "Messages in the broker, and those that workers hold.", ("queue",), _messages),
    Family("aisoc_llm_answers", "Answers of each capability by how they were made.", ("capability", "path"), _answers, kind=CounterMetricFamily),
    Family("aisoc_check_ok", "1 when the check of this process found nothing wrong.", ("check",), _checks, deployment=False),
    Family("aisoc_airgap_enforcing", "1 when the air gap is on and this process's guard enforces it.", (), _enforcing, deployment=False),
    Family("aisoc_spool_waiting_segments", "Segments of refusals on this host that wait for the database.", (), _spool, deployment=False),
)


class Families(Collector):
    """The families that this process serves. One whose source is away is left out, and aisoc_metrics_missing counts it."""

    def __init__(self, *, deployment: bool) -> None:
        self._families = [family for family in FAMILIES if deployment or not family.deployment]

    def collect(self) -> Iterator[Metric]:
        missing = 0
        for family in self._families:
            metric = family.kind(family.name, family.help, labels=family.labels)
            try:
                for labels, value in family.read():
                    metric.add_metric(labels, float(value))
            except (DatabaseError, redis.RedisError, OSError) as error:
                log.info("metrics.source_away", metric=family.name, error=type(error).__name__)
                missing += 1
                continue
            yield metric
        yield GaugeMetricFamily("aisoc_metrics_missing", "Metrics left out, because the database or the broker is away.", value=missing)


class Exposition:
    """The text of this process's metrics, made at most once in KEPT seconds and by one thread at a time."""

    def __init__(self, *, deployment: bool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Families(deployment=deployment))
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._text = b""

    def text(self) -> bytes:
        with self._lock:
            if time.monotonic() - self._made_at > KEPT:
                try:
                    self._text = generate_latest(self._registry)
                finally:
                    connections.close_all()  # the next request comes in another thread
                self._made_at = time.monotonic()
            return self._text
