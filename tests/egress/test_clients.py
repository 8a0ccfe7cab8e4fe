"""Under air gap no client leaves any process of the product: no DNS query, no packet, seen from outside it; and the trail has each attempt.

Without the air gap, the same clients leave the same processes.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.egress.clients import AS_NUMBER, FORK, PRIVATE_LOOK, Attempt
from tests.egress.lab import PUBLIC4
from tests.plugins.required import lacking

NAMESPACE = ["unshare", "-rnm"]
pytestmark = [pytest.mark.netns, pytest.mark.timeout(170)]
SERVICES = {"web": "api", "worker": "threatintel", "command": "api"}  # the processes of the product, and what the trail calls each
PLACES = (*SERVICES, "bare")


def in_lab(folder: Path, module: str, **variables: str) -> dict[str, Any]:
    """What the lab saw of `python -m module`, with the JSON that it printed last."""
    try:
        usable = subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        usable = False
    if not usable:
        lacking("netns", "Network namespaces are not to be had here (unshare -rnm ip link set lo up).")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "AISOC_DATA_DIR": str(folder / "var"), **variables}
    python = (sys.executable, "-W", "ignore", "-m")
    done = subprocess.run(
        [*NAMESPACE, *python, "tests.egress.lab", *python, module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["status"] == 0, seen["errors"]
    return {**seen, **json.loads(seen["output"].splitlines()[-1])}


@dataclass(frozen=True, slots=True)
class Run:
    """The table of clients tried in each place, what arrived, and what the trail has."""

    attempts: dict[str, list[Attempt]]
    trail: list[dict[str, Any]]
    queries: Counter[str]
    packets: Counter[str]  # "tcp 93.184.216.34:443"
    started: dict[str, int]

    @classmethod
    def of(cls, seen: dict[str, Any]) -> "Run":
        attempts = {place: [Attempt(**one) for one in seen["attempts"][place]] for place in PLACES}
        return cls(attempts, seen["trail"], Counter(name.lower() for name in seen["queries"]), Counter(seen["packets"]), seen["started"])

    def rows(self, attempt: Attempt) -> list[dict[str, Any]]:
        return [row for row in self.trail if (row["process"], row["host"]) == (attempt.process, attempt.host)]

    def arrivals(self, attempt: Attempt) -> int:
        """Queries for the host of the attempt, and packets to it."""
        host = {str(int(ip_address(AS_NUMBER))): AS_NUMBER}.get(attempt.host, attempt.host)
        sent = sum(count for packet, count in self.packets.items() if packet.split(" ")[1].rpartition(":")[0] == host)
        try:
            return sent + self.queries[ip_address(host).reverse_pointer]
        except ValueError:
            return sent + self.queries[host]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.of(in_lab(tmp_path_factory.mktemp("on"), "tests.egress.everywhere", AISOC_AIRGAPPED="1"))


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.of(in_lab(tmp_path_factory.mktemp("off"), "tests.egress.everywhere", AISOC_AIRGAPPED="0"))


@pytest.mark.parametrize("place", PLACES)
def test_every_client_is_blocked(guarded: Run, place: str) -> None:
    assert len(guarded.attempts[place]) >= 60
    assert [one for one in guarded.attempts[place] if one.outcome != "blocked"] == []


def test_no_query_and_no_packet_arrived(guarded: Run) -> None:
    """But one: a name that looks internal may be asked of the resolver; its public answer is what is refused."""
    assert set(guarded.queries) <= {PRIVATE_LOOK}
    assert not guarded.packets


@pytest.mark.parametrize("place", SERVICES)
def test_each_attempt_is_in_the_trail_of_its_process(guarded: Run, place: str) -> None:
    """Also those of a forked child, and of a command that has ended."""
    assert [one for one in guarded.attempts[place] if not guarded.rows(one)] == []
    assert {row["service"] for one in guarded.attempts[place] for row in guarded.rows(one)} == {SERVICES[place]}


@pytest.mark.parametrize("place", SERVICES)
def test_the_trail_names_the_module_that_called(guarded: Run, place: str) -> None:
    assert {one.client for one in guarded.attempts[place] if {row["caller"] for row in guarded.rows(one)} != {"tests.egress.clients"}} == set()


@pytest.mark.parametrize("place", SERVICES)
def test_a_public_answer_to_a_private_name_is_in_the_trail_as_such(guarded: Run, place: str) -> None:
    rebinding = next(one for one in guarded.attempts[place] if one.client == "private name, public answer")
    assert [row["rule"] for row in guarded.rows(rebinding)] == ["private_name_public_answer"]
    assert sum(row["count"] for row in guarded.rows(rebinding)) >= 2


def test_the_clients_ran_in_a_gunicorn_worker_a_pool_child_and_a_command(guarded: Run) -> None:
    """Told by the pids: gunicorn and Celery serve in children of what was started, a command in itself."""
    at = {place: {int(one.process.rpartition(":")[2]) for one in guarded.attempts[place] if not one.client.startswith(FORK)} for place in PLACES}
    assert at["command"] == {guarded.started["command"]}
    assert all(len(at[place]) == 1 and guarded.started[place] not in at[place] for place in ("web", "worker"))


@pytest.mark.parametrize("place", PLACES)
def test_with_the_air_gap_off_every_client_leaves(unguarded: Run, place: str) -> None:
    """The negative control: were the lab blind, or a client broken, the tests above would prove nothing.

    An address is shared by the places, hence once a place; a name is asked under the place's own. A raw socket sends nothing here.
    """
    times = {one.client: 1 if place in one.host else len(PLACES) for one in unguarded.attempts[place]}
    tried = [one for one in unguarded.attempts[place] if one.client != "raw socket"]
    assert [one for one in tried if unguarded.arrivals(one) < times[one.client]] == []
    assert {one.outcome for one in tried} <= {"leaked", "error"}


def test_with_the_air_gap_off_the_private_name_leads_outside(unguarded: Run) -> None:
    assert unguarded.queries[PRIVATE_LOOK] >= 2 * len(PLACES)
    assert min(unguarded.packets[f"tcp {PUBLIC4}:{port}"] for port in (80, 443)) >= len(PLACES)
    assert unguarded.trail == []
