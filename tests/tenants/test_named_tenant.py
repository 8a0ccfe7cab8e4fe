"""A view that takes ?tenant=SLUG judges by the role held in that tenant: 404 for another's, 403 for a role that is not enough there."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from airgap import readership
from tenants.accounts import issue_token
from tenants.acting import SESSION_KEY
from tenants.models import Membership, Tenant
from tenants.permissions import acting_in
from tenants.roles import CREDENTIAL_READERS, CREDENTIAL_WRITERS, Role
from tests.airgap.trail import drained, event

pytestmark = pytest.mark.django_db


class CredentialLikeView(APIView):
    names_tenant = True
    read_roles = CREDENTIAL_READERS
    write_roles = CREDENTIAL_WRITERS

    def get(self, request: Request) -> Response:
        now = acting_in(request, self)
        assert now is not None
        return Response(f"{now.role} {now.slug}".strip())

    put = get


def ask(method: str, held: str, query: str, chosen: str | None = None) -> Any:
    """held: "analyst acme, operator" """
    for slug in ("acme", "globex"):
        Tenant.objects.create(slug=slug, name="globex" if slug == "acme" else "acme")
    user = User.objects.create_user("alice")
    for role, _space, slug in (text.partition(" ") for text in held.split(", ") if text):
        Membership.objects.create(user=user, role=role, tenant=Tenant.objects.get(slug=slug) if slug else None)
    request = APIRequestFactory().generic(method.upper(), f"/{query}", b'{"tenant": "globex"}', "application/json")
    request.session = {} if chosen is None else {SESSION_KEY: chosen}
    force_authenticate(request, user)
    response = CredentialLikeView.as_view()(request)
    return response.data if response.status_code == 200 else response.status_code


@pytest.mark.parametrize(
    ("method", "held", "query", "answer"),
    [
        ("get", "operator", "?tenant=acme", "operator acme"),
        ("get", "operator", "", "operator"),
        ("put", "operator", "?tenant=acme", "operator acme"),
        ("get", "auditor", "?tenant=acme", "auditor acme"),
        ("put", "auditor", "?tenant=acme", 403),
        ("get", "operator", "?tenant=nobody", 404),
        ("get", "operator", "?tenant=", 400),
        ("put", "analyst acme", "?tenant=", 400),
        ("get", "", "?tenant=", 403),
        ("get", "tenant_admin acme", "?tenant=acme", "tenant_admin acme"),
        ("put", "tenant_admin acme", "", "tenant_admin acme"),
        ("put", "tenant_admin acme", "?tenant=globex", 404),
        ("get", "analyst acme", "?tenant=acme", 403),
        ("get", "analyst acme", "?tenant=globex", 404),
        ("put", "", "?tenant=acme", 403),
        ("put", "tenant_admin acme, analyst globex", "?tenant=globex", 403),
        ("put", "analyst acme, tenant_admin globex", "?tenant=globex", "tenant_admin globex"),
        ("get", "tenant_admin acme, tenant_admin globex", "", 403),
        ("get", "tenant_admin acme, tenant_admin globex", "?tenant=globex", "tenant_admin globex"),
    ],
)
def test_the_role_in_the_named_tenant_decides(method: str, held: str, query: str, answer: Any) -> None:
    assert ask(method, held, query) == answer


def test_acting_as_admin_of_one_tenant_is_nothing_in_another() -> None:
    assert ask("put", "tenant_admin acme, analyst globex", "?tenant=globex", chosen="acme") == 403


# ── The trail ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def trail() -> None:
    drained(event(host="acme.example", tenant="acme"), event(host="globex.example", tenant="globex"), event(host="ours.example"))


def events(token: str, form: str = "", query: str = "") -> Any:
    return Client().get(f"/api/v1/airgap/events{form}{query}", headers={"Authorization": f"Token {token}"})


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize("role", [Role.TENANT_ADMIN, Role.ANALYST])
@pytest.mark.parametrize("form", ["", ".csv", ".jsonl"])
def test_a_tenants_role_reads_its_own_part_of_the_trail(form: str, role: Role) -> None:
    token = issue_token("alice", role, 1, "acme")
    issue_token("alice", role, 1, "globex")
    for query in ("", "?tenant=acme", "?rule=public", "?host=acme.example"):
        answer = events(token, form, query)
        text = (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()
        assert "acme.example" in text
        assert "globex" not in text
        assert "ours.example" not in text
    assert events(token, "", "?host=globex.example").json()["results"] == []
    for query in ("?tenant=globex", "?tenant=nobody", "?tenant=acme&tenant=globex"):
        assert events(token, form, query).status_code == 404


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_operators_and_auditors_read_the_whole_trail(role: Role) -> None:
    token = issue_token("olga", role, 1)
    assert len(events(token).json()["results"]) == 3
    assert [one["host"] for one in events(token, "", "?tenant=globex").json()["results"]] == ["globex.example"]


def test_a_cursor_of_another_reader_opens_nothing_more() -> None:
    drained(*(event(minutes, host="globex.example", tenant="globex") for minutes in range(4)), event(host="acme.example", tenant="acme"))
    following = events(issue_token("olga", Role.AUDITOR, 1), "", "?page_size=1").json()["next"].partition("?")[2]
    own = events(issue_token("alice", Role.ANALYST, 1, "acme"), "", f"?{following}")
    assert [one["host"] for one in own.json()["results"]] == ["acme.example"]


@pytest.mark.usefixtures("trail")
def test_nobody_reads_the_trail_where_nothing_tells_readers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readership, "_confine", None)
    with pytest.raises(ImproperlyConfigured):
        events(issue_token("olga", Role.OPERATOR, 1))


# ── The admin ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_staff_make_tenants_and_give_roles_and_are_told_what_does_not_fit(staff: Client) -> None:
    assert b"A slug is" in staff.post("/admin/tenants/tenant/add/", {"slug": "Acme Inc", "name": "Acme"}).content
    assert staff.post("/admin/tenants/tenant/add/", {"slug": "acme", "name": "Acme"}).status_code == 302
    acme = Tenant.objects.get()
    user = User.objects.create_user("alice")
    refused = staff.post("/admin/tenants/membership/add/", {"user": user.pk, "role": "operator", "tenant": acme.pk})
    assert b"Operators and auditors have no tenant" in refused.content
    assert staff.post("/admin/tenants/membership/add/", {"user": user.pk, "role": "analyst", "tenant": acme.pk}).status_code == 302
    assert staff.get("/admin/tenants/membership/").status_code == 200
    assert staff.get("/admin/tenants/apitoken/").status_code == 200


def test_a_slug_never_changes_and_a_tenant_is_never_deleted_in_the_admin(staff: Client) -> None:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    staff.post(f"/admin/tenants/tenant/{acme.pk}/change/", {"slug": "other", "name": "New"})
    acme.refresh_from_db()
    assert (acme.slug, acme.name) == ("acme", "New")
    assert staff.post(f"/admin/tenants/tenant/{acme.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Tenant.objects.exists()
