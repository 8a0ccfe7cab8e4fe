"""The rights that the product's own role loses: on every table whose rows are never changed."""

import pytest
from django.apps import apps
from django.db import connection

from aisoc_admin import grants
from aisoc_admin.grants import TAKEN, take_back

pytestmark = pytest.mark.django_db
TRIGGERS = {
    "sqlite": "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_immutable'",
    "postgresql": "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%_immutable'",
}


def immutable() -> set[str]:
    """The tables whose rows the database itself refuses to change."""
    with connection.cursor() as cursor:
        cursor.execute(TRIGGERS[connection.vendor])
        return {table for (table,) in cursor.fetchall()}


def test_what_the_database_refuses_to_change_the_role_may_not_change_either() -> None:
    assert immutable() >= {"airgap_egressevent", "airgap_attestation", "airgap_signoff", "llm_credentialchange"}
    assert immutable() <= {table for table, rights in TAKEN.items() if "UPDATE" in rights}
    assert set(TAKEN) <= set(connection.introspection.table_names())


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no roles.")
def test_the_role_loses_these_rights_and_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    role = f"app_in_{connection.settings_dict['NAME']}"  # a role is the whole server's
    monkeypatch.setattr(grants, "ROLE", role)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        take_back(apps.get_app_config("aisoc_admin"), "default")
        for table, rights in TAKEN.items():
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, right])
                assert cursor.fetchone() == (right not in rights,), (table, right)
