"""manage.py export_feeds DIR: every permitted feed as files, signed, to be carried in elsewhere. Exit status: 0 all of them, 1 any failed, with the reason."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from airgap.progress import progress
from threatintel.bundle_export import export_bundle
from threatintel.specs import FeedError


class Command(BaseCommand):
    help = "Fetch every configured feed that the gate permits into a signed bundle, which import_bundle brings in on a sealed site."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path, help="A new folder.")

    def handle(self, *, folder: Path, **_options: object) -> None:
        try:
            exported = export_bundle(folder.absolute(), lambda spec: progress(spec.title, 0, " objects"))
        except FeedError as error:
            raise CommandError(str(error)) from None
        for one in exported.manifest.files:
            self.stdout.write(f"{one.feed}: {one.records} objects, {one.size} bytes, sha256 {one.sha256}, in {one.file}")
        for refused in exported.refused:
            self.stdout.write(f"{refused.name}: left out, refused by the gate: {refused.reason}")
        self.stdout.write(f"bundle {folder}")
        self.stdout.write(f"public key {exported.key}, fingerprint {exported.fingerprint}: carry it another way than the bundle")
        if exported.failed:
            reasons = " ".join(f"{name}: {reason}" for name, reason in exported.failed.items())
            raise CommandError(f"The bundle lacks {len(exported.failed)} of the feeds. {reasons}")
