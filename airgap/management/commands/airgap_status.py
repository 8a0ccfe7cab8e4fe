"""manage.py airgap_status [--json]: the air-gap snapshot of this environment and the guard's mode."""

import json as jsonlib
import sys

from django.core.management.base import BaseCommand, CommandParser

from airgap.snapshot import airgap_snapshot, guard_snapshot


class Command(BaseCommand):
    help = "Show the air-gap policy of this environment. Exit status: 0 air-gapped and guard enforcing, 1 otherwise."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="The snapshot as one JSON object.")

    def handle(self, *, json: bool, **_options: object) -> None:
        snapshot, guard = airgap_snapshot(), guard_snapshot()
        if json:
            self.stdout.write(jsonlib.dumps({**snapshot.as_dict(), "airgap_guard": guard.as_dict()}))
        else:
            self.stdout.write(f"Air gap    {'on' if snapshot.enabled else 'OFF'}")
            self.stdout.write(f"Allowlist  {', '.join(snapshot.allowlist) or '(empty)'}")
            self.stdout.write(f"Guard      {guard.mode}")
            self.stdout.write(snapshot.policy)
        if not (snapshot.enabled and guard.mode == "enforce"):
            sys.exit(1)
