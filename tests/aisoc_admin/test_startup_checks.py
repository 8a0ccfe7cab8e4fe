"""What the gate will refuse in use is said at the start, and stops nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks

from aisoc_admin import env
from aisoc_admin.startup_checks import check_settings, public_search_domains, tell_warnings

Environment = Callable[..., env.Environment]
INSIDE = {
    "CISA_KEV_URL": "http://kev-mirror/feed.json",
    "LLM_BASE_URL": "http://ollama:11434/v1",
    "EMAIL_URL": "smtp+tls://mail.corp:587",
    "SLACK_WEBHOOK_URL": "https://slack-relay.corp/hook",
}


@pytest.fixture(autouse=True)
def _no_search_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisoc_admin.startup_checks.public_search_domains", list)


def told() -> dict[str, str]:
    return {message.msg.partition(" ")[0]: str(message.id) for message in check_settings(None)}


def test_an_internal_configuration_warns_of_nothing(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", **INSIDE)
    assert check_settings(None) == []


def test_with_the_air_gap_off_nothing_is_warned_of(environment: Environment) -> None:
    environment(LLM_BASE_URL="https://api.openai.com/v1", EMAIL_URL="smtp://mail.example.com")
    assert check_settings(None) == []


@pytest.mark.parametrize(
    ("variables", "warned"),
    [
        ({"CISA_KEV_URL": env.KEV_URL}, "CISA_KEV_URL"),
        ({"LLM_BASE_URL": "https://api.openai.com/v1"}, "LLM_BASE_URL"),
        ({"LLM_BASE_URL": "", "OPENAI_API_KEY": "k"}, "OPENAI_BASE_URL"),
        ({"ANTHROPIC_BASE_URL": "https://api.anthropic.com"}, "ANTHROPIC_BASE_URL"),
        ({"TAXII_URL": "https://taxii.example.com/"}, "TAXII_URL"),
        ({"MISP_URL": "https://misp.example.com/"}, "MISP_URL"),
        ({"OTX_API_KEY": "k"}, "OTX_BASE_URL"),
        ({"VT_API_KEY": "k"}, "VT_BASE_URL"),
        ({"SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/planted"}, "SLACK_WEBHOOK_URL"),
        ({"TEAMS_WEBHOOK_URL": "https://x.webhook.office.com/planted"}, "TEAMS_WEBHOOK_URL"),
        ({"ALERT_WEBHOOK_URL": "https://hook.example.com/planted"}, "ALERT_WEBHOOK_URL"),
        ({"PAGERDUTY_ROUTING_KEY": "k"}, "PAGERDUTY_URL"),
        ({"OPSGENIE_API_KEY": "k"}, "OPSGENIE_URL"),
        ({"EMAIL_URL": "smtp://user:planted@mail.example.com"}, "EMAIL_URL"),
        ({"AISOC_EGRESS_PROXY": "http://user:planted@proxy.example.com:3128"}, "AISOC_EGRESS_PROXY"),
    ],
)
def test_each_setting_on_a_public_host_is_a_warning_that_shows_no_secret(variables: dict[str, str], warned: str, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", **{**INSIDE, **variables})
    assert told() == {warned: "airgap.W001"}
    assert "planted" not in str(check_settings(None))


def test_an_allowlisted_one_is_none(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="mail.example.com:25", **{**INSIDE, "EMAIL_URL": "smtp://mail.example.com"})
    assert check_settings(None) == []


@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_guard_that_does_not_enforce_is_a_warning(mode: str, environment: Environment, settings: Any) -> None:
    environment(AISOC_AIRGAPPED="1", **INSIDE)
    settings.AIRGAP_GUARD = mode
    assert [(message.id, mode in message.msg) for message in check_settings(None)] == [("airgap.W002", True)]


def test_the_same_is_logged_where_no_checks_run(environment: Environment, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    environment(AISOC_AIRGAPPED="1", **{**INSIDE, "OTX_API_KEY": "planted"})
    settings.AIRGAP_GUARD = "report"
    tell_warnings()
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [line["event"] for line in lines] == ["airgap.settings_refused", "airgap.guard_not_enforcing"]
    assert lines[0]["settings"] == [{"variable": "OTX_BASE_URL", "host": "otx.alienvault.com", "port": 443, "rule": "public"}]
    assert "planted" not in str(lines)


def test_public_search_domains_are_found(environment: Environment, tmp_path: Path) -> None:
    environment(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="listed.example.com")
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# search nothing.example.com\nnameserver 10.0.0.1\nsearch corp.internal cloud.example.com listed.example.com .\n", encoding="utf-8"
    )
    assert public_search_domains(file) == ["cloud.example.com"]
    assert public_search_domains(tmp_path / "none") == []


def test_the_check_is_one_of_djangos() -> None:
    assert "airgap" in checks.registry.registry.tags_available()
