"""The whole product, air gap on, hostile configuration: nothing arrives at any sink, and each attempt is in the trail."""

from typing import Any

import pytest

from tests.egress import vendored
from tests.egress.product import PROXY, PUBLIC, REBINDING, REBOUND, REDIRECTED, REDIRECTING
from tests.egress.test_clients import in_lab
from threatintel.registry import feeds

pytestmark = [pytest.mark.netns, pytest.mark.timeout(170)]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_lab(tmp_path_factory.mktemp("sealed"), "tests.egress.product", AISOC_AIRGAPPED="1")


@pytest.fixture(scope="module")
def deployments(sealed: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = sealed["deployments"]
    return found


def test_no_query_and_no_packet_arrived(sealed: dict[str, Any]) -> None:
    """But one: what a feed's internal name answers must be asked before it can be refused."""
    assert (set(sealed["queries"]), sealed["packets"]) == ({REBOUND}, [])


def in_trail(deployment: dict[str, Any], host: str) -> list[tuple[str, str, str, str]]:
    return [(row["rule"], row["layer"], row["purpose"], row["caller"]) for row in deployment["trail"] if row["host"] == host]


def test_the_attempt_of_the_redirecting_mirror_is_in_the_trail_and_on_its_run(deployments: dict[str, Any]) -> None:
    """It was refused in a Celery pool child that goes on living; the trail has it all the same."""
    assert in_trail(deployments[REDIRECTING], REDIRECTED) == [("public", "http", "feed.kev", "threatintel.feeds.kev")]
    assert deployments[REDIRECTING]["runs"] == [["kev", "failed", "public"]]


def test_a_mirror_whose_internal_name_answers_with_a_public_address_is_refused(deployments: dict[str, Any]) -> None:
    assert in_trail(deployments[REBINDING], REBOUND) == [("private_name_public_answer", "connect", "feed.kev", "threatintel.feeds.kev")]
    assert deployments[REBINDING]["runs"] == [["kev", "failed", "private_name_public_answer"]]


@pytest.mark.parametrize(("client", "host"), [(client, host) for client, host, _ in vendored.CALLS])
def test_a_vendored_library_that_phones_home_is_blocked_and_in_the_trail(sealed: dict[str, Any], client: str, host: str) -> None:
    """Under its own target, not that of the proxy that the environment names."""
    assert [one["outcome"] for one in sealed["vendored"] if one["client"] == client] == ["blocked"]
    rows = in_trail(sealed["deployments"][REDIRECTING], host)
    assert [(rule, caller) for rule, _layer, _purpose, caller in rows] == [("public", "tests.egress.vendored")]


def test_no_feed_with_a_public_url_is_registered(deployments: dict[str, Any]) -> None:
    """Of every kind that the registry knows: a new one belongs into HOSTILE."""
    for service in deployments[PUBLIC]["health"][1:]:
        refused = {one["name"]: one["rule"] for one in service["feeds"]["refused"]}
        assert service["feeds"]["registered"] == []
        assert {spec.kind for spec in feeds() if not spec.offline} == {name.partition(":")[0] for name in refused}
        assert set(refused.values()) == {"public"}
    assert deployments[PUBLIC]["runs"] == []


def test_a_public_language_model_is_not_used(deployments: dict[str, Any]) -> None:
    assert {(one["llm"]["airgap_compliant"], one["llm"]["effective_path"]) for one in deployments.values()} == {(False, "fallback")}


def test_every_process_stands_behind_a_guard_that_passes_its_self_test(deployments: dict[str, Any]) -> None:
    health = [answer for one in deployments.values() for answer in one["health"]]
    assert [answer["airgap_guard"] for answer in health] == [{"mode": "enforce", "active": True, "selftest": True}] * 9
    assert {answer["airgap"]["enabled"] for answer in health} == {True}


def test_with_the_air_gap_off_the_same_configuration_leaks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The negative control."""
    leaking = in_lab(tmp_path_factory.mktemp("open"), "tests.egress.product", AISOC_AIRGAPPED="0")
    assert {REDIRECTED, REBOUND, PROXY} <= set(leaking["queries"])
    assert leaking["packets"].count("tcp 93.184.216.34:80") >= 2  # the redirected poll and the rebinding one
    assert {"tcp 93.184.216.34:3128", "tcp 93.184.216.34:587", f"udp {vendored.COLLECTOR}:53"} <= set(leaking["packets"])
    assert not {"blocked", "absent"} & {one["outcome"] for one in leaking["vendored"]}
