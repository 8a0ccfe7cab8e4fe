"""Empties the database after a test with transactions of its own: only tables that hold rows, and what every migration makes stays.

Django truncates every table and then makes the content types and permissions anew: on PostgreSQL a third of the suite's time.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management.commands import flush
from django.db.backends.base.base import BaseDatabaseWrapper

KEPT = {"django_content_type", "auth_permission"}  # as migrate leaves them; no test changes them


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", emptying)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_: None)
        yield


def emptying(_style: object, connection: BaseDatabaseWrapper, **_options: Any) -> list[str]:
    tables = [connection.ops.quote_name(table) for table in connection.introspection.django_table_names(only_existing=True) if table not in KEPT]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables))
        deletions = [f"DELETE FROM {table}" for (table,) in cursor.fetchall()]
    if deletions and connection.vendor == "postgresql":
        return ["SET LOCAL session_replication_role = 'replica'", *deletions]  # neither the trail's triggers nor foreign keys in this order
    return deletions
