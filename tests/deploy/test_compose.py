"""compose.yaml and the Containerfile: one network that leads nowhere, every process air-gapped from one anchor, nothing writable or privileged."""

import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from aisoc_admin.env import known_variables, read
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
OTHERS = {"postgres", "valkey"}  # not the product's own processes


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


def own(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if name not in OTHERS}


def test_every_process_of_the_product_has_both_air_gap_variables_from_one_anchor(compose: dict[str, Any]) -> None:
    assert set(own(compose)) == {"web-1", "web-2", "worker", "beat", "migrate"}
    for name, service in own(compose).items():
        assert service["environment"]["AISOC_AIRGAPPED"] == "1", name
        assert service["environment"]["AISOC_AIRGAP_ALLOWLIST"] == "${AISOC_AIRGAP_ALLOWLIST:-}", name
    assert (DEPLOY / "compose.yaml").read_text(encoding="utf-8").count("AISOC_AIRGAPPED") == 1


def test_the_only_network_is_internal_and_no_port_is_published(compose: dict[str, Any]) -> None:
    assert [network["internal"] for network in compose["networks"].values()] == [True]
    for name, service in compose["services"].items():
        assert set(service["networks"]) == {"inside"}, name
        assert not {"ports", "network_mode", "extra_hosts", "dns", "privileged", "cap_add", "devices", "pid", "ipc"} & set(service), name


def test_no_number_of_workers_takes_the_address_of_a_web(compose: dict[str, Any]) -> None:
    """An engine hands addresses out from the lowest: the tenth container without one of its own would get the first web's."""
    (config,) = compose["networks"]["inside"]["ipam"]["config"]
    given = ip_network(config["ip_range"])
    assert given.subnet_of(ip_network(config["subnet"]))
    fixed = [
        ip_address(service["networks"]["inside"]["ipv4_address"]) for service in compose["services"].values() if isinstance(service["networks"], dict)
    ]
    assert len(fixed) == 2
    assert not [address for address in [*fixed, ip_address(config["gateway"])] if address in given]


def test_every_container_is_read_only_unprivileged_and_not_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"]), name
        assert int(service["user"].split(":")[0]) > 0, name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name


def test_every_variable_is_one_of_the_product_and_secrets_come_from_files(compose: dict[str, Any]) -> None:
    known = {str(spec["name"]): bool(spec["secret"]) for spec in known_variables()}
    for name, service in own(compose).items():
        for variable, value in service["environment"].items():
            assert variable.removesuffix("_FILE") in known, f"{name}: {variable}"
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {variable}"
            elif known[variable]:
                assert variable == "CELERY_BROKER_URL", "it holds no password here: the broker is on the internal network alone"
    assert set(compose["secrets"]) == {secret for service in compose["services"].values() for secret in service.get("secrets", [])}


def test_the_owner_of_the_tables_is_known_to_the_migration_alone(compose: dict[str, Any]) -> None:
    assert [name for name, service in own(compose).items() if "owner_url" in service["secrets"]] == ["migrate"]
    assert "database_url" not in compose["services"]["migrate"]["secrets"]


def test_the_environment_is_one_that_production_starts_on(compose: dict[str, Any]) -> None:
    variables = dict(compose["services"]["beat"]["environment"])
    files = {name for name in variables if name.endswith("_FILE")}
    filled = {
        "ALLOWED_HOSTS": "aisoc.corp",
        "CISA_KEV_URL": "http://kev-mirror/kev.json",
        "AISOC_AIRGAP_ALLOWLIST": "",
        "LLM_BASE_URL": "",
        "LLM_MODEL": "",
    }
    secrets = {
        "DATABASE_URL": "postgres://aisoc_app:x@postgres:5432/aisoc", "SECRET_KEY": "k" * 60,
        "AISOC_CREDENTIAL_KEY": "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy0hISEhISEhISE=", "AISOC_SIGNING_KEY": "c2lnbmluZy1rZXktb2YtMzItYnl0ZXMtISEhISEhISE=",
    }  # fmt: skip
    assert {name.removesuffix("_FILE") for name in files} == set(secrets)
    environment = read({name: value for name, value in variables.items() if name not in files} | filled | secrets)
    assert (environment.airgapped, environment.environment, environment.web_hosts) == (True, "production", 2)


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Containerfile").read_text(encoding="utf-8"))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_built_without_a_network_and_runs_as_nobody() -> None:
    found = instructions()
    stages = [rest for word, rest in found if word == "FROM"]
    assert stages == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]
    runs = " ".join(rest for word, rest in found if word == "RUN")
    assert "--no-index --find-links wheelhouse" in runs
    assert "--require-hashes -r requirements.txt" in runs
    assert not re.search(r"curl|wget|apt-get|apk |https?://", runs)
    last = dict(found[[word for word, _ in found].index("FROM", [word for word, _ in found].index("FROM") + 1) :])
    assert last["USER"] == "10001:10001"
    assert "aisoc_admin.probe" in last["HEALTHCHECK"]
    assert "AISOC_AIRGAPPED=1" in last["ENV"]
    assert "AISOC_ENVIRONMENT=production" in last["ENV"]


def test_the_image_holds_every_package_of_the_product() -> None:
    copied = {rest.split()[0].rstrip("/") for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")}
    packages = {path.parent.name for path in ROOT.glob("*/apps.py")} | {"templates", "manage.py", "requirements.txt", "wheelhouse"}
    assert packages <= copied
