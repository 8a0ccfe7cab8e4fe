"""manage.py import_bundle DIR --public-key FILE: a signed bundle, verified first. Exit status: 0 all stored, 1 refused or any failed, with the reason."""

from contextlib import ExitStack
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from airgap.progress import progress
from threatintel.bundle_import import import_bundle, read_public_key, verified
from threatintel.specs import FeedError


class Command(BaseCommand):
    help = "Import a bundle that export_feeds wrote. Nothing of it is parsed before its signature and every checksum are verified."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)
        parser.add_argument("--public-key", type=Path, help="The exporting site's public key, in PEM, which came another way than the bundle.")
        parser.add_argument("--allow-older", action="store_true", help="Also a bundle, or a catalogue in it, that is older than what was imported.")

    def handle(self, *, folder: Path, public_key: Path | None, allow_older: bool, **_options: object) -> None:
        if public_key is None:
            raise CommandError("Give --public-key FILE, the public key of the site that exported the bundle: without it nothing is imported.")
        try:
            failed = self._import(folder, read_public_key(public_key), allow_older=allow_older)
        except FeedError as error:
            raise CommandError(str(error)) from None
        if failed:
            raise CommandError(" ".join(failed))

    def _import(self, folder: Path, public: bytes, *, allow_older: bool) -> list[str]:
        failed: list[str] = []
        with ExitStack() as stack:
            with progress("Verifying", 0) as tell:
                bundle = stack.enter_context(verified(folder, public, tell))
            self.stdout.write(f"verified {len(bundle.files)} files, made {bundle.manifest.created:%Y-%m-%d %H:%M}Z, key {bundle.fingerprint}")
            total = sum(one.size for one in bundle.manifest.files)
            tell = stack.enter_context(progress("Importing", total))
            for brought in import_bundle(bundle, allow_older=allow_older, progress=tell):
                name = f"{brought.file.feed} ({brought.file.file})"
                if brought.reason:
                    failed.append(f"{name}: {brought.reason}")
                elif (run := brought.run) is None:
                    self.stdout.write(f"{name}: the feed had nothing.")
                else:
                    counts = f"{run.added} new, {run.changed} changed, {run.retired} retired, {run.skipped} skipped"
                    self.stdout.write(f"{name}: {run.fetched} records read, {counts}.")
        return failed
