"""The second lock: what PostgreSQL itself shows of a tenant-owned table, whatever a query forgets; and the order of scopes on any database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import DataError, Error, connection, transaction

from tenants.acting import Acting
from tenants.checks import check_database_role
from tenants.models import Tenant, TenantOwned
from tenants.roles import Role
from tenants.scope import ScopeError, acting_scope, all_tenants, tenant_scope
from tests.tenants.notes import Note, role, table

pytestmark = pytest.mark.django_db
postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row-level security.")


@pytest.fixture(scope="module", autouse=True)
def _table(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), table():
        yield


@pytest.fixture
def tenants() -> dict[str, Tenant]:
    """Two tenants with a note each, seen from then on by a role that is no superuser."""
    made = {slug: Tenant.objects.create(slug=slug, name=slug) for slug in ("acme", "globex")}
    for slug, tenant in made.items():
        Note.objects.for_tenant(tenant).create(text=f"of {slug}")  # by a superuser, whom no policy binds
    if connection.vendor == "postgresql":
        run(f"SET LOCAL ROLE {role()}")
    return made


def run(sql: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def seen() -> set[str]:
    """What a query that forgets the tenant sees."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT text FROM tenants_note")
        return {text for (text,) in cursor.fetchall()}


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(Error, match="row-level security"), transaction.atomic():
        yield


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────
@postgresql
def test_without_a_scope_nothing_is_seen_changed_or_taken(tenants: dict[str, Tenant]) -> None:
    assert seen() == set()
    assert not Note.objects.for_tenant(tenants["acme"]).exists()
    assert Note.across_tenants.update(text="x") == 0
    assert Note.across_tenants.all().delete()[0] == 0
    with refused():
        Note.objects.for_tenant(tenants["acme"]).create(text="x")
    with all_tenants():
        assert seen() == {"of acme", "of globex"}


@postgresql
def test_a_scope_shows_and_takes_its_tenants_rows_only(tenants: dict[str, Tenant]) -> None:
    with tenant_scope(tenants["acme"]):
        assert seen() == {"of acme"}
        Note.objects.for_tenant(tenants["acme"]).create(text="two")
        assert not Note.objects.for_tenant(tenants["globex"]).exists()
        with refused():
            Note.objects.for_tenant(tenants["globex"]).create(text="x")
        with refused():
            Note.across_tenants.update(tenant=tenants["globex"])
        assert Note.across_tenants.all().delete()[0] == 2
    with all_tenants():
        assert seen() == {"of globex"}


@postgresql
def test_a_scope_ends_with_its_block_even_inside_a_transaction(tenants: dict[str, Tenant]) -> None:
    with tenant_scope(tenants["acme"]):
        pass
    assert seen() == set()
    with pytest.raises(RuntimeError, match="on the way"), all_tenants():
        assert len(seen()) == 2
        raise RuntimeError("on the way")
    assert seen() == set()
    with pytest.raises(Error), tenant_scope(tenants["acme"]):
        run("SELECT 1 / 0")
    assert seen() == set()


@postgresql
def test_a_scope_within_a_scope_gives_the_outer_one_back(tenants: dict[str, Tenant]) -> None:
    with all_tenants():
        for slug, tenant in tenants.items():
            with tenant_scope(tenant):
                assert seen() == {f"of {slug}"}
            assert len(seen()) == 2
        with pytest.raises(RuntimeError, match="on the way"), tenant_scope(tenants["acme"]):
            raise RuntimeError("on the way")
        assert len(seen()) == 2
    with tenant_scope(tenants["acme"]), tenant_scope(tenants["acme"]):
        assert seen() == {"of acme"}


@postgresql
@pytest.mark.parametrize("value", ["off", "true", "1", "ON", " on", "", "all"])
def test_only_the_one_word_opens_every_tenants_rows(tenants: dict[str, Tenant], value: str) -> None:
    run("SELECT set_config('aisoc.all_tenants', %s, true)", value)
    assert seen() == set()


@postgresql
@pytest.mark.parametrize("value", ["acme", "1 OR 1=1", "*", "1,2", "99999999999999999999"])
def test_a_setting_that_is_no_key_is_an_error_and_shows_nothing(tenants: dict[str, Tenant], value: str) -> None:
    run("SELECT set_config('aisoc.tenant', %s, true)", value)
    with pytest.raises(DataError), transaction.atomic():
        seen()


@postgresql
@pytest.mark.parametrize("statement", ["TRUNCATE tenants_tenant CASCADE", "SET LOCAL row_security = off; SELECT * FROM tenants_note"])
def test_the_lock_is_not_stepped_round(tenants: dict[str, Tenant], statement: str) -> None:
    with pytest.raises(Error), transaction.atomic():
        run(statement)


@postgresql
def test_every_tenant_owned_table_of_the_product_is_under_the_lock_even_for_its_owner() -> None:
    owned = {Note._meta.db_table, *(model._meta.db_table for model in apps.get_models() if issubclass(model, TenantOwned))}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity, array_agg(polname::text), count(*) FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid"
            " WHERE relname = ANY(%s) GROUP BY 1, 2",
            [list(owned)],
        )
        assert {tuple(row) for row in ((name, closed, tuple(policies), count) for name, closed, policies, count in cursor.fetchall())} == {
            (name, True, ("of_its_tenant",), 1) for name in owned
        }


@postgresql
def test_a_role_that_the_lock_does_not_bind_is_a_warning(tenants: dict[str, Tenant]) -> None:
    assert check_database_role(None, databases=["default"]) == []
    run("RESET ROLE")
    assert [found.id for found in check_database_role(None, databases=["default"])] == ["tenants.W001"]


# ── Any database ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_scope_never_opens_more_than_the_one_around_it(tenants: dict[str, Tenant]) -> None:
    with tenant_scope(tenants["acme"]):
        for wider in (all_tenants(), tenant_scope(tenants["globex"])):
            with pytest.raises(ScopeError), wider:
                pytest.fail("opened")
        with tenant_scope(tenants["acme"]):
            pass
    with all_tenants(), tenant_scope(tenants["globex"]):
        pass


def test_a_tenant_that_is_not_stored_has_no_scope() -> None:
    with pytest.raises(ScopeError), tenant_scope(Tenant(slug="new", name="New")):
        pytest.fail("opened")


@pytest.mark.parametrize(("name", "slug"), [(Role.OPERATOR, ""), (Role.AUDITOR, ""), (Role.ANALYST, "acme"), (Role.OPERATOR, "acme")])
def test_the_scope_of_a_request_is_its_tenants_or_that_of_all(name: Role, slug: str, tenants: dict[str, Tenant]) -> None:
    with acting_scope(Acting(name, tenants[slug] if slug else None)):
        if slug:
            with pytest.raises(ScopeError), all_tenants():
                pytest.fail("opened")
        if connection.vendor == "postgresql":
            assert seen() == ({"of acme"} if slug else {"of acme", "of globex"})


@pytest.mark.parametrize("name", [Role.ANALYST, Role.TENANT_ADMIN])
def test_a_tenants_role_without_a_tenant_has_no_scope(name: Role) -> None:
    with pytest.raises(ScopeError), acting_scope(Acting(name, None)):
        pytest.fail("opened")
