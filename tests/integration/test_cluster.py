"""More than one of everything, with kills: nothing is polled twice or lost, no request fails in a rolling restart, and outages heal by themselves.

OUTAGE_SECONDS is how many seconds the database and the broker stay away once everybody says so (4).
"""

import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.plugins.cluster import HOSTS, Cluster, NoDatabase, cluster, wait
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body
from tests.plugins.required import lacking

ROWS = 300
EVERY = 4  # seconds between polls
OUTAGE = float(os.environ.get("OUTAGE_SECONDS") or EVERY)  # seconds
pytestmark = pytest.mark.timeout(170 + OUTAGE)


@pytest.fixture(scope="module")
def mirror() -> Iterator[Mirror]:
    made = Mirror()
    made.answers["/kev.json"] = body(catalogue([row(number) for number in range(ROWS)]))
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(mirror: Mirror) -> Iterator[Cluster]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(cluster(CISA_KEV_URL=f"{mirror.url}/kev.json", CISA_KEV_POLL_INTERVAL=str(EVERY)))
        except NoDatabase as error:
            lacking("peers", str(error))
        yield made


def polls(mirror: Mirror) -> int:
    return sum(path == "/kev.json" for _method, path, _headers in mirror.requests)


def finished(whole: Cluster) -> int:
    return sum(state == "ok" for _slot, state, _attempts in whole.runs())


def test_every_process_of_both_hosts_runs_under_one_policy(whole: Cluster) -> None:
    def agree() -> bool:
        rows = whole.balanced("/api/v1/airgap/processes").json()["results"]
        return Counter(row["role"] for row in rows) == {"web": 4, "worker": 3, "pool": 3, "beat": 2} and {row["state"] for row in rows} == {"ok"}

    wait(agree, 40, whole)


def test_the_role_of_the_product_cannot_change_the_trail_or_the_tables(whole: Cluster) -> None:
    for statement in (
        "UPDATE airgap_egressevent SET host = 'x'",
        "ALTER TABLE airgap_egressevent DISABLE TRIGGER ALL",
        "DROP TRIGGER airgap_egressevent_immutable ON airgap_egressevent",
        "TRUNCATE airgap_egressevent",
        "DELETE FROM airgap_dayhead",
        "DELETE FROM airgap_attestation",
        "DELETE FROM airgap_signoff",
        "DELETE FROM llm_credentialchange",
        "UPDATE django_migrations SET name = 'x'",
        "CREATE TABLE mine (id int)",
        "SET ROLE aisoc_owner",
        "CREATE ROLE other",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            whole.sql(statement, user="aisoc_app")
    whole.manage("check", "--deploy", "--database", "default", "--fail-level", "WARNING")
    owner = whole.environment["DATABASE_URL"].replace("aisoc_app", "aisoc_owner")
    with pytest.raises(AssertionError, match=r"aisoc\.W002"):
        whole.manage("check", "--deploy", "--database", "default", "--fail-level", "WARNING", DATABASE_URL=owner)


def test_nothing_is_polled_twice_and_nothing_is_lost_when_any_one_is_killed(whole: Cluster, mirror: Mirror) -> None:
    wait(lambda: finished(whole) >= 1, 40, whole)
    for victim in ("worker-1", "the leader", "web-1"):
        name = whole.leader() if victim == "the leader" else victim
        assert name, "somebody leads"
        whole.kill(name)
        before = finished(whole)
        wait(lambda before=before: finished(whole) > before, 40, whole)  # the others go on
        whole.start(name)
    wait(lambda: all(whole.is_ready(name) for name in HOSTS), 40, whole)
    # a slot that a new leader's took before it began is no loss
    wait(lambda: all(state == "ok" for _slot, state, attempts in whole.runs() if attempts), 40, whole)
    runs, asked = whole.runs(), polls(mirror)
    assert len({slot for slot, _state, _attempts in runs}) == len(runs)
    began = sum(attempts for _slot, _state, attempts in whole.runs())
    assert asked <= began, "no poll that is not in the books"
    assert sum(attempts > 1 for _slot, _state, attempts in runs) <= 2, "only what a killed worker held was begun again"
    assert whole.sql("SELECT count(*), count(DISTINCT value) FROM threatintel_indicator") == [(ROWS, ROWS)]


@contextmanager
def asked_all_the_time(whole: Cluster) -> Iterator[Counter[str]]:
    """Two clients that ask for status, a look-up and events through the balancer; counts what came."""
    counts: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for path in ("/api/v1/airgap/status", "/api/v1/iocs/search?value=CVE-2024-10007", "/api/v1/airgap/events"):
                try:
                    answer = whole.balanced(path)
                except (OSError, http.client.HTTPException) as error:
                    counts[type(error).__name__] += 1
                else:
                    right = answer.status == 200 and (b"CVE-2024-10007" in answer.body) == ("iocs" in path)
                    counts["right" if right else f"{answer.status} {answer.body[:120]!r}"] += 1

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield counts
    finally:
        over.set()
        for client in clients:
            client.join()


def test_a_rolling_restart_fails_no_request(whole: Cluster) -> None:
    with asked_all_the_time(whole) as counts:
        for name in ("web-1", "web-2"):
            whole.stop(name)
            whole.start(name)
            wait(lambda name=name: whole.is_ready(name), 40, whole)
        time.sleep(1)
    assert set(counts) == {"right"}, counts
    assert counts["right"] > 30


@contextmanager
def healed(whole: Cluster, outage: str) -> Iterator[Callable[[], None]]:
    """What is inside makes an outage and calls the function once all say so; afterwards all is whole by itself and the polls go on. Prints how fast."""
    began = time.monotonic()

    def said() -> None:
        print(f"{outage} away: said by all after {time.monotonic() - began:.1f} s")
        time.sleep(OUTAGE)

    yield said
    began = time.monotonic()
    before = finished(whole)
    wait(lambda: all(whole.is_whole(name) and whole.is_ready(name) for name in HOSTS), 30, whole)
    print(f"{outage} back: all whole after {time.monotonic() - began:.1f} s")
    wait(lambda: finished(whole) > before, 40, whole)
    print(f"{outage} back: next poll at its end after {time.monotonic() - began:.1f} s")


def test_a_database_that_is_away_is_said_and_healed(whole: Cluster) -> None:
    with healed(whole, "database") as said:
        whole.shut_database()
        try:
            wait(lambda: all(whole.is_unready(name) and whole.is_degraded(name, "database") for name in HOSTS), 30, whole)
            said()
            assert whole.ask("web-1", "/api/v1/airgap/status", token=False).status == 200, "what needs no database is answered"
            assert all(process.poll() is None for process in whole.processes.values()), "nobody gives up"
        finally:
            whole.open_database()


def test_a_broker_that_is_away_is_said_and_healed(whole: Cluster) -> None:
    with healed(whole, "broker") as said:
        whole.stop_broker()
        try:
            wait(lambda: all(whole.is_degraded(name, "broker") for name in HOSTS), 30, whole)
            said()
            assert whole.is_ready("web-1"), "pages and look-ups need no broker"
            assert all(process.poll() is None for process in whole.processes.values()), "nobody gives up"
        finally:
            whole.start_broker()
