"""Tenants and who belongs to them: slugs of one grammar, roles that fit, tokens bound to one tenant or none."""

import io
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from tenants.accounts import issue_token
from tenants.models import ApiToken, Membership, Tenant
from tenants.queries import tenant_of_slug
from tenants.roles import DEPLOYMENT_ROLES, EVERY_ROLE, TENANT_ROLES, Role

pytestmark = pytest.mark.django_db
BAD_SLUGS = ["", "-", "-a", "a-", "A", "acme ", "acme\n", "a.b", "a_b", "ä", "a/b", "a\0b", "a" * 64]


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_a_slug_outside_the_grammar_is_refused_by_form_database_and_look_up(slug: str) -> None:
    with pytest.raises(ValidationError):
        Tenant(slug=slug, name="x").full_clean()
    assert tenant_of_slug(slug) is None
    if "\0" not in slug and len(slug) < 64:  # which no database driver takes
        with pytest.raises(IntegrityError), transaction.atomic():
            Tenant.objects.create(slug=slug, name="x")


@pytest.mark.parametrize("slug", ["a", "7", "acme-emea", "a--b", "a" * 63])
def test_a_slug_of_the_grammar_is_taken(slug: str) -> None:
    Tenant(slug=slug, name="x").full_clean()
    Tenant.objects.create(slug=slug, name="x")
    assert tenant_of_slug(slug) is not None


def test_a_tenant_is_found_by_its_slug_alone() -> None:
    acme = Tenant.objects.create(slug="acme", name="globex")
    globex = Tenant.objects.create(slug="globex", name="acme")
    named_like_a_number = Tenant.objects.create(slug=str(acme.pk + 100), name="x")
    assert tenant_of_slug("acme") == acme
    assert tenant_of_slug("globex") == globex
    assert tenant_of_slug(str(acme.pk)) is None
    assert tenant_of_slug(named_like_a_number.slug) == named_like_a_number


@pytest.mark.parametrize("role", sorted(EVERY_ROLE))
@pytest.mark.parametrize("slug", ["", "acme"])
@pytest.mark.parametrize("model", [Membership, ApiToken])
def test_the_database_takes_a_role_only_with_the_tenant_that_fits_it(model: Any, slug: str, role: Role) -> None:
    user = get_user_model().objects.create_user("alice")
    tenant = Tenant.objects.create(slug=slug, name=slug) if slug else None
    values = {"user": user, "role": role, "tenant": tenant}
    if (role in TENANT_ROLES) == bool(slug):
        model.objects.create(**values)
        return
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.create(**values)


def test_the_form_of_a_membership_says_which_roles_have_a_tenant() -> None:
    user = get_user_model().objects.create_user("alice", password="x")
    with pytest.raises(ValidationError, match="Operators and auditors have no tenant"):
        Membership(user=user, role=Role.ANALYST).full_clean()


def test_a_role_that_is_none_here_is_refused_by_the_database() -> None:
    user = get_user_model().objects.create_user("alice")
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(user=user, role="root")


def test_every_role_has_its_place() -> None:
    assert set(Role) == EVERY_ROLE
    assert not DEPLOYMENT_ROLES & TENANT_ROLES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--role", "operator", "--tenant", "acme"), "leave --tenant out"),
        (("--role", "auditor", "--tenant", ""), "leave --tenant out"),
        (("--role", "tenant_admin"), "add --tenant SLUG"),
        (("--role", "analyst"), "add --tenant SLUG"),
        (("--role", "analyst", "--tenant", "Acme Inc"), "is no slug"),
        (("--role", "analyst", "--tenant", ""), "is no slug"),
    ],
)
def test_create_token_refuses_a_tenant_that_does_not_fit_and_makes_nothing(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words) as refused:
        call_command("create_token", "alice", *arguments, stdout=io.StringIO())
    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)
    assert [model.objects.count() for model in (get_user_model(), Tenant, ApiToken)] == [0, 0, 0]


def test_create_token_makes_user_tenant_and_membership_once() -> None:
    for _again in range(2):
        out = io.StringIO()
        call_command("create_token", "alice", "--role", "tenant_admin", "--tenant", "acme", stdout=out)
        assert len(out.getvalue().splitlines()) == 1
    assert Membership.objects.get().tenant == Tenant.objects.get(slug="acme", name="acme")
    assert {token.tenant.slug for token in ApiToken.objects.all()} == {"acme"}


def test_a_tenant_with_members_is_not_deleted() -> None:
    issue_token("alice", Role.ANALYST, 1, "acme")
    with pytest.raises(IntegrityError):
        Tenant.objects.get().delete()
