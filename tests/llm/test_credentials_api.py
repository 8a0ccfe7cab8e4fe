"""CONTRACTS.md 2.5 over HTTP, to the letter: who may, what comes back, each refusal with its status and field; and no key in any reply."""

import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from aisoc_admin import env
from llm import credentials_api
from llm.models import CredentialChange
from llm.probe import Probe, ProbeOutcome
from llm.resolver import ResolvedLLM
from tenants.accounts import issue_token
from tenants.models import Membership, Tenant
from tenants.roles import Role
from tenants.scope import all_tenants
from tests.plugins.processes import free_port

pytestmark = pytest.mark.django_db
URL = "/api/v1/llm/credentials"
KEY, OTHER, OPERATORS = "sk-planted-7e57-0001", "sk-planted-7e57-0002", "sk-planted-7e57-0003"
GATEWAY = {"provider": "local-litellm", "base_url": "http://litellm.internal:4000/v1", "model": "m", "api_key": KEY}


class Caller:
    """Calls as one role; `bodies` is every reply."""

    def __init__(self, role: Role, slug: str = "") -> None:
        self.headers = {"Authorization": f"Token {issue_token(f'{role}-{slug}', role, 1, slug)}"}
        self.bodies: list[str] = []

    def call(self, method: str, path: str = "", query: str = "", body: object = None) -> tuple[int, Any]:
        response = Client().generic(
            method, f"{URL}{path}{query}", json.dumps(body) if body is not None else "", "application/json", headers=self.headers
        )
        self.bodies.append(response.content.decode())
        return response.status_code, response.json() if response.content else None

    def put(self, query: str = "", **body: Any) -> tuple[int, Any]:
        return self.call("PUT", query=query, body=body)


@pytest.fixture(autouse=True)
def _operators(environment: Callable[..., env.Environment]) -> None:
    environment(LLM_BASE_URL="http://ollama:11434", LLM_API_KEY=OPERATORS)


@pytest.fixture
def admin() -> Caller:
    return Caller(Role.TENANT_ADMIN, "acme")


def test_a_row_from_nothing_to_nothing(admin: Caller) -> None:
    assert admin.call("GET") == (200, None)
    status, view = admin.put(**GATEWAY)
    assert status == 200
    assert list(view) == [
        *("provider", "base_url", "model", "has_api_key", "enabled", "version", "created_at", "updated_at", "updated_by", "last_rotated_at"),
        "effective",
    ]
    assert list(view["effective"]) == ["allowed", "source", "host", "rule", "reason", "path"]
    assert (view["has_api_key"], view["enabled"], view["version"], view["updated_by"]) == (True, True, 1, "tenant_admin-acme")
    assert view["last_rotated_at"] == view["created_at"]
    assert view["created_at"].endswith("Z")
    assert view["effective"] == {
        "allowed": True,
        "source": "tenant",
        "host": "litellm.internal",
        "rule": "airgap_off",
        "reason": "Local LLM in use; air-gap mode is off.",
        "path": "live",
    }
    assert admin.call("GET") == (200, view)
    assert admin.put(**{**GATEWAY, "api_key": ""}, version=1)[1]["last_rotated_at"] == view["last_rotated_at"]
    rotated = admin.put(api_key=OTHER, version=2)[1]
    assert rotated["last_rotated_at"] > view["last_rotated_at"]
    assert [admin.call("DELETE") for _ in range(2)] == [(204, None), (204, None)]
    assert admin.call("GET") == (200, None)
    with all_tenants():
        assert list(CredentialChange.across_tenants.order_by("pk").values_list("action", flat=True)) == ["saved", "saved", "rotated", "removed"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"provider": "openai"}, 422, "key_required", "api_key"),
        ({"provider": "openai", "api_key": "  "}, 422, "key_required", "api_key"),
        ({"provider": "custom"}, 422, "required", "base_url"),
        ({"provider": "azure-openai", "api_key": KEY, "base_url": None}, 422, "required", "base_url"),
        ({"provider": "local-vllm", "base_url": ""}, 422, "required", "base_url"),
        ({"provider": "gemini"}, 422, "unknown_provider", "provider"),
        ({}, 422, "unknown_provider", "provider"),
        ({"provider": 7}, 422, "invalid", "provider"),
        ({**GATEWAY, "base_url": "ftp://gw.corp"}, 422, "malformed", "base_url"),
        ({**GATEWAY, "base_url": "http:///v1"}, 422, "malformed", "base_url"),
        ({**GATEWAY, "base_url": "http://169.254.169.254"}, 422, "tenant_metadata", "base_url"),
        ({**GATEWAY, "provider": "openai"}, 422, "foreign_host", "base_url"),
        ({**GATEWAY, "api_key": ["x"]}, 422, "invalid", "api_key"),
        ({**GATEWAY, "enabled": "yes"}, 422, "invalid", "enabled"),
        ({**GATEWAY, "version": True}, 422, "invalid", "version"),
        ({**GATEWAY, "version": "1"}, 422, "invalid", "version"),
        ({**GATEWAY, "version": 1}, 409, "stale", "version"),
        ({**GATEWAY, "version": 10**30}, 409, "stale", "version"),
        ({**GATEWAY, "apikey": KEY}, 422, "unknown_field", "apikey"),
        ([], 400, "parse_error", None),
    ],
)
def test_each_refusal_has_its_status_code_and_field_and_changes_nothing(admin: Caller, body: Any, status: int, code: str, field: str | None) -> None:
    answered, error = admin.call("PUT", body=body)
    assert (answered, error["code"], error.get("field")) == (status, code, field)
    assert set(error) <= {"code", "detail", "field"}
    assert admin.call("GET") == (200, None)


def test_a_view_may_be_sent_back_and_null_clears(admin: Caller) -> None:
    view = admin.put(**GATEWAY)[1]
    assert admin.call("PUT", body={**view, "model": None})[1] | {"model": "m"} == view | {
        "version": 2,
        "updated_at": admin.call("GET")[1]["updated_at"],
    }
    assert admin.call("GET")[1]["model"] is None


def test_two_writers_and_one_without_a_version(admin: Caller) -> None:
    admin.put(**GATEWAY)
    assert admin.put(model="first", version=1)[0] == 200
    assert admin.put(model="second", version=1)[0] == 409
    status, error = admin.put(model="third")
    assert (status, error["field"]) == (422, "version")
    assert admin.call("GET")[1]["model"] == "first"


def test_a_key_stays_with_its_origin(admin: Caller) -> None:
    admin.put(**GATEWAY)
    status, error = admin.put(base_url="http://evil.internal:4000/v1", version=1)
    assert (status, error["field"]) == (422, "api_key")
    assert "send the key again" in error["detail"]
    assert admin.call("GET")[1]["base_url"] == GATEWAY["base_url"]


def test_a_public_host_under_air_gap_is_saved_and_shown_as_refused(admin: Caller, airgapped: Callable[..., object]) -> None:
    airgapped()
    status, view = admin.put(provider="openai", api_key=KEY)
    assert status == 200
    assert view["effective"]["reason"] == "api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST."
    assert (view["effective"]["allowed"], view["effective"]["rule"], view["effective"]["path"]) == (False, "public", "fallback")
    assert view["base_url"] is None


@pytest.mark.parametrize(
    ("role", "slug", "query", "expected"),  # GET, PUT, DELETE, test
    [
        (Role.TENANT_ADMIN, "acme", "", (200, 200, 204, 200)),
        (Role.TENANT_ADMIN, "acme", "?tenant=acme", (200, 200, 204, 200)),
        (Role.OPERATOR, "", "?tenant=acme", (200, 200, 204, 200)),
        (Role.AUDITOR, "", "?tenant=acme", (200, 403, 403, 403)),
        (Role.ANALYST, "acme", "?tenant=acme", (403, 403, 403, 403)),
        (Role.TENANT_ADMIN, "globex", "?tenant=acme", (404, 404, 404, 404)),
        (Role.OPERATOR, "", "?tenant=nobody", (404, 404, 404, 404)),
        (Role.OPERATOR, "", "", (400, 400, 400, 400)),
        (Role.OPERATOR, "", "?tenant=", (400, 400, 400, 400)),
    ],
)
def test_who_may_do_what(role: Role, slug: str, query: str, expected: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_api, "probe", lambda resolved: Probe(ProbeOutcome.OK, "x", "m", 1))
    for name in ("acme", "globex"):
        Tenant.objects.get_or_create(slug=name, defaults={"name": name})
    caller = Caller(role, slug)
    calls = (("GET", "", None), ("PUT", "", GATEWAY), ("DELETE", "", None), ("POST", "/test", None))
    assert tuple(caller.call(method, path, query, body)[0] for method, path, body in calls) == expected
    assert Client().get(URL + query).status_code == 401


def test_a_session_that_names_a_tenant_is_judged_by_the_role_held_there() -> None:
    user = User.objects.create_user("ana")
    for slug, role in (("acme", Role.TENANT_ADMIN), ("globex", Role.ANALYST)):
        Membership.objects.create(user=user, role=role, tenant=Tenant.objects.create(slug=slug, name=slug))
    client = Client()
    client.force_login(user)
    assert client.put(f"{URL}?tenant=acme", GATEWAY, content_type="application/json").status_code == 200
    assert client.put(f"{URL}?tenant=globex", GATEWAY, content_type="application/json").status_code == 403
    assert client.put(URL, GATEWAY, content_type="application/json").status_code == 403


# ── The test call ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_test_says_a_word_writes_it_down_and_is_limited(admin: Caller) -> None:
    admin.put(provider="local-vllm", base_url=f"http://192.0.2.1:{free_port()}", model="m", api_key=KEY)  # which the suite's sockets refuse
    tried: list[ResolvedLLM] = []

    def answered(resolved: ResolvedLLM) -> Probe:
        tried.append(resolved)
        return Probe(ProbeOutcome.REJECTED, "192.0.2.1 does not accept the key (HTTP 401).", resolved.model, 12)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials_api, "probe", answered)
        status, body = admin.call("POST", "/test")
        assert (status, list(body)) == (200, ["outcome", "detail", "model", "latency_ms"])
        assert (body["outcome"], body["model"], body["latency_ms"]) == ("rejected", "m", 12)
        statuses = [admin.call("POST", "/test")[0] for _ in range(20)]
    assert statuses == [200] * 19 + [429]
    assert tried[0].key.reveal() == KEY
    with all_tenants():
        row = CredentialChange.across_tenants.filter(action="tested").first()
    assert (row.by, row.note, row.new_host.startswith("192.0.2.1:")) == ("tenant_admin-acme", "rejected", True)


def test_what_is_refused_is_blocked_without_a_call(admin: Caller, airgapped: Callable[..., object]) -> None:
    airgapped()
    admin.put(provider="anthropic", api_key=KEY)
    assert admin.call("POST", "/test")[1] == {
        "outcome": "blocked",
        "detail": "api.anthropic.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.",
        "model": None,
        "latency_ms": None,
    }


def test_no_reply_and_no_log_line_holds_a_part_of_a_key(admin: Caller, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str, *_args: object, **_options: object) -> None:
        raise socket.gaierror(-2, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    operator = Caller(Role.OPERATOR)
    with caplog.at_level(logging.DEBUG):
        admin.put(**GATEWAY)
        admin.put(api_key=OTHER, version=1)
        admin.put(api_key=OTHER, base_url="http://u:p@x", version=2)
        admin.put(api_key=f"{OTHER}\n{OTHER}", version=2)
        for caller in (admin, operator):
            for method, path in (("GET", ""), ("POST", "/test")):
                caller.call(method, path, "?tenant=acme")
        admin.call("DELETE")
        status = Client().get("/api/v1/llm/status", {"tenant": "acme"}, headers=admin.headers).content.decode()
    text = "".join([*admin.bodies, *operator.bodies, status, caplog.text])
    parts = {key[start : start + 4] for key in (KEY, OTHER, OPERATORS) for start in range(len(key) - 3)} - {"-000"}
    assert not [part for part in parts if part in text]
