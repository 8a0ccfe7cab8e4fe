"""A tenant-owned model for the tests of both locks, with the table that its migration would make."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState
from django.test.utils import isolate_apps

from tenants.models import TenantOwned
from tenants.row_security import EnableRowSecurity

with isolate_apps("tenants"):

    class Note(TenantOwned):
        text = models.CharField(max_length=20)

        class Meta:
            app_label = "tenants"


def role() -> str:
    """Owns the table, and is no superuser: those pass every lock. A role is the whole server's, so each database has its own."""
    return f"owner_of_{connection.settings_dict['NAME']}"


def migrated() -> ProjectState:
    state = MigrationLoader(connection).project_state()
    state.add_model(ModelState.from_model(Note))
    return state


@contextmanager
def table() -> Iterator[None]:
    """The table after its migration, and on PostgreSQL a role that owns it, as a deployment's does."""
    state, lock, vendor = migrated(), EnableRowSecurity("note"), connection.vendor
    with connection.schema_editor() as editor:
        editor.create_model(state.apps.get_model("tenants", "note"))
        lock.database_forwards("tenants", editor, state, state)
        if vendor == "postgresql":
            editor.execute(
                f"CREATE ROLE {role()}; GRANT SELECT ON tenants_tenant TO {role()}; ALTER TABLE tenants_note OWNER TO {role()}", params=None
            )
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            lock.database_backwards("tenants", editor, state, state)
            editor.delete_model(state.apps.get_model("tenants", "note"))
            if vendor == "postgresql":
                editor.execute(f"DROP OWNED BY {role()}; DROP ROLE {role()}", params=None)
