"""The migration operation that puts a tenant-owned table under PostgreSQL's row-level security, closed unless tenants.scope opens it.

Superusers and roles with BYPASSRLS are not bound by it; the table's owner is (FORCE).
"""

from typing import Any, Final

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

# A setting that was set in an earlier transaction of the connection reads '' afterwards, not NULL.
OF_ITS_TENANT: Final = (
    "(tenant_id = NULLIF(current_setting('aisoc.tenant', true), '')::bigint OR COALESCE(current_setting('aisoc.all_tenants', true), '') = 'on')"
)


class EnableRowSecurity(Operation):
    """EnableRowSecurity("tenantcredential"), after the CreateModel of a model that inherits TenantOwned. Nothing on SQLite."""

    reversible = True
    reduces_to_sql = True

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models stay as they are."""

    def database_forwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState) -> None:
        if table := self._table(app_label, schema_editor, to_state):
            schema_editor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", params=None)
            schema_editor.execute(f"CREATE POLICY of_its_tenant ON {table} USING {OF_ITS_TENANT} WITH CHECK {OF_ITS_TENANT}", params=None)

    def database_backwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState) -> None:
        if table := self._table(app_label, schema_editor, from_state):
            schema_editor.execute(f"DROP POLICY of_its_tenant ON {table}", params=None)
            schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY", params=None)

    def describe(self) -> str:
        return f"Show rows of {self.model_name} to their tenant only"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_row_security"

    def _table(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState) -> str:
        """The quoted table; "" on a database without the lock, or one that this app is not migrated on."""
        model: Any = state.apps.get_model(app_label, self.model_name)
        if schema_editor.connection.vendor != "postgresql" or not self.allow_migrate_model(schema_editor.connection.alias, model):
            return ""
        return str(schema_editor.quote_name(model._meta.db_table))
