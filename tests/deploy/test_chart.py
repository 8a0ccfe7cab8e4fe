"""The chart, rendered: valid for the API it is written for, every pod air-gapped, nothing let out but what is named."""

import copy
from ipaddress import ip_network
from typing import Any

import kubernetes_validate
import pytest

from aisoc_admin.env import known_variables
from tests.deploy.chart import CHART, Chart, NotInTheSubset, tokens

VERSIONS = ("1.29", "1.33")
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def documents() -> Documents:
    return [one for found in Chart().render().values() for one in found]


def pods(documents: Documents) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in documents if "template" in one.get("spec", {})}


def environment(pod: dict[str, Any]) -> dict[str, str]:
    (container,) = pod["containers"]
    found = {variable["name"]: variable["value"] for variable in container["env"]}
    assert len(found) == len(container["env"]), "no variable twice"
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_valid(version: str, documents: Documents) -> None:
    assert {one["kind"] for one in documents} == {"Deployment", "Job", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}
    for one in documents:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_check_of_documents_can_fail(documents: Documents) -> None:
    broken = copy.deepcopy(next(one for one in documents if one["kind"] == "NetworkPolicy"))
    broken["spec"]["polcyTypes"] = broken["spec"].pop("policyTypes")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_every_workload_has_both_air_gap_variables_from_the_one_place(documents: Documents) -> None:
    found = pods(documents)
    assert set(found) == {"soc-web", "soc-worker", "soc-beat", "soc-migrate-1"}
    for name, pod in found.items():
        variables = environment(pod)
        assert (variables["AISOC_AIRGAPPED"], variables["AISOC_AIRGAP_ALLOWLIST"]) == ("1", ""), name
    sources = [path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()]
    assert sum(source.count("AISOC_AIRGAPPED") for source in sources) == 1


def test_the_data_folder_is_not_the_volume_itself_which_every_user_of_the_node_may_write(documents: Documents) -> None:
    for name, pod in pods(documents).items():
        (container,) = pod["containers"]
        folder, mounts = environment(pod)["AISOC_DATA_DIR"], [mount["mountPath"] for mount in container["volumeMounts"]]
        assert folder not in mounts, name
        assert any(folder.startswith(f"{mount}/") for mount in mounts), name


def test_every_variable_is_one_of_the_product_and_no_secret_is_a_value(documents: Documents) -> None:
    known = {str(spec["name"]): bool(spec["secret"]) for spec in known_variables()}
    for name, pod in pods(documents).items():
        for variable in environment(pod):
            base = variable.removesuffix("_FILE")
            assert base in known, f"{name}: {variable}"
            assert known[base] == variable.endswith("_FILE"), f"{name}: {variable}"


def test_every_pod_is_locked_down(documents: Documents) -> None:
    for name, pod in pods(documents).items():
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False, name
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"}), name
        hardened = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == hardened, name
        assert set(container["resources"]) == {"requests", "limits"}, name
        for volume in pod["volumes"]:
            assert set(volume) == {"name", "emptyDir"} or volume["secret"]["defaultMode"] == 0o440, (
                f"{name}: production refuses files that all can read"
            )


def test_services_are_probed_and_more_than_one_of_each_survives(documents: Documents) -> None:
    for one in documents:
        if one["kind"] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            assert [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")] == [
                "/health",
                "/health",
                "/ready",
            ]
            assert one["spec"]["replicas"] >= 2
            assert one["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    kept = [one for one in documents if one["kind"] == "PodDisruptionBudget"]
    assert [(one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"], one["spec"]["minAvailable"]) for one in kept] == [
        ("web", 1), ("worker", 1), ("beat", 1),
    ]  # fmt: skip


def test_selectors_find_their_pods(documents: Documents) -> None:
    labels = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in documents if "template" in one.get("spec", {})}
    for one in documents:
        spec = one["spec"]
        selector = spec.get("podSelector", {}).get("matchLabels") or (spec.get("selector") or {}).get("matchLabels") or spec.get("selector")
        if selector:
            assert any(selector.items() <= found.items() for found in labels.values()), one["metadata"]["name"]


def test_every_network_policy_denies_by_default_and_every_pod_is_under_one(documents: Documents) -> None:
    policies = [one for one in documents if one["kind"] == "NetworkPolicy"]
    for one in policies:
        assert one["spec"]["policyTypes"] == ["Ingress", "Egress"], one["metadata"]["name"]
        assert "annotations" not in one["metadata"], "a hook is deleted and made again at each upgrade"
        assert isinstance(one["spec"]["egress"], list)
        assert isinstance(one["spec"]["ingress"], list)
        assert {} not in (*one["spec"]["egress"], *one["spec"]["ingress"]), "an empty rule lets everything through"
    (deny,) = [one for one in policies if one["metadata"]["name"] == "soc-deny"]
    assert (deny["spec"]["egress"], deny["spec"]["ingress"]) == ([], [])
    for one in documents:
        if "template" in one["spec"]:
            assert deny["spec"]["podSelector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_nothing_is_let_out_but_dns_and_what_is_named(documents: Documents) -> None:
    rules = [rule for one in documents if one["kind"] == "NetworkPolicy" for rule in one["spec"]["egress"]]
    dns, *named = rules
    assert dns["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ]
    assert [(rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"]) for rule in named] == [
        (entry["cidr"], entry["port"]) for entry in Chart().values["egress"]
    ]
    for rule in named:
        (target,) = rule["to"]
        assert len(rule["ports"]) == 1
        assert any(
            ip_network(target["ipBlock"]["cidr"]).subnet_of(ip_network(inside)) for inside in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
        )


def test_no_named_service_means_dns_alone() -> None:
    documents = [one for found in Chart({"egress": []}).render().values() for one in found]
    assert sum(len(one["spec"]["egress"]) for one in documents if one["kind"] == "NetworkPolicy") == 1


@pytest.mark.parametrize("source", ["{{ if .Values.x }}", "{{ .Values.x | b64enc }}", "{{ $x := 1 }}", "{{.Values.x}}", '{{ include "a" $ }}'])
def test_what_the_renderer_does_not_know_it_refuses(source: str) -> None:
    with pytest.raises(NotInTheSubset):
        Chart()._run(tokens(source), {"Values": {"x": 1}})
