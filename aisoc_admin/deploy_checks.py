"""What `manage.py check --deploy` says of a production deployment beside Django's own checks."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db import connections

NO_PROXY = "AISOC_TRUSTED_PROXIES is unset: no page can be reached, as none is served without TLS, and all clients of a proxy count as one."
POWERS = """
SELECT rolsuper, rolbypassrls, (SELECT tableowner = current_user FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'airgap_egressevent')
FROM pg_roles WHERE rolname = current_user
"""


@checks.register("aisoc", deploy=True)
def check_proxies(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:
    """aisoc.W001: every page redirects to https, and nobody is trusted to say that a request came over it."""
    if not settings.PRODUCTION or settings.TRUSTED_PROXIES:
        return []
    return [
        checks.Warning(
            NO_PROXY,
            hint="Name the address of the reverse proxy that ends TLS, for example AISOC_TRUSTED_PROXIES=10.0.0.5.",
            id="aisoc.W001",
        )
    ]


@checks.register(checks.Tags.database, deploy=True)
def check_role(app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """aisoc.W002: the role in DATABASE_URL could change the trail. With `check --deploy --database default`."""
    found: list[checks.CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql":
            continue
        with connection.cursor() as cursor:
            cursor.execute(POWERS)
            powers = [name for name, has in zip(("is a superuser", "bypasses row security", "owns the trail"), cursor.fetchone(), strict=True) if has]
        if powers:
            found.append(
                checks.Warning(
                    f"The role of DATABASE_URL {' and '.join(powers)}: nothing in the database holds against it.",
                    hint="Migrate as the owner and run as the role that deploy/postgresql/init/1-roles.sql makes.",
                    id="aisoc.W002",
                )
            )
    return found
