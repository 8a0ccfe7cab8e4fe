"""After each migration on PostgreSQL: what the product itself never changes, its role cannot.

Only where the role of deploy/postgresql/init/1-roles.sql is there and somebody else migrates; the rest of its rights are the owner's
default privileges.
"""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate

ROLE = "aisoc_app"
TAKEN = {  # table: what the role loses
    "airgap_egressevent": "UPDATE",
    "airgap_dayhead": "UPDATE, DELETE",
    "airgap_attestation": "UPDATE, DELETE",
    "airgap_signoff": "UPDATE, DELETE",
    "llm_credentialchange": "UPDATE, DELETE",
    "django_migrations": "INSERT, UPDATE, DELETE",
}


def take_back(sender: AppConfig, using: str, **_: Any) -> None:
    """Connected to post_migrate, which comes when every migration is done."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND rolname <> current_user", [ROLE])
        if cursor.fetchone() is None:
            return
        for table, rights in TAKEN.items():
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
            if cursor.fetchone() == (True,):
                cursor.execute(f"REVOKE {rights} ON {connection.ops.quote_name(table)} FROM {ROLE}")


def connect(config: AppConfig) -> None:
    post_migrate.connect(take_back, sender=config, dispatch_uid="aisoc_admin.grants")
