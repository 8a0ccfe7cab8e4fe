"""Tenants' connections in Django's admin: to read for staff who are operators or auditors, re-sealed by operators, changed by nobody."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.messages import get_messages
from django.test import Client

from llm.models import TenantCredential
from llm.resolver import resolved_for
from tenants.models import Tenant
from tenants.scope import all_tenants
from tests.console.connections import GATEWAY, KEY, edit, stored, tenant

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed")]
URL = "/admin/llm/tenantcredential/"
Reader = Callable[..., Client]


@pytest.fixture
def acme() -> Tenant:
    tenant("globex", provider="openai", api_key=KEY)
    return tenant(provider="local-litellm", base_url=GATEWAY, model="m-1", api_key=KEY)


def change(owner: Tenant) -> str:
    return f"{URL}{(stored(owner) or {})['id']}/change/"


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_staff_read_the_same_verdicts_and_never_what_is_sealed(role: str, reader: Reader, acme: Tenant, text: Callable[[Any], str]) -> None:
    client = reader(role, staff=True)
    for path in (URL, change(acme)):
        answer = client.get(path)
        body = answer.content.decode()
        assert answer.status_code == 200
        assert "litellm.internal:4000" in body
        assert "OK: private suffix" in text(answer)
        assert KEY not in body
        assert (stored(acme) or {})["sealed_key"] not in body
        assert (stored(acme) or {})["key_fingerprint"] not in body
    assert "REFUSED: api.openai.com is a public name" in text(client.get(URL))
    assert 'href="/settings/tenants/acme/"' in client.get(change(acme)).content.decode()


@pytest.mark.parametrize(("role", "staff"), [("operator", False), ("tenant_admin acme", True), ("analyst acme", True), (None, True)])
def test_others_do_not_get_in(role: str | None, staff: bool, reader: Reader, acme: Tenant) -> None:
    client = reader(role, staff=staff)
    assert client.get(URL).status_code in (302, 403)
    assert client.get(change(acme)).status_code in (302, 403)
    assert "tenantcredential" not in client.get("/admin/", follow=True).content.decode()


def test_nothing_is_added_changed_or_deleted_here(reader: Reader, acme: Tenant) -> None:
    client, before = reader("operator", staff=True), stored(acme)
    wanted = {"base_url": "http://evil.corp", "enabled": ""}
    for path in (f"{URL}add/", change(acme), change(acme).replace("change", "delete")):
        assert client.post(path, wanted | {"post": "yes"}).status_code == 403
    client.post(URL, {"action": "delete_selected", "_selected_action": [(before or {})["id"]], "post": "yes"})
    assert stored(acme) == before


def test_operators_re_seal_and_auditors_do_not(reader: Reader, acme: Tenant, settings: Any) -> None:
    umbrella = tenant("umbrella", provider="local-vllm", base_url="http://vllm.corp", api_key=KEY)
    edit(umbrella, sealed_key="v1.0000000000000000.AAAA")
    settings.CREDENTIAL_KEYS = (Fernet.generate_key().decode(), *settings.CREDENTIAL_KEYS)
    with all_tenants():
        chosen = {"action": "re_seal", "_selected_action": list(TenantCredential.across_tenants.values_list("pk", flat=True))}
    before = (stored(acme) or {})["sealed_key"]
    reader("auditor", staff=True).post(URL, chosen)
    assert (stored(acme) or {})["sealed_key"] == before
    answer = reader("operator", staff=True).post(URL, chosen)
    told = [str(message) for message in get_messages(answer.wsgi_request)]
    assert told[0].startswith("umbrella was not re-sealed. The stored key is sealed with a vault key that is not here")
    assert told[1].startswith("2 re-sealed;")
    assert (stored(acme) or {})["sealed_key"] != before
    assert resolved_for(acme).key.reveal() == KEY
