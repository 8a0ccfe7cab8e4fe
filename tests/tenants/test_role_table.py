"""Who may do what, route by route and method by method. A route that is not listed here fails; docs/roles.md shows the same table."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tenants.accounts import issue_token
from tenants.models import Membership, Tenant
from tenants.roles import CREDENTIAL_READERS, CREDENTIAL_WRITERS, EVERY_ROLE, INTEL_READERS, LLM_USERS, READERS, TENANT_ROLES, WRITERS, Role

pytestmark = pytest.mark.django_db
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PUBLIC = frozenset({*EVERY_ROLE, "anonymous"})
KEY = "00000000-0000-4000-8000-000000000000"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "roles.md"


@dataclass(frozen=True, slots=True)
class May:
    """The roles that get `status`; the others get 403, nobody gets 401 or the login page. unnamed: what those get who act for no tenant."""

    roles: frozenset[Any]
    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    query: str = ""
    unnamed: int | None = None


def reads(roles: frozenset[Any], status: int = 200, query: str = "") -> dict[str, May]:
    return {"GET": May(roles, status, query=query)}


def does(roles: frozenset[Any], status: int = 200, **body: Any) -> dict[str, May]:
    return {"POST": May(roles, status, body)}


ELSEWHERE = {method: May(PUBLIC, 302) for method in METHODS if method != "POST"}  # whatever is no POST goes to the page that has the form
ROUTES: dict[str, dict[str, May]] = {
    "health": reads(PUBLIC),
    "ready": reads(PUBLIC, 503),
    "api/v1/airgap/status": reads(PUBLIC),
    "api/v1/airgap/check": reads(EVERY_ROLE, query="?url=http://a.corp/"),
    "api/v1/airgap/events": reads(EVERY_ROLE),
    "api/v1/airgap/events.csv": reads(EVERY_ROLE),
    "api/v1/airgap/events.jsonl": reads(EVERY_ROLE),
    "api/v1/airgap/events.ocsf.jsonl": reads(EVERY_ROLE),
    "api/v1/airgap/processes": reads(READERS),
    "api/v1/airgap/checklist": reads(READERS),
    "api/v1/airgap/checklist/<str:item>/attest": does(WRITERS, 404),
    "api/v1/airgap/checklist/<str:item>/accept": does(WRITERS, 404),
    "api/v1/airgap/readiness": reads(READERS),
    "api/v1/airgap/report": reads(READERS),
    "api/v1/airgap/report.md": reads(READERS),
    "api/v1/llm/status": reads(PUBLIC),
    "api/v1/llm/credentials": {
        "GET": May(CREDENTIAL_READERS, unnamed=400),
        "PUT": May(CREDENTIAL_WRITERS, 422, unnamed=400),
        "DELETE": May(CREDENTIAL_WRITERS, 204, unnamed=400),
    },
    "api/v1/llm/credentials/test": {"POST": May(CREDENTIAL_WRITERS, unnamed=400)},
    "api/v1/explain": does(LLM_USERS, 400),
    "api/v1/investigate": does(LLM_USERS, 400),
    "api/v1/nl-query/translate": does(LLM_USERS, 400),
    "api/v1/nl-detection/translate": does(LLM_USERS, 400),
    "api/v1/detection-loop/suggest": does(LLM_USERS, 400),
    "api/v1/phishing/submit": does(LLM_USERS, 400),
    "api/v1/translation/translate": does(LLM_USERS, 400),
    "api/v1/translation/formats": reads(EVERY_ROLE),
    "api/v1/threatintel/feeds": reads(INTEL_READERS),
    "api/v1/threatintel/feeds/<str:name>/poll": does(WRITERS, 404),
    "api/v1/threatintel/feeds/<str:kind>/import": does(WRITERS, 404),
    "api/v1/iocs/search": reads(INTEL_READERS),
    "api/v1/iocs/lookup": does(INTEL_READERS, values=["evil.example"]),
    "api/v1/enrich": does(INTEL_READERS, observables=["evil.example"]),
    "api/v1/threatintel/stix/indicators": does(WRITERS, 400),
    "api/v1/threatintel/stix/bundles": does(WRITERS, 400),
    "api/v1/threatintel/misp/health": reads(READERS),
    "api/v1/threatintel/misp/dry-run": does(READERS, 400),
    "api/v1/actions/channels": reads(READERS),
    "api/v1/actions/notify": does(WRITERS, 400),
    "api/v1/actions/deliveries": reads(READERS),
    "api/v1/actions/deliveries/<str:delivery>": reads(READERS, 404),
    "api/schema/": reads(EVERY_ROLE),
    "api/docs/": reads(EVERY_ROLE),
    "^api/": {method: May(PUBLIC, 404) for method in METHODS},
    "": reads(PUBLIC, 302),
    "favicon.ico": {**ELSEWHERE, "POST": May(PUBLIC, 302)},
    "act-for/": {"GET": May(PUBLIC, 302), "POST": May(EVERY_ROLE, 403, {"tenant": "globex"})},
    "settings/deployment/": reads(READERS),
    "settings/deployment/deployment.json": reads(READERS),
    "settings/deployment/deployment.md": reads(READERS),
    "settings/deployment/processes/<str:instance>/forget/": {**ELSEWHERE, "POST": May(WRITERS, 302)},
    "settings/feeds/": reads(READERS),
    "settings/feeds/feeds.json": reads(READERS),
    "settings/feeds/feeds.md": reads(READERS),
    "settings/feeds/import/": {"GET": May(WRITERS), "POST": May(WRITERS, 400)},
    "settings/feeds/<str:name>/": reads(READERS, 404),
    "settings/feeds/<str:name>/poll/": {**ELSEWHERE, "POST": May(WRITERS, 404)},
    "settings/indicators/": reads(INTEL_READERS),
    "settings/indicators/many/": {"GET": May(INTEL_READERS), "POST": May(INTEL_READERS, body={"values": "evil.example"})},
    "settings/indicators/<uuid:key>/": reads(INTEL_READERS, 404),
    "settings/indicators/<uuid:key>/indicator.md": reads(INTEL_READERS, 404),
    "settings/egress/": reads(READERS),
    "settings/egress/egress.json": reads(READERS),
    "settings/egress/egress.md": reads(READERS),
    "settings/checklist/": reads(READERS),
    "settings/checklist/checklist.json": reads(READERS),
    "settings/checklist/checklist.md": reads(READERS),
    "settings/checklist/sign-off/": {**ELSEWHERE, "POST": May(WRITERS, 422)},
    "settings/checklist/<str:item>/attest/": {**ELSEWHERE, "POST": May(WRITERS, 404)},
    "settings/checklist/<str:item>/accept/": {**ELSEWHERE, "POST": May(WRITERS, 404)},
    "settings/channels/": reads(READERS),
    "settings/channels/channels.json": reads(READERS),
    "settings/channels/channels.md": reads(READERS),
    "settings/channels/<str:name>/test/": {**ELSEWHERE, "POST": May(WRITERS, 404)},
    "settings/tenants/": reads(EVERY_ROLE),
    "settings/tenants/tenants.json": reads(EVERY_ROLE),
    "settings/tenants/tenants.md": reads(EVERY_ROLE),
    "settings/tenants/<str:name>/": {"GET": May(EVERY_ROLE, 404), "POST": May(CREDENTIAL_WRITERS, 404)},
    "settings/tenants/<str:name>/test/": {**ELSEWHERE, "POST": May(CREDENTIAL_WRITERS, 404)},
    "settings/tenants/<str:name>/remove/": {**ELSEWHERE, "POST": May(CREDENTIAL_WRITERS, 404)},
    "settings/tenants/<str:name>/reseal/": {**ELSEWHERE, "POST": May(WRITERS, 404)},
    "assist/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
    "assist/investigate/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
    "assist/query/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
    "assist/detection/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
    "assist/tuning/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
    "assist/phishing/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
    "assist/translation/": {"GET": May(EVERY_ROLE), "POST": May(LLM_USERS, 400)},
}
SIGNING_IN_AND_OUT = {"login/", "logout/"}  # tests/console/test_access.py
READERS_OF_PAGES = ("anonymous", *sorted(EVERY_ROLE))


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """Every route of the product. Django's admin, which asks for staff and its own permissions, is left out; see below."""
    for entry in resolver.url_patterns:
        route = f"{prefix}{entry.pattern}"
        if isinstance(entry, URLPattern):
            yield route
        elif route != "admin/":
            yield from routes(entry, route)


def address(route: str) -> str:
    return "/" + re.sub(r"<str:[a-z]+>", "nope", route).replace("<uuid:key>", KEY).replace("^api/", "api/nope")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """A browser with a session and a script with a token see the same; pages take the session."""
    role = request.param
    if role == "anonymous":
        return Client()
    user = User.objects.create_user(f"{role}-1", password="x")
    tenant = Tenant.objects.create(slug="acme", name="Acme") if role in ("tenant_admin", "analyst") else None
    Membership.objects.create(user=user, role=role, tenant=tenant)
    client = Client()
    client.force_login(user)
    return client


def test_every_route_is_in_the_table() -> None:
    assert set(routes(get_resolver())) == set(ROUTES) | SIGNING_IN_AND_OUT


@pytest.mark.parametrize("client", READERS_OF_PAGES, indirect=True)
def test_each_role_may_do_what_the_table_says_and_nothing_else(client: Client, request: pytest.FixtureRequest) -> None:
    role = request.node.callspec.params["client"]
    wrong = {}
    for route, allowed in ROUTES.items():
        for method in METHODS:
            may = allowed.get(method)
            status = ask(client, route, method, may).status_code
            if status not in expected(route, role, may):
                wrong[method, route] = status
    assert wrong == {}


def ask(client: Client, route: str, method: str, may: May | None) -> Any:
    path = address(route) + (may.query if may else "")
    if method == "GET":
        return client.get(path)
    if method == "POST" and not is_api(route):
        return client.post(path, may.body if may else {})
    return client.generic(method, path, json.dumps(may.body if may else {}), "application/json")


def expected(route: str, role: str, may: May | None) -> set[int]:
    if may is None:  # no such method: some views look at the role first
        return {401, 403, 405}
    if role in may.roles:
        return {may.status if may.unnamed is None or role in TENANT_ROLES else may.unnamed}
    return {403} if role != "anonymous" else {401} if is_api(route) else {302}


def is_api(route: str) -> bool:
    return route.startswith(("api/", "^api/", "health", "ready"))


@pytest.mark.parametrize("client", ["operator"], indirect=True)
def test_no_route_stumbles_over_a_method_that_it_does_not_have(client: Client) -> None:
    """The API's documentation, which has no form but HTML, answered OPTIONS by a 500."""
    for route in ROUTES:
        for method in ("OPTIONS", "TRACE", "PROPFIND"):
            assert client.generic(method, address(route)).status_code < 500, (method, route)


def test_the_table_of_the_docs_is_this_one() -> None:
    assert [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")] == documented()


def documented() -> list[str]:
    lines = []
    for route, allowed in ROUTES.items():
        for method, may in allowed.items():
            if may.roles != PUBLIC:
                ticks = " | ".join("yes" if role in may.roles else "–" for role in Role)
                lines.append(f"| `{method} {address(route) if '<' not in route else '/' + route}` | {ticks} |")
    return lines


def test_a_token_is_let_in_like_the_session_of_the_same_role() -> None:
    for role in Role:
        token = issue_token("alice", role, 1, "acme" if role in TENANT_ROLES else "")
        headers = {"Authorization": f"Token {token}"}
        assert Client().get("/api/v1/airgap/processes", headers=headers).status_code == (200 if role in READERS else 403)
        assert Client().get("/api/v1/iocs/search", headers=headers).status_code == 200


@pytest.mark.parametrize(("allowed", "status"), [("0", 403), ("1", 400)])
def test_an_analyst_pushes_to_misp_only_if_the_operator_allows_it(allowed: str, status: int, environment: Callable[..., object]) -> None:
    environment(MISP_PUSH_ANALYSTS=allowed)
    analyst = {"Authorization": f"Token {issue_token('ana', Role.ANALYST, 1, 'acme')}"}
    admin = {"Authorization": f"Token {issue_token('tea', Role.TENANT_ADMIN, 1, 'acme')}"}
    for path in ("stix/indicators", "stix/bundles", "misp/dry-run"):
        for headers, expected in ((analyst, status), (admin, 403)):
            response = Client().post(f"/api/v1/threatintel/{path}", b"{}", content_type="application/json", headers=headers)
            assert response.status_code == expected


@pytest.mark.parametrize("client", sorted(EVERY_ROLE), indirect=True)
def test_the_navigation_shows_what_the_role_may_open_and_nothing_else(client: Client) -> None:
    first = client.get("/").headers["Location"]
    shown = set(re.findall(r'<li><a href="([^"]+)"', client.get(first).content.decode()))
    role = Membership.objects.get().role
    assert shown == {f"/{route}" for route in ROUTES if re.fullmatch(r"settings/[a-z]+/|assist/", route) and role in ROUTES[route]["GET"].roles}
    assert first in shown


def test_the_admin_is_for_staff() -> None:
    client = Client()
    client.force_login(User.objects.create_user("olga"))
    assert client.get("/admin/").status_code == 302
    assert client.get("/admin/tenants/tenant/").status_code == 302
