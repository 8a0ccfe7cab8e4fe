"""The whole product, air gap on, hostile configuration: nothing arrives at any sink, and each attempt is in the trail."""

import json
import sys
from typing import Any

import pytest

from tests.egress.test_clients import in_lab

pytestmark = [pytest.mark.netns, pytest.mark.timeout(170)]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_lab(tmp_path_factory.mktemp("sealed"), sys.executable, "-W", "ignore", "-m", "tests.egress.product", AISOC_AIRGAPPED="1")


@pytest.fixture(scope="module")
def said(sealed: dict[str, Any]) -> dict[str, Any]:
    assert sealed["status"] == 0, sealed
    return json.loads(sealed["output"].splitlines()[-1])


def test_no_query_and_no_packet_arrived(sealed: dict[str, Any], said: dict[str, Any]) -> None:
    assert (sealed["queries"], sealed["packets"]) == ([], [])


def test_the_attempt_of_the_redirecting_mirror_is_in_the_trail_and_on_its_run(said: dict[str, Any]) -> None:
    """It was refused in a Celery pool child that goes on living; the trail has it all the same."""
    assert ["www.cisa.gov", "public", "http", "feed.kev", 1] in said["trail"]
    assert ["kev", "failed", "public"] in said["runs"]


def test_every_process_stands_behind_a_guard_that_passes_its_self_test(said: dict[str, Any]) -> None:
    assert [answer["airgap_guard"] for answer in said["health"]] == [{"mode": "enforce", "active": True, "selftest": True}] * 3
    assert {answer["airgap"]["enabled"] for answer in said["health"]} == {True}


def test_with_the_air_gap_off_the_same_configuration_leaks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The negative control."""
    leaking = in_lab(tmp_path_factory.mktemp("open"), sys.executable, "-W", "ignore", "-m", "tests.egress.product", AISOC_AIRGAPPED="0")
    assert leaking["status"] == 0, leaking
    assert "www.cisa.gov" in leaking["queries"]
    assert "tcp 93.184.216.34:80" in leaking["packets"]
