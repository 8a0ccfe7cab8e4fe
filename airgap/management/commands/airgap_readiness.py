"""manage.py airgap_readiness [--json]: what the air gap would refuse if it were on, with the allowlist entry that would permit each."""

import json as jsonlib
import sys

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from airgap.readiness import readiness


class Command(BaseCommand):
    help = "Say what would be refused. Exit status: 0 nothing, 1 something, 3 not everything could be looked at."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="The report as one JSON object.")

    def handle(self, *, json: bool, **_options: object) -> None:
        found = readiness()
        if json:
            self.stdout.write(jsonlib.dumps(found.as_dict(), cls=DjangoJSONEncoder))
        else:
            self.stdout.write(found.sentence)
            for one in found.results:
                where = one.host if one.port is None else f"{one.host}:{one.port}"
                times = f" ({one.count:,} times)" if one.count is not None else ""
                permit = f"  to permit it: {one.allowlist}" if one.allowlist else ""
                self.stdout.write(f"{one.kind} {one.name}  {where}{times}  {one.rule}: {one.reason}{permit}")
        if found.missing or found.results:
            sys.exit(3 if found.missing else 1)
