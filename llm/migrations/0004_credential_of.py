"""A database that took 0002 when it still made llm_credential_of with a SET clause gets the function that 0002 makes now."""

from importlib import import_module

from django.db import migrations

CREDENTIAL_OF = import_module("llm.migrations.0002_credentials").CREDENTIAL_OF


def replace(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREDENTIAL_OF.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1), params=None)


class Migration(migrations.Migration):
    dependencies = [("llm", "0003_limit_slots")]
    operations = [migrations.RunPython(replace, migrations.RunPython.noop)]
