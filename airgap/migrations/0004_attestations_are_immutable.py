"""The database itself refuses to change what was attested or signed off. A later migration that rebuilds a table on SQLite must add its trigger again."""

from django.db import migrations

TABLES = ("airgap_attestation", "airgap_signoff")
FUNCTION = """
CREATE FUNCTION airgap_refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'attestations and sign-offs are append-only' USING ERRCODE = 'restrict_violation'; END $$
"""


def add(apps, schema_editor):
    sqlite = schema_editor.connection.vendor == "sqlite"
    if not sqlite:
        schema_editor.execute(FUNCTION, params=None)
    for table in TABLES:
        act = "BEGIN SELECT RAISE(ABORT, 'attestations and sign-offs are append-only'); END" if sqlite else "FOR EACH ROW EXECUTE FUNCTION airgap_refuse_change()"
        schema_editor.execute(f"CREATE TRIGGER {table}_immutable BEFORE UPDATE ON {table} {act}", params=None)


def remove(apps, schema_editor):
    sqlite = schema_editor.connection.vendor == "sqlite"
    for table in TABLES:
        schema_editor.execute(f"DROP TRIGGER {table}_immutable" + ("" if sqlite else f" ON {table}"))
    if not sqlite:
        schema_editor.execute("DROP FUNCTION airgap_refuse_change()")


class Migration(migrations.Migration):
    dependencies = [("airgap", "0003_the_audit")]
    operations = [migrations.RunPython(add, remove)]
