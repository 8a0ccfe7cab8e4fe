"""The public snapshots, to the letter: keys, order and values pinned by golden files, and no difference between the first middleware and the views."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from aisoc_admin import health

GOLDEN = Path(__file__).parent / "golden"
AIRGAP = {
    "airgap_on": {"AISOC_AIRGAPPED": "1", "AISOC_AIRGAP_ALLOWLIST": "Mirror.Example.internal., intel.corp:8443,,100.64.0.0/10"},
    "airgap_off": {},
}
LLM = {
    "nothing": {},
    "openai_open": {"OPENAI_API_KEY": "sk-planted-51a0"},
    "openai_airgapped": {"OPENAI_API_KEY": "sk-planted-51a0", "AISOC_AIRGAPPED": "1"},
    "ollama": {"LLM_BASE_URL": "http://ollama:11434/v1", "LLM_API_KEY": "sk-planted-51a0", "LLM_MODEL": "llama3.1:8b", "AISOC_AIRGAPPED": "1"},
    "ollama_without_key": {"LLM_BASE_URL": "http://ollama:11434", "AISOC_AIRGAPPED": "1"},
    "anthropic": {"LLM_BASE_URL": "https://api.anthropic.com", "LLM_API_KEY": "sk-planted-51a0"},
    "azure": {"LLM_BASE_URL": "https://x.openai.azure.com", "LLM_API_KEY": "sk-planted-51a0"},
    "allowlisted": {
        "LLM_BASE_URL": "https://llm.example.com",
        "LLM_API_KEY": "sk-planted-51a0",
        "AISOC_AIRGAPPED": "1",
        "AISOC_AIRGAP_ALLOWLIST": "llm.example.com",
    },
    "openai_without_key": {"LLM_BASE_URL": "https://api.openai.com"},
    "look_alike": {"LLM_BASE_URL": "https://ollama.evil.example.com", "LLM_API_KEY": "sk-planted-51a0"},
    "user_info": {"LLM_BASE_URL": "http://me:hunter2@ollama:11434/v1/", "LLM_API_KEY": "sk-planted-51a0"},
}

Environment = Callable[..., object]


def answer(path: str) -> tuple[list[str], str]:
    """Keys in order and the body of a public endpoint, asked as an anonymous client."""
    response = Client().get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    return list(response.json()), response.content.decode()


@pytest.mark.parametrize("name", AIRGAP)
def test_airgap_status_is_as_in_the_golden_file(name: str, environment: Environment) -> None:
    environment(**AIRGAP[name])
    keys, body = answer("/api/v1/airgap/status")
    assert keys == ["enabled", "allowlist", "implicit_private_suffixes", "policy"]
    assert body == (GOLDEN / f"{name}.json").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("name", LLM)
def test_llm_status_is_as_in_the_golden_file(name: str, environment: Environment) -> None:
    environment(**LLM[name])
    keys, body = answer("/api/v1/llm/status")
    assert keys == [
        "provider",
        "model",
        "base_url",
        "host",
        "key_set",
        "airgap_enabled",
        "airgap_compliant",
        "is_local",
        "effective_path",
        "policy_note",
    ]
    assert body == (GOLDEN / f"llm_{name}.json").read_text(encoding="utf-8").strip()


def test_no_part_of_a_key_is_in_any_reply(environment: Environment) -> None:
    key = "sk-planted-51a0"
    parts = {key[start : start + 4] for start in range(len(key) - 3)}
    for variables in LLM.values():
        environment(**variables)
        for path in ("/api/v1/llm/status", "/health", "/api/v1/airgap/status", "/api/v1/llm/status?x=1", "/health?x=1"):
            body = Client().get(path).content.decode()
            assert not [part for part in parts if part in body], path
            assert "hunter2" not in body


def test_the_policy_sentence_begins_as_the_contract_says(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="yes")
    policy = json.loads(answer("/api/v1/airgap/status")[1])["policy"]
    assert policy.startswith("All outbound HTTP is blocked except to private/loopback/link-local addresses")
    environment()
    assert "unrestricted" in json.loads(answer("/api/v1/airgap/status")[1])["policy"]


@pytest.mark.parametrize("path", ["/api/v1/airgap/status", "/api/v1/llm/status", "/health", "/ready"])
def test_the_first_middleware_and_the_view_give_the_same_body(path: str, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="intel.corp", LLM_BASE_URL="http://ollama:11434")
    first, view = Client().get(path), Client().get(path, {"from": "view"})
    assert first.content == view.content
    assert first.status_code == view.status_code
    assert first.headers["Content-Type"] == view.headers["Content-Type"] == "application/json"


def test_health_joins_the_snapshot_and_the_checks(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1")
    body = Client().get("/health").json()
    assert list(body) == ["status", "service", "version", "airgap", "airgap_guard", "checks"]
    assert body["airgap"]["enabled"] is True
    assert list(body["airgap_guard"]) == ["mode", "active", "selftest"]
    assert set(body["checks"]) == {"database", "broker", "spool"}


def test_health_of_threatintel_lists_registered_and_refused_feeds(environment: Environment, settings: object) -> None:
    environment(AISOC_AIRGAPPED="1", CISA_KEV_URL="http://kev-mirror/feed.json", OTX_API_KEY="x")
    settings.SERVICE = "threatintel"
    feeds = health.Health().body()["feeds"]
    assert feeds["registered"] == ["kev"]
    assert feeds["refused"] == [
        {
            "name": "otx",
            "host": "otx.alienvault.com",
            "rule": "public",
            "reason": "otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.",
        }
    ]


def test_other_methods_of_the_public_paths_reach_django(environment: Environment) -> None:
    environment()
    assert Client().post("/api/v1/airgap/status").status_code == 405
    assert Client().head("/api/v1/airgap/status").status_code == 200
