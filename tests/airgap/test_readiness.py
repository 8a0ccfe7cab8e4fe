"""What would be refused with the air gap on, before it is: configured targets, and those that the gate let through lately."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client

from airgap import contacts
from airgap.models import Contact
from airgap.policy import EgressPolicy
from airgap.readiness import readiness
from airgap.tenant_rule import TenantRule
from airgap.transport import gated_client
from tenants.accounts import issue_token
from tenants.roles import Role

pytestmark = pytest.mark.django_db
Environment = Callable[..., Any]


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    contacts._noted.clear()


def ask(*urls: str, purpose: str = "feed.kev") -> None:
    """Requests of one client each, answered behind the gate."""
    for url in urls:
        with gated_client(purpose=purpose, inner=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
            client.get(url)
            client.get(url)


def test_configured_targets_that_would_be_refused_are_told_with_the_line_that_permits_each(environment: Environment) -> None:
    environment(
        OPENAI_API_KEY="sk-planted-1",
        OTX_API_KEY="otx-planted-1",
        TAXII_URL="https://taxii.intel.corp/taxii2/",
        TAXII_COLLECTION_IDS="one",
        SLACK_WEBHOOK_URL="https://hooks.slack.com/services/T0/B0/planted",
        EMAIL_URL="smtp+tls://u:planted@mail.example.com:587",
        ALERT_EMAIL_TO="soc@example.com",
        DATABASE_URL="postgres://u:planted@db.example.com/aisoc",
        CELERY_BROKER_URL="redis://:planted@valkey.internal:6379/0",
    )
    found = readiness()
    assert not found.enabled
    told = {(one.kind, one.name, one.host, one.port, one.allowlist) for one in found.results}
    assert told == {
        ("feed", "kev", "www.cisa.gov", 443, "www.cisa.gov:443"),
        ("feed", "otx", "otx.alienvault.com", 443, "otx.alienvault.com:443"),
        ("llm", "language model", "api.openai.com", 443, "api.openai.com:443"),
        ("channel", "slack", "hooks.slack.com", 443, "hooks.slack.com:443"),
        ("setting", "database", "db.example.com", 5432, "db.example.com:5432"),
        ("channel", "mail", "mail.example.com", 587, "mail.example.com:587"),
    }
    assert found.checked == 8
    assert "planted" not in str(found)
    lines = ",".join(one.allowlist for one in found.results)
    environment(OTX_API_KEY="k", AISOC_AIRGAP_ALLOWLIST=lines, OPENAI_API_KEY="k")
    assert readiness().results == ()
    assert readiness().sentence == "Nothing would be refused: 3 targets were looked at."


def test_what_the_gate_lets_through_with_the_air_gap_off_is_counted_by_client_and_no_url_is_kept(environment: Environment) -> None:
    environment(CISA_KEV_URL="http://kev-mirror/kev.json")
    ask("https://api.example.com/v1/secret-path?token=planted", "https://api.example.com/other", "http://kev-mirror/kev.json", "http://10.0.0.5/")
    contacts.flush()
    row = Contact.objects.get()
    assert (row.host, row.port, row.purpose, row.count) == ("api.example.com", 443, "feed.kev", 2)
    ask("https://api.example.com/")
    contacts.flush()
    (one,) = readiness().results
    assert (one.kind, one.name, one.count, one.allowlist) == ("contacted", "feed.kev", 3, "api.example.com:443")
    assert "planted" not in str(one)
    assert "secret-path" not in str(one)


def test_with_the_air_gap_off_a_call_to_a_tenants_url_is_noted_too(environment: Environment) -> None:
    environment(CISA_KEV_URL="http://kev-mirror/kev.json")
    inner = httpx.MockTransport(lambda request: httpx.Response(200))
    with gated_client(purpose="llm.explain", tenant="acme", tenant_rule=TenantRule(), inner=inner) as client:
        client.get("https://api.example.com/v1/models")
    contacts.flush()
    row = Contact.objects.get()
    assert (row.host, row.port, row.purpose, row.count) == ("api.example.com", 443, "llm.explain", 1)


def test_with_the_air_gap_on_nothing_is_noted(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="api.example.com")
    ask("https://api.example.com/")
    assert contacts._noted == {}


def test_noting_is_bounded_in_memory_and_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "MOST_NOTED", 3)
    monkeypatch.setattr(contacts, "MOST_KEPT", 3)
    off = EgressPolicy(False, ())
    for number in range(10):
        contacts.note(off, f"h{number}.example.com", 443, "guard")
    contacts.flush()
    assert {(row.host, row.count) for row in Contact.objects.all()} == {
        ("h0.example.com", 1), ("h1.example.com", 1), ("h2.example.com", 1), ("(other)", 7),
    }  # fmt: skip
    contacts.note(off, "late.example.com", 443, "guard")
    contacts.flush()
    assert Contact.objects.get(host="(other)").count == 8
    assert not Contact.objects.filter(host="late.example.com").exists()
    assert any(one.host == "(other)" and one.allowlist == "" for one in readiness(off).results)


def test_a_database_that_is_away_loses_nothing_and_is_told() -> None:
    off = EgressPolicy(False, ())
    contacts.note(off, "a.example.com", 443, "guard")

    def away(*_args: Any) -> None:
        raise OperationalError("gone")

    with connection.execute_wrapper(away):
        with pytest.raises(OperationalError):
            contacts.flush()
        assert "cannot be read" in readiness(off).sentence
    contacts.note(off, "a.example.com", 443, "guard")
    contacts.flush()
    assert Contact.objects.get().count == 2


def test_api_and_command_say_the_same(environment: Environment) -> None:
    environment()
    token = {"Authorization": f"Token {issue_token('olga', Role.AUDITOR, 1)}"}
    by_api = Client().get("/api/v1/airgap/readiness", headers=token).json()
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("airgap_readiness", "--json", stdout=out)
    assert end.value.code == 1
    assert json.loads(out.getvalue()) == by_api
    assert (by_api["enabled"], by_api["results"][0]["host"]) == (False, "www.cisa.gov")
    environment(AISOC_AIRGAPPED="1")
    assert Client().get("/api/v1/airgap/readiness", headers=token).json()["sentence"] == "1 of 1 targets is refused."
