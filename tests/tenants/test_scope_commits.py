"""A scope that was committed leaves nothing open on its connection, and none of it is seen by another one."""

from collections.abc import Iterator
from threading import Thread

import pytest
from django.db import close_old_connections, connection

from tenants.models import Tenant
from tenants.scope import all_tenants, tenant_scope
from tests.tenants.notes import Note, role, table

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row-level security."),
]


@pytest.fixture
def tenants(transactional_db: None) -> Iterator[list[Tenant]]:
    with table():
        made = [Tenant.objects.create(slug=slug, name=slug) for slug in ("acme", "globex")]
        for tenant in made:
            Note.objects.for_tenant(tenant).create(text=f"of {tenant}")
        run(f"SET ROLE {role()}")
        try:
            yield made
        finally:
            run("RESET ROLE")


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def seen() -> set[str]:
    return set(Note.across_tenants.values_list("text", flat=True))


def seen_by_another_connection() -> set[str]:
    found: set[str] = set()

    def look() -> None:
        run(f"SET ROLE {role()}")
        found.update(seen())
        connection.close()

    thread = Thread(target=look)
    thread.start()
    thread.join()
    return found


def test_the_next_user_of_a_connection_finds_it_closed(tenants: list[Tenant]) -> None:
    acme, _globex = tenants
    assert seen() == set()
    with tenant_scope(acme):
        Note.objects.for_tenant(acme).create(text="two")
        assert seen() == {"of acme", "two"}
        assert seen_by_another_connection() == set()
    assert seen() == set()
    with all_tenants():
        assert len(seen()) == 3
    close_old_connections()
    assert seen() == set()
    with pytest.raises(ZeroDivisionError), all_tenants():
        raise ZeroDivisionError
    assert seen() == set()


def test_a_stream_that_outlives_its_scope_shows_nothing_more(tenants: list[Tenant]) -> None:
    def lazily() -> Iterator[str]:
        yield from sorted(seen())

    with all_tenants():
        stream = lazily()
    assert list(stream) == []
