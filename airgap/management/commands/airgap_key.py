"""manage.py airgap_key [--fingerprint]: the public key that verifies this deployment's reports and trail, for the auditor to keep."""

import base64

from django.core.management.base import BaseCommand, CommandParser

from airgap.active import deployment_key

PREFIX = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519 (RFC 8410)


class Command(BaseCommand):
    help = "Print the deployment's public key as PEM, or its fingerprint. Hand it to the auditor by another way than the reports."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fingerprint", action="store_true", help="SHA-256 of the key's 32 bytes, in hexadecimal.")

    def handle(self, *, fingerprint: bool, **_options: object) -> None:
        key = deployment_key()
        if fingerprint:
            self.stdout.write(key.fingerprint)
            return
        body = base64.b64encode(PREFIX + key.public).decode()
        self.stdout.write(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----")
