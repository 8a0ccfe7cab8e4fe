"""manage.py restore FILE: a backup in the place of this deployment. Exit status: 0 restored, 1 nothing was changed, with the reason."""

from pathlib import Path

import structlog
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from aisoc_admin import backup
from aisoc_admin.progress import shown_as

log = structlog.stdlib.get_logger("backup")


class Command(BaseCommand):
    help = "Restore a backup into an empty, migrated database, all of it or nothing. Run it as the database's owner, with all processes stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--force", action="store_true", help="Replace a deployment that is not empty.")
        parser.add_argument("--any-trail", action="store_true", help="Also restore a trail that does not verify.")

    def handle(self, *, file: Path, force: bool, any_trail: bool, **_options: object) -> None:
        try:
            with shown_as(f"restore: {file.name}") as tell:
                head = backup.restore(file, tell, force=force, any_trail=any_trail)
        except (backup.BackupError, OSError, DatabaseError) as error:
            raise CommandError(f"Nothing was restored. {' '.join(str(error).split())}") from None
        log.info("backup.restored", file=file.name, rows=head["rows"], made_at=head["made_at"], forced=force, trail_verified=not any_trail)
        self.stdout.write(f"restored {head['rows']} rows of {head['made_at']}, release {head['version']}")
        if not any_trail:
            self.stdout.write("the trail verifies")
