"""Under the guard no client leaves: no DNS query, no packet, seen from outside the process. Without it, the same clients do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NAMESPACE = ["unshare", "-rnm"]
pytestmark = [pytest.mark.netns, pytest.mark.timeout(170)]
REQUIRED = os.environ.get("AISOC_TEST_REQUIRE", "").split(",")


def in_lab(folder: Path, *command: str, **variables: str) -> dict[str, Any]:
    try:
        usable = subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        usable = False
    if not usable:
        if "netns" in REQUIRED:
            pytest.fail("AISOC_TEST_REQUIRE names netns, but `unshare -rnm ip link set lo up` does not work here.")
        pytest.skip("Network namespaces (unshare -rnm, ip) are not to be had here.")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "AISOC_DATA_DIR": str(folder / "var"), **variables}
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-W", "ignore", "-m", "tests.egress.lab", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    lines = [json.loads(line) for line in result["output"].splitlines() if line.startswith("{")]
    return {line["client"]: line["outcome"] for line in lines}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_lab(tmp_path_factory.mktemp("on"), sys.executable, "-W", "ignore", "-m", "tests.egress.clients")


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_lab(tmp_path_factory.mktemp("off"), sys.executable, "-W", "ignore", "-m", "tests.egress.clients", "--off")


def test_every_client_is_blocked(guarded: dict[str, Any]) -> None:
    found = outcomes(guarded)
    assert len(found) >= 40, guarded
    assert {name: outcome for name, outcome in found.items() if outcome not in ("blocked", "absent")} == {}


def test_no_query_and_no_packet_arrived(guarded: dict[str, Any]) -> None:
    """But one: a name that looks internal may be asked of the resolver; its public answer is what is refused."""
    assert set(guarded["queries"]) <= {"rebind.internal"}
    assert guarded["packets"] == []


def test_without_the_guard_the_same_clients_leave(unguarded: dict[str, Any]) -> None:
    """The negative control: were the lab blind, or the clients broken, the two tests above would prove nothing."""
    assert unguarded["queries"].count("evil.example.com") >= 20
    for sink in (
        "tcp 93.184.216.34:443",
        "tcp 93.184.216.34:80",
        "tcp 2606:2800:220:1::34:443",
        "udp 93.184.216.34:53",
        "tcp 93.184.216.34:25",
        "tcp 93.184.216.34:6379",
    ):
        assert sink in unguarded["packets"], sink
    assert "blocked" not in outcomes(unguarded).values()


def test_no_client_is_absent(guarded: dict[str, Any]) -> None:
    assert [name for name, outcome in outcomes(guarded).items() if outcome == "absent"] == []
