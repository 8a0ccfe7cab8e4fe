"""manage.py backup FILE: the whole deployment as one file. Exit status: 0 written, 1 not, with the reason."""

from pathlib import Path

import structlog
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from airgap.drain import drain_quietly
from aisoc_admin import backup
from aisoc_admin.progress import shown_as

log = structlog.stdlib.get_logger("backup")


class Command(BaseCommand):
    help = "Write the whole deployment into one file, while it runs: everything in the database, and no key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **_options: object) -> None:
        drain_quietly()  # refusals that still wait on this host
        try:
            with shown_as(f"backup: {file.name}") as tell:
                told = backup.write(file, tell)
        except (backup.BackupError, OSError, DatabaseError) as error:
            raise CommandError(f"No backup was written. {' '.join(str(error).split())}") from None
        log.info("backup.written", file=file.name, rows=told["rows"], sha256=told["sha256"])
        self.stdout.write(f"{file}\nrows {told['rows']}\nsha256 {told['sha256']}")
        self.stderr.write(
            "Keep apart from it what it does not hold: SECRET_KEY, AISOC_CREDENTIAL_KEY and the signing key "
            f"({told['signing_key'][:16]}…), from your secret store or from secret_key, credential_key and signing_key in AISOC_DATA_DIR."
        )
