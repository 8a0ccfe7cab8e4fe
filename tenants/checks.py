"""A warning when row-level security binds nobody, because this process connects as a role that passes it."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections

PASSES = "SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"


@checks.register(checks.Tags.database)
def check_database_role(app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """tenants.W001, at `migrate` and `check --database default`."""
    found: list[checks.CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor != "postgresql":
            continue
        with connections[alias].cursor() as cursor:
            cursor.execute(PASSES)
            row = cursor.fetchone()
        if row:
            found.append(
                checks.Warning(
                    f"PostgreSQL's row-level security does not bind the role {row[0]}: between tenants only the product's own queries stand.",
                    hint="Run as a role that is neither SUPERUSER nor BYPASSRLS, such as the one that deploy/postgresql/init/1-roles.sql makes.",
                    id="tenants.W001",
                )
            )
    return found
