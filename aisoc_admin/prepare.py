"""What must hold before anything serves: the database is migrated and somebody can log in. bin/up runs it at every start.

A process of its own, so that the supervisor never carries Django, and a migration's memory ends with it.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PREPARING = 4_739_126_055_201  # the advisory lock's number: any, but the same in every release


def migrate() -> None:
    """Apply what is missing; nothing is written when nothing is."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("migrating the database…\n")
        call_command("migrate", interactive=False, verbosity=0)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One host at a time on a shared PostgreSQL; a SQLite file belongs to one bin/up anyway."""
    from django.db import connection

    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")  # a migration on another host may take its time
        cursor.execute("SELECT pg_advisory_lock(%s)", [PREPARING])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [PREPARING])


def announce(login: tuple[str, str] | None, *, openly: bool, data_dir: Path) -> None:
    """Say the first login once: on stdout, or, where a log keeps that for ever, in a file for this user alone."""
    if login is None:
        return
    lines = f"user: {login[0]}\npassword: {login[1]}\n"
    if openly:
        say(lines)
        return
    path = data_dir / "first_login.txt"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(lines)
    say(f"first login: {path}\n")


def say(text: str) -> None:
    """In one write: others write to the same stream."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")  # noqa: TID251
    import django
    from django.db import DatabaseError

    from aisoc_admin import settings

    django.setup()
    from aisoc_admin.database_fault import told
    from tenants.accounts import first_login

    try:
        with alone():
            migrate()
            login = first_login()
        announce(login, openly=sys.stdout.isatty() or not settings.PRODUCTION, data_dir=settings.DATA_DIR)
    except DatabaseError as error:
        print(told(error, settings.DATABASES["default"]), file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
