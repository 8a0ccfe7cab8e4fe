"""Exported events hold to the OCSF schema itself."""

import json
from typing import Any

import ocsf_json_schema
import pytest
from django.test import Client
from jsonschema import Draft202012Validator

from airgap.ocsf import VERSION
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.airgap.trail import drained, event


@pytest.fixture(scope="module")
def schema() -> Any:
    loaded = ocsf_json_schema.get_ocsf_schema(version=VERSION)
    return Draft202012Validator(ocsf_json_schema.OcsfJsonSchemaEmbedded(loaded).get_class_schema("network_activity", ["security_control"]))


@pytest.mark.django_db
def test_each_exported_line_is_a_valid_network_activity(schema: Any) -> None:
    drained(event(0, count=3), event(1, host="2606:4700:4700::1111", layer="dns", port=0), event(2, tenant="acme", caller="", path="", process="odd"))
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    answer = Client().get("/api/v1/airgap/events.ocsf.jsonl", headers=token)
    found = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert len(found) == 3
    for one in found:
        assert [error.message for error in schema.iter_errors(one)] == []
        assert (one["class_uid"], one["type_uid"], one["disposition_id"], one["action_id"]) == (4001, 400105, 2, 2)
    by_host = {
        str(one["dst_endpoint"].get("hostname") or one["dst_endpoint"]["ip"]): one
        for one in found
        if one["count"] != 1 or "ip" in one["dst_endpoint"]
    }
    assert by_host["2606:4700:4700::1111"]["dst_endpoint"] == {"ip": "2606:4700:4700::1111"}
    assert by_host["api.openai.com"]["dst_endpoint"] == {"hostname": "api.openai.com", "port": 443}
    assert by_host["api.openai.com"]["count"] == 3
    assert by_host["api.openai.com"]["time"] == 1769860800000
    assert len({one["metadata"]["uid"] for one in found}) == 3


@pytest.mark.django_db
def test_it_takes_the_same_filters(schema: Any) -> None:
    drained(event(0), event(1, host="b.example"))
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    answer = Client().get("/api/v1/airgap/events.ocsf.jsonl", {"host": "b.example"}, headers=token)
    assert len(b"".join(answer.streaming_content).splitlines()) == 1
    assert Client().get("/api/v1/airgap/events.ocsf.jsonl", {"since": "x"}, headers=token).status_code == 400
