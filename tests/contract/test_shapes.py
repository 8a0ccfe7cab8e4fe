"""What holds for every endpoint: who may call it without a login, the one error shape, the one list shape, local API docs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tenants.accounts import issue_token
from tenants.roles import Role
from tests.conftest import ROOT

PUBLIC = {
    "health",
    "ready",
    "api/v1/airgap/status",
    "api/v1/llm/status",
    "login/",
}


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


@pytest.mark.django_db
def test_the_public_routes_are_these_and_no_others() -> None:
    """Every route is asked by an anonymous client: 200 only for the public ones; 401 for the API, a log-in page for the rest."""
    answered = set()
    for route in routes(get_resolver().url_patterns):
        if route.startswith(("admin/", "^api/")) or "^" in route:
            continue
        path = "/" + re.sub(r"<[^>]+>", "x", re.sub(r"<uuid:[^>]+>", str(UUID(int=0)), route))
        response = Client().get(path)
        if response.status_code in (200, 503):
            answered.add(route)
        elif path.startswith("/api/"):
            assert response.status_code in (401, 405), (path, response.status_code)
        else:
            assert response.status_code in (302, 405), (path, response.status_code)
    assert answered == PUBLIC


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/airgap/check", 400, "url"),
        ("/api/v1/iocs/search?value=", 400, "value"),
        ("/api/v1/iocs/search?type=%00", 400, "type"),
        ("/api/v1/iocs/search?cursor=rubbish", 404, None),
        ("/api/v1/nothing/here", 404, None),
        ("/api/v1/threatintel/feeds/kev/poll", 405, None),
    ],
)
def test_errors_have_one_shape(path: str, status: int, field: str | None) -> None:
    token = issue_token("alice", Role.OPERATOR, 1)
    response = Client().get(path, headers={"Authorization": f"Token {token}"})
    assert response.status_code == status
    body = response.json()
    assert set(body) == {"code", "detail"} | ({"field"} if field else set())
    assert body.get("field") == field
    assert all(isinstance(value, str) and value for value in body.values())


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/threatintel/feeds", "/api/v1/iocs/search"])
def test_lists_are_results_and_next(path: str) -> None:
    token = issue_token("alice", Role.AUDITOR, 1)
    body = Client().get(path, headers={"Authorization": f"Token {token}"}).json()
    assert list(body) == ["results", "next"]


@pytest.mark.django_db
def test_an_unexpected_error_is_a_500_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from threatintel import api

    def broken() -> None:
        raise RuntimeError("planted-detail")

    monkeypatch.setattr(api, "feeds_snapshot", broken)
    client = Client(raise_request_exception=False)
    response = client.get("/api/v1/threatintel/feeds", headers={"Authorization": f"Token {issue_token('alice', Role.AUDITOR, 1)}"})
    assert response.status_code == 500
    assert response.json()["code"] == "server_error"
    assert b"planted-detail" not in response.content
    assert b"Traceback" not in response.content


@pytest.mark.django_db
def test_the_api_docs_load_nothing_from_another_host() -> None:
    token = {"Authorization": f"Token {issue_token('alice', Role.AUDITOR, 1)}"}
    page = Client().get("/api/docs/", headers=token)
    assert page.status_code == 200
    assert re.findall(rb"(?:src|href)=[\"']?(?:https?:)?//", page.content) == []
    schema = Client().get("/api/schema/?format=json", headers=token)
    assert schema.status_code == 200
    assert "/api/v1/threatintel/feeds" in schema.json()["paths"]


@pytest.mark.django_db
def test_every_answer_carries_the_browser_policy() -> None:
    for path in ("/login/", "/api/v1/nothing"):
        response = Client().get(path)
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_airgap_check_answers_as_the_command_does(airgapped: object, db: None) -> None:
    airgapped()
    token = {"Authorization": f"Token {issue_token('alice', Role.AUDITOR, 1)}"}
    body = Client().get("/api/v1/airgap/check", {"url": "https://api.openai.com/v1"}, headers=token).json()
    assert body == {
        "url": "https://api.openai.com/v1",
        "allowed": False,
        "rule": "public",
        "reason": "api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.",
        "host": "api.openai.com",
        "port": 443,
    }


@pytest.mark.parametrize("first", ["aisoc_admin.api", "rest_framework.checks"])
def test_the_parts_of_the_api_can_be_imported_in_any_order(first: str, tmp_path: Path) -> None:
    """Web, worker and beat come to them by different ways."""
    code = f"import django; django.setup(); import {first}; import django.core.checks as checks; checks.run_checks()"
    environment = {"PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "aisoc_admin.settings", "AISOC_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ACCEPTS = ("text/csv", "application/x-ndjson", "text/event-stream", "text/html", "application/xml", "bogus")


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ACCEPTS)
def test_what_a_client_says_to_accept_refuses_it_nothing(accept: str) -> None:
    """Each address has one form; RFC 9110 section 12.4.1 lets a server send it whatever the header says."""
    token = issue_token("alice", Role.OPERATOR, 1)
    headers = {"Authorization": f"Token {token}", "Accept": accept}
    kinds = {
        "/api/v1/airgap/events.csv": "text/csv; charset=utf-8",
        "/api/v1/airgap/events.jsonl": "application/x-ndjson",
        "/api/v1/airgap/events": "application/json",
        "/api/v1/airgap/check?url=http://ollama": "application/json",
    }
    for path, kind in kinds.items():
        response = Client().get(path, headers=headers)
        assert (response.status_code, response.headers["Content-Type"]) == (200, kind), path
    stream = Client().post("/api/v1/explain", {"alert": {"title": "x"}}, content_type="application/json", headers=headers)
    assert (stream.status_code, stream.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert b'"done"' in b"".join(stream.streaming_content)


@pytest.mark.django_db
@pytest.mark.parametrize("accept", [*ACCEPTS, "*/*", "application/json", "application/vnd.oai.openapi"])
@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/", "/api/v1/airgap/events.csv", "/api/v1/iocs/search"])
def test_a_call_without_a_login_is_one_shape_whatever_it_accepts(path: str, accept: str) -> None:
    response = Client().get(path, headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (401, "application/json")
    assert set(response.json()) == {"code", "detail"}


@pytest.mark.django_db
def test_the_schema_comes_as_yaml_and_as_json() -> None:
    token = f"Token {issue_token('alice', Role.AUDITOR, 1)}"
    for accept, kind in (("*/*", "application/vnd.oai.openapi"), ("application/json", "application/json")):
        response = Client().get("/api/schema/", headers={"Authorization": token, "Accept": accept})
        assert (response.status_code, response.headers["Content-Type"].split(";")[0]) == (200, kind)
    assert Client().get("/api/schema/?format=bogus", headers={"Authorization": token}).status_code == 404
