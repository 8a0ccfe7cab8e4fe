"""In which role and for which tenant a request acts: decided by token, session and memberships, never by what it sends."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, RequestFactory

from tenants.accounts import issue_token
from tenants.acting import SESSION_KEY, Acting, acting, acting_for, choices, choose
from tenants.models import ApiToken, Membership, Tenant
from tenants.roles import Role

pytestmark = pytest.mark.django_db
ADMIN, ANALYST, AUDITOR, OPERATOR = Role.TENANT_ADMIN, Role.ANALYST, Role.AUDITOR, Role.OPERATOR


@pytest.fixture
def user() -> User:
    return User.objects.create_user("alice")


def tenant(slug: str) -> Tenant:
    return Tenant.objects.get_or_create(slug=slug, defaults={"name": slug})[0]


def give(user: User, *roles: str) -> None:
    """give(user, "analyst acme", "operator")"""
    for text in roles:
        role, _space, slug = text.partition(" ")
        Membership.objects.create(user=user, role=role, tenant=tenant(slug) if slug else None)


def asked(user: Any, *, chosen: str | None = None, token: Any = None) -> Any:
    request = RequestFactory().post("/?tenant=globex", {"tenant": "globex"}, headers={"X-Tenant": "globex"})
    request.user, request.session = user, {} if chosen is None else {SESSION_KEY: chosen}
    if token is not None:
        request.auth = token
    return request


def short(one: Acting | None) -> str | None:
    return f"{one.role} {one.slug}".strip() if one else None


@pytest.mark.parametrize(
    ("held", "chosen", "acts_as"),
    [
        ([], None, None),
        (["auditor"], None, "auditor"),
        (["auditor", "operator"], None, "operator"),
        (["analyst acme"], None, "analyst acme"),
        (["analyst acme", "tenant_admin acme"], None, "tenant_admin acme"),
        (["analyst acme"], "acme", "analyst acme"),
        (["analyst acme", "tenant_admin globex"], None, None),
        (["analyst acme", "tenant_admin globex"], "globex", "tenant_admin globex"),
        (["analyst acme", "tenant_admin globex"], "acme", "analyst acme"),
        (["analyst acme"], "globex", None),  # taken away: nobody is moved to another tenant unasked
        (["analyst acme"], "", None),
        (["operator", "analyst acme"], None, "operator"),
        (["operator", "analyst acme"], "", "operator"),
        (["operator", "analyst acme"], "acme", "analyst acme"),
        (["operator"], "acme", None),
    ],
)
def test_a_session_acts_for_the_tenant_it_chose_or_the_only_one(user: User, held: list[str], chosen: str | None, acts_as: str | None) -> None:
    tenant("globex")
    give(user, *held)
    assert short(acting(asked(user, chosen=chosen))) == acts_as


def test_nobody_and_the_switched_off_act_as_nothing(user: User) -> None:
    give(user, "operator")
    user.is_active = False
    assert acting(asked(user)) is None
    assert acting(asked(AnonymousUser())) is None
    assert choices(asked(AnonymousUser())) == ()


def test_a_superuser_is_an_operator_and_of_no_tenant() -> None:
    assert short(acting(asked(User.objects.create_superuser("root")))) == "operator"


def test_choices_are_the_deployment_first_then_tenants_with_the_strongest_role(user: User) -> None:
    give(user, "analyst globex", "analyst acme", "tenant_admin acme", "auditor", "operator")
    assert [short(one) for one in choices(asked(user))] == ["operator", "tenant_admin acme", "analyst globex"]


def test_what_is_not_held_cannot_be_chosen(user: User) -> None:
    tenant("globex")
    give(user, "analyst acme", "analyst initech")
    request = asked(user)
    assert choose(request, "globex") is None
    assert choose(request, "") is None
    assert request.session == {}
    assert short(choose(request, "initech")) == "analyst initech"
    assert short(acting(request)) == "analyst initech"


@pytest.mark.parametrize("chosen", [None, "globex", ""])
def test_a_token_acts_for_its_own_tenant_whatever_the_session_says(user: User, chosen: str | None) -> None:
    give(user, "analyst globex", "tenant_admin acme", "operator")
    issue_token("alice", ADMIN, 1, "acme")
    token = ApiToken.objects.get()
    assert short(acting(asked(user, chosen=chosen, token=token))) == "tenant_admin acme"
    assert [short(one) for one in choices(asked(user, token=token))] == ["tenant_admin acme"]


def test_a_token_is_worth_no_more_than_its_user_still_has(user: User) -> None:
    issue_token("alice", ADMIN, 1, "acme")
    token = ApiToken.objects.get()
    Membership.objects.all().delete()
    give(user, "tenant_admin globex", "analyst acme", "operator")
    assert acting(asked(user, token=token)) is None
    issue_token("olga", OPERATOR, 1)
    Membership.objects.filter(user__username="olga").delete()
    assert acting(asked(User.objects.get(username="olga"), token=ApiToken.objects.get(role="operator"))) is None


@pytest.mark.parametrize(
    ("held", "named", "acts_as"),
    [
        (["operator"], "acme", "operator acme"),
        (["auditor"], "acme", "auditor acme"),
        (["operator"], "nobody", None),
        (["operator"], "Acme Inc", None),
        (["operator"], "", None),
        (["operator"], "acme\0", None),
        (["analyst acme"], "acme", "analyst acme"),
        (["analyst acme"], "globex", None),
        (["analyst acme", "tenant_admin globex"], "globex", "tenant_admin globex"),
        ([], "acme", None),
    ],
)
def test_a_named_tenant_is_another_tenant_only_for_those_who_may(user: User, held: list[str], named: str, acts_as: str | None) -> None:
    for slug in ("acme", "globex"):
        tenant(slug)
    Tenant.objects.filter(slug="globex").update(name="acme")
    give(user, *held)
    assert short(acting_for(asked(user), named)) == acts_as


def test_a_tenants_token_names_no_other_tenant(user: User) -> None:
    give(user, "tenant_admin globex", "operator")
    issue_token("alice", ADMIN, 1, "acme")
    request = asked(user, token=ApiToken.objects.get())
    assert short(acting_for(request, "acme")) == "tenant_admin acme"
    assert acting_for(request, "globex") is None


def test_an_operator_who_acts_for_a_tenant_acts_for_that_one_only(user: User) -> None:
    tenant("globex")
    give(user, "operator", "analyst acme")
    assert acting_for(asked(user, chosen="acme"), "globex") is None


def test_acting_takes_one_query(user: User, django_assert_num_queries: Any) -> None:
    give(user, "analyst acme", "tenant_admin globex")
    request = asked(user, chosen="globex")
    with django_assert_num_queries(1):
        assert short(acting(request)) == "tenant_admin globex"


# ── Over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────
def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_user_of_several_tenants_chooses_before_anything_is_shown(user: User) -> None:
    give(user, "analyst acme", "tenant_admin globex")
    client = signed_in(user)
    page = client.get("/settings/indicators/")
    assert page.status_code == 403
    assert "Choose the tenant to act for." in page.content.decode()
    answer = client.get("/api/v1/iocs/search")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert "choose one" in answer.json()["detail"]
    assert client.post("/act-for/", {"tenant": "globex"}).status_code == 302
    page = client.get("/settings/indicators/")
    assert page.status_code == 200
    assert 'Tenant admin, tenant <b class="mono">globex</b>' in page.content.decode()
    assert client.get("/api/v1/iocs/search").status_code == 200


def test_a_choice_ends_with_the_membership(user: User) -> None:
    give(user, "analyst acme", "tenant_admin globex")
    client = signed_in(user)
    client.post("/act-for/", {"tenant": "globex"})
    Membership.objects.filter(tenant__slug="globex").delete()
    assert client.get("/settings/indicators/").status_code == 403
    assert client.get("/api/v1/iocs/search").status_code == 403
    client.post("/act-for/", {"tenant": "acme"})
    assert client.get("/settings/indicators/").status_code == 200


def test_a_choice_that_is_not_held_keeps_the_one_before(user: User) -> None:
    tenant("initech")
    give(user, "analyst acme", "tenant_admin globex")
    client = signed_in(user)
    client.post("/act-for/", {"tenant": "acme"})
    for slug in ("initech", "nobody", "", "*", "globex\0"):
        assert client.post("/act-for/", {"tenant": slug}).status_code == 403
    assert client.session[SESSION_KEY] == "acme"


def test_choosing_needs_the_form_of_this_site(user: User) -> None:
    give(user, "analyst acme", "tenant_admin globex")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post("/act-for/", {"tenant": "acme"}).status_code == 403
    assert SESSION_KEY not in client.session


def test_an_operator_of_a_tenant_switches_there_and_back(user: User) -> None:
    give(user, "operator", "analyst acme")
    client = signed_in(user)
    assert client.get("/settings/egress/").status_code == 200
    client.post("/act-for/", {"tenant": "acme"})
    assert client.get("/settings/egress/").status_code == 403
    client.post("/act-for/", {"tenant": "*"})
    assert client.get("/settings/egress/").status_code == 200


def test_a_reader_with_one_place_to_act_sees_no_choice(user: User) -> None:
    give(user, "analyst acme")
    assert "/act-for/" not in signed_in(user).get("/settings/indicators/").content.decode()


def test_a_token_for_a_tenant_ignores_a_tenant_in_query_and_body() -> None:
    issue_token("bob", ANALYST, 1, "globex")
    token = issue_token("alice", ANALYST, 1, "acme")
    answer = Client().get("/api/v1/airgap/events?tenant=globex", headers={"Authorization": f"Token {token}"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_role_of_an_auditor_is_no_more_than_reading() -> None:
    token = issue_token("olga", AUDITOR, 1)
    assert Client().post("/api/v1/threatintel/feeds/kev/poll", headers={"Authorization": f"Token {token}"}).status_code == 403
