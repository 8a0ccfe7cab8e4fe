"""Deployment & AI: verdict, policy, language model, try a host. The processes have a file of their own."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from airgap.snapshot import airgap_snapshot
from llm import outcomes
from llm.resolver import resolved_for
from llm.snapshot import llm_snapshot
from tests.airgap.trail import drained, event

URL = "/settings/deployment/"
Text = Callable[[Any], str]
Put = Callable[..., object]
pytestmark = pytest.mark.django_db


# ── Verdict ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("healthy", "agreeing")
def test_ok_when_gate_guard_and_checks_are_in_order(operator: Client, text: Text, guarded: Callable[..., None]) -> None:
    guarded("enforce")
    page = text(operator.get(URL))
    assert "OK This deployment is air-gapped; all 4 processes agree." in page


@pytest.mark.usefixtures("healthy", "agreeing")
def test_an_inactive_guard_needs_attention_and_blames_no_setting(operator: Client, text: Text) -> None:
    page = text(operator.get(URL))
    assert "ATTENTION This deployment is air-gapped; one point needs attention." in page
    assert "Process guard: inactive. It is not installed in this process, and no setting changes that." in page


@pytest.mark.usefixtures("healthy", "agreeing")
@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_guard_that_stops_nothing_needs_attention_and_names_its_variable(
    mode: str, operator: Client, text: Text, guarded: Callable[..., None]
) -> None:
    guarded(mode)
    page = text(operator.get(URL))
    assert f"Process guard: {mode}." in page
    assert "Set AISOC_AIRGAP_GUARD=enforce and restart." in page


@pytest.mark.usefixtures("healthy", "agreeing")
@pytest.mark.parametrize(("active", "selftest"), [(False, True), (True, False)])
def test_a_guard_that_should_work_and_does_not_is_failing(
    active: bool, selftest: bool, operator: Client, text: Text, guarded: Callable[..., None]
) -> None:
    guarded("enforce", active=active, selftest=selftest)
    assert "FAILING The process guard is set to enforce, but it is not working in this process." in text(operator.get(URL))


@pytest.mark.usefixtures("healthy")
def test_air_gap_off_is_off_and_not_green(operator: Client, environment: Put, text: Text, heard: Callable[..., object]) -> None:
    environment()
    heard()
    page = operator.get(URL)
    assert "OFF Outbound requests are not restricted: air-gap mode is off in this process." in text(page)
    assert "Air gap: off" in text(page)
    assert 'class="banner off"' in page.content.decode()


@pytest.mark.usefixtures("agreeing")
def test_a_failed_health_check_needs_attention_and_gives_its_reason(operator: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisoc_admin.health._health.checks", {"database": "ok", "broker": "away (ConnectionError)", "spool": "ok"})
    page = text(operator.get(URL))
    assert "2 points need attention" in page
    assert "Health check broker: away (ConnectionError)" in page


@pytest.mark.usefixtures("healthy")
def test_a_refused_llm_is_refused_takes_the_fallback_and_would_call(
    operator: Client, environment: Put, text: Text, guarded: Callable[..., None], heard: Callable[..., object]
) -> None:
    guarded("enforce")
    environment(AISOC_AIRGAPPED="1", OPENAI_API_KEY="sk-planted-7777")
    heard()
    page = text(operator.get(URL))
    assert "ATTENTION This deployment is air-gapped; one point needs attention." in page
    assert "Answers take the deterministic fallback. api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST." in page
    assert "Explain takes REFUSED the deterministic fallback" in page
    assert "Would call https://api.openai.com/v1/chat/completions OPENAI_BASE_URL (default)" in page


@pytest.mark.usefixtures("healthy")
def test_no_llm_is_off_and_no_reason_for_attention(
    operator: Client, environment: Put, text: Text, guarded: Callable[..., None], heard: Callable[..., object]
) -> None:
    guarded("enforce")
    environment(AISOC_AIRGAPPED="1")
    heard()
    page = text(operator.get(URL))
    assert "OK This deployment is air-gapped; this process is the only one of it." in page
    assert "Explain takes OFF the deterministic fallback" in page
    assert "nothing: no base URL is set LLM_BASE_URL (unset)" in page


def test_a_missing_key_needs_attention(operator: Client, environment: Put, text: Text) -> None:
    environment(LLM_BASE_URL="https://llm.example.com")
    assert "Explain takes ATTENTION the deterministic fallback" in text(operator.get(URL))


# ── Facts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("sealed")
def test_every_value_stands_beside_where_it_comes_from(operator: Client, text: Text) -> None:
    page = text(operator.get(URL))
    assert "Mode on AISOC_AIRGAPPED (environment)" in page
    assert "Allowlist mirror.example.internalintel.corp AISOC_AIRGAP_ALLOWLIST (environment)" in page
    assert "AISOC_AIRGAP_GUARD (default)" in page
    assert "Model llama3.1:8b LLM_MODEL (environment)" in page
    assert "Will call http://ollama:11434/v1/chat/completions LLM_BASE_URL (environment)" in page
    assert "ollama is a single-label service name. rule single_label" in page
    assert "API key set (never shown, not even in part) LLM_API_KEY (environment)" in page


@pytest.mark.usefixtures("sealed")
def test_the_policy_sentence_is_the_one_of_the_api(operator: Client, text: Text) -> None:
    assert airgap_snapshot().policy in text(operator.get(URL))
    assert llm_snapshot().policy_note in text(operator.get(URL))


@pytest.mark.parametrize(
    ("base_url", "called"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("http://vllm.corp:8000", "http://vllm.corp:8000/v1/chat/completions"),
        ("https://x.openai.azure.com", "https://x.openai.azure.com/openai/v1/chat/completions"),
        ("http://me:hunter2@ollama:11434/v1/", "http://ollama:11434/v1/chat/completions"),
    ],
)
def test_will_call_is_the_address_that_is_called(base_url: str, called: str, operator: Client, environment: Put, text: Text) -> None:
    environment(LLM_BASE_URL=base_url, LLM_API_KEY="sk-planted-7777")
    page = text(operator.get(URL))
    assert f"Will call {called}" in page
    assert "hunter2" not in page


@pytest.mark.usefixtures("sealed", "healthy")
def test_the_health_checks_are_those_of_the_process_that_answers(operator: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.process.process_name", lambda: "api-2:31")
    page = text(operator.get(URL))
    assert "Seen by api-2:31 · computed" in page
    assert "Of api-2:31 alone, as its last round found them." in page
    assert "database broker spool" in page


def test_the_attempts_of_a_day_stand_beside_the_policy(operator: Client, text: Text) -> None:
    assert "Blocked, 24 h 0 · Blocked egress" in text(operator.get(URL))
    drained(event(minute=timezone.now().replace(second=0, microsecond=0), count=14))
    assert "Blocked, 24 h 14 · Blocked egress" in text(operator.get(URL))


@pytest.mark.usefixtures("sealed")
def test_curl_lines_use_scheme_and_host_of_the_request(operator: Client, settings: Any, text: Text) -> None:
    settings.ALLOWED_HOSTS = ["soc.corp"]
    page = text(operator.get(URL, headers={"host": "soc.corp:8443"}, secure=True))
    for path in ("/api/v1/airgap/status", "/api/v1/llm/status", "/health"):
        assert f"curl -s 'https://soc.corp:8443{path}'" in page
    assert """curl -s -H "Authorization: Token $TOKEN" 'https://soc.corp:8443/api/v1/airgap/processes'""" in page


# ── The same in other forms ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("healthy", "agreeing")
def test_json_is_a_download_with_the_snapshots_of_the_api(auditor: Client) -> None:
    response = auditor.get(f"{URL}deployment.json")
    assert response.headers["Content-Disposition"] == 'attachment; filename="deployment.json"'
    body = json.loads(response.content)
    assert body["airgap"] == airgap_snapshot().as_dict()
    assert body["llm"] == llm_snapshot().as_dict()
    assert body["verdict"] == "ATTENTION"
    assert body["seen_by"]["guard"]["mode"] == "inactive"
    assert body["blocked_24h"] == 0
    assert body["origins"]["mode"] == {"variable": "AISOC_AIRGAPPED", "source": "environment"}


@pytest.mark.usefixtures("healthy", "agreeing")
def test_markdown_gives_verdict_values_and_witness_unescaped(auditor: Client) -> None:
    body = auditor.get(f"{URL}deployment.md").content.decode()
    assert body.startswith("# Deployment & AI\n\n**ATTENTION** This deployment is air-gapped")
    assert "| Mode | on | AISOC_AIRGAPPED (environment) |" in body
    assert "| Will call | http://ollama:11434/v1/chat/completions | LLM_BASE_URL (environment) |" in body
    assert "Source: http://testserver/settings/deployment/" in body
    assert "&amp;" not in body


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("form", ["", "deployment.json", "deployment.md"])
def test_no_form_of_the_page_holds_any_part_of_a_key(form: str, operator: Client) -> None:
    body = operator.get(URL + form).content.decode()
    assert "planted" not in body
    assert "7777" not in body


def test_the_digest_is_equal_for_equal_policies_and_differs_otherwise(operator: Client, environment: Put) -> None:
    def digest(**variables: str) -> str:
        environment(**variables)
        return str(json.loads(operator.get(f"{URL}deployment.json").content)["seen_by"]["digest"])

    on = digest(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="intel.corp")
    assert on == digest(AISOC_AIRGAPPED="yes", AISOC_AIRGAP_ALLOWLIST=" Intel.Corp.,")
    assert on != digest(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="intel.corp:443")
    assert on != digest(AISOC_AIRGAP_ALLOWLIST="intel.corp")


# ── Try a host ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("typed", "badge", "rule", "reason"),
    [
        ("https://api.openai.com/v1", "REFUSED", "public", "api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST."),
        ("api.openai.com", "REFUSED", "public", "api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST."),
        ("  ollama  ", "ALLOWED", "single_label", "ollama is a single-label service name."),
        ("ollama:11434", "ALLOWED", "single_label", "ollama is a single-label service name."),
        ("[2606:4700::1111]:443", "REFUSED", "public", "2606:4700::1111 is not a private address and not on AISOC_AIRGAP_ALLOWLIST."),
        ("fe80::1", "ALLOWED", "private_address", "fe80::1 is a private, loopback or link-local address."),
        ("misp.intel.corp", "ALLOWED", "allowlisted", "misp.intel.corp is on AISOC_AIRGAP_ALLOWLIST."),
        ("http://134744072/", "REFUSED", "malformed", "ends in a number but is not a plain dotted quad"),
        ("134744072", "REFUSED", "malformed", "ends in a number but is not a plain dotted quad"),
    ],
)
@pytest.mark.usefixtures("sealed")
def test_try_a_host_gives_decision_rule_and_reason(typed: str, badge: str, rule: str, reason: str, auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL, {"host": typed}))
    assert badge in page
    assert reason in page
    assert f"Rule {rule} · read as" in page


@pytest.mark.usefixtures("sealed")
def test_the_ladder_ends_at_the_rule_that_decided(auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL, {"host": "vllm.internal"}))
    assert "allowlisted On AISOC_AIRGAP_ALLOWLIST no private_address Private, loopback or link-local address no" in page
    assert "private_suffix Private suffix yes → allowed single_label Single-label service name not looked at" in page


def test_with_the_air_gap_off_the_ladder_stops_at_its_first_rule(auditor: Client, environment: Put, text: Text) -> None:
    environment()
    page = text(auditor.get(URL, {"host": "api.openai.com"}))
    assert "airgap_off Air-gap mode is off yes → allowed malformed Malformed or ambiguous not looked at" in page


@pytest.mark.usefixtures("sealed")
def test_try_a_host_sends_resolves_and_records_nothing(auditor: Client, spool_dir: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def never(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a look-up")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    assert auditor.get(URL, {"host": "https://api.openai.com/"}).status_code == 200
    assert not spool_dir.exists() or not any(spool_dir.iterdir())


@pytest.mark.parametrize("typed", ["<script>alert(1)</script>", '"><img src=x>', "a" * 5000, "\0", "http://[::", "''", "☃.example", "http://u:p@h/"])
def test_hostile_text_is_shown_as_text(typed: str, auditor: Client) -> None:
    response = auditor.get(URL, {"host": typed})
    assert response.status_code == 200
    assert "<script>alert" not in response.content.decode()
    assert "<img" not in response.content.decode()


def test_blank_text_asks_for_a_host(auditor: Client, text: Text) -> None:
    assert "Type a host name, an address or a URL first." in text(auditor.get(URL, {"host": "  "}))
    assert "Type a host name" not in text(auditor.get(URL))


# ── What the model's endpoint answered lately ────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("healthy", "agreeing")
def test_live_means_that_it_worked_lately(operator: Client, environment: Put, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_noted", {})
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL="http://ollama:11434")
    assert "never tried: nothing has been asked of it" in text(operator.get(URL))
    outcomes.note(resolved_for(None), "")
    assert "Answered lately yes " in text(operator.get(URL))
    outcomes.note(resolved_for(None), "ollama did not answer within 20 s.")
    page = text(operator.get(URL))
    assert "The language model is configured and allowed, but its last call failed. ollama did not answer within 20 s." in page
    assert "Answered lately failing since " in page
    lately = operator.get(f"{URL}deployment.json").json()["llm_lately"]
    assert (lately["state"], lately["reason"]) == ("failing", "ollama did not answer within 20 s.")
    assert "| Answered lately | failing: ollama did not answer within 20 s. |" in operator.get(f"{URL}deployment.md").content.decode()
