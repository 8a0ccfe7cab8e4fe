"""The database itself refuses to change a row of the trail. A later migration that rebuilds the table on SQLite must add the trigger again."""

from django.db import migrations

SQLITE = """
CREATE TRIGGER airgap_egressevent_immutable BEFORE UPDATE ON airgap_egressevent
BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END
"""
POSTGRESQL = """
CREATE FUNCTION airgap_refuse_update() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the trail is append-only' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER airgap_egressevent_immutable BEFORE UPDATE ON airgap_egressevent
FOR EACH ROW EXECUTE FUNCTION airgap_refuse_update()
"""


def add(apps, schema_editor):
    schema_editor.execute(SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL, params=None)


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER airgap_egressevent_immutable")
    else:
        schema_editor.execute("DROP TRIGGER airgap_egressevent_immutable ON airgap_egressevent")
        schema_editor.execute("DROP FUNCTION airgap_refuse_update()")


class Migration(migrations.Migration):
    dependencies = [("airgap", "0001_initial")]
    operations = [migrations.RunPython(add, remove)]
