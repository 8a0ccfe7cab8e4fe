"""manage.py import_feed KIND FILE: a file carried in by hand. Exit status: 0 stored (or told), 1 refused or failed with the reason."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from airgap.progress import progress
from threatintel.models import FeedRun
from threatintel.offline import KINDS, carried, feed_of, import_file, try_file
from threatintel.specs import FeedError


class Command(BaseCommand):
    help = "Import a file of indicators: a CISA KEV catalogue, a STIX bundle, MISP events or an OTX export; plain or gzip."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", help="One of " + ", ".join(KINDS))
        parser.add_argument("file", type=Path)
        parser.add_argument("--sha256", default="", help="What the file's SHA-256 must be, in hexadecimal.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would change, and change nothing.")
        parser.add_argument("--force", action="store_true", help="Also a catalogue that is older than what is held.")

    def handle(self, *, kind: str, file: Path, sha256: str, dry_run: bool, force: bool, **_options: object) -> None:
        try:
            spec = feed_of(kind)
            with carried(file) as opened:
                self.stdout.write(f"sha256 {opened.digest}")
                if sha256 and sha256.strip().lower() != opened.digest:
                    raise FeedError(f"The SHA-256 of {opened.name} is {opened.digest}, not the one given by --sha256.")
                with progress(f"{spec.title}: {opened.name}", opened.size) as tell:
                    if dry_run:
                        counts = try_file(kind, opened, tell)
                        self.stdout.write(
                            f"{spec.title}: would read {counts.fetched} records: {counts.added} new, {counts.changed} changed, "
                            f"{counts.retired} retired, {counts.skipped} skipped."
                        )
                        self._skips(counts.skips)
                        return
                    run = import_file(kind, opened, force=force, progress=tell)
        except FeedError as error:
            raise CommandError(str(error)) from None
        if run.state != FeedRun.State.OK:
            raise CommandError(f"{spec.title}: {run.reason}")
        self.stdout.write(
            f"{spec.title}: {run.fetched} records read, {run.added} new, {run.changed} changed, {run.retired} retired, {run.skipped} skipped."
        )
        self._skips(run.skips)

    def _skips(self, skips: dict[str, int]) -> None:
        for reason, times in sorted(skips.items(), key=lambda item: -item[1]):
            self.stdout.write(f"  skipped {times}: {reason}")
