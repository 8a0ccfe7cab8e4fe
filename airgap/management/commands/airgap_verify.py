"""manage.py airgap_verify FILE (--public-key FILE | --fingerprint HEX): verifies a signed report offline, as airgap/verify_report.py does."""

import sys

from django.core.management.base import BaseCommand, CommandParser

from airgap.ed25519 import is_signed
from airgap.verify_report import add_arguments, run


class Command(BaseCommand):
    help = "Verify a signed audit report. Exit status: 0 valid, 1 not. Without a key that you trust nothing is valid."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, **options: object) -> None:
        if status := run(options, self.stdout.write, is_signed):
            sys.exit(status)
