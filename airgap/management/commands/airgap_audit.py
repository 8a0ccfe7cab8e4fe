"""manage.py airgap_audit [--json] [--since 24h] [--out FILE]: the checklist, and the signed report of it. For people, cron and Jobs."""

import argparse
import json as jsonlib
import sys
from datetime import timedelta
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from airgap.active import deployment_key
from airgap.audit import Audit, audit, window_of
from airgap.checklist import AWAY, DAY, Verdict
from airgap.report import markdown_of, report_of, signed
from airgap.verify_report import read_span


def span(text: str) -> timedelta:
    try:
        return window_of(read_span(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Command(BaseCommand):
    help = "Run the audit checklist. Exit status: 0 nothing fails, 1 an item is FAILING, 3 an item is UNKNOWN and none fails."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="The checklist as one JSON object.")
        parser.add_argument("--since", type=span, default=DAY, metavar="SPAN", help="How far back refused attempts count: 30m, 24h, 7d.")
        parser.add_argument("--out", type=Path, metavar="FILE", help="Write the signed report there, and the readable form beside it (.md).")

    def handle(self, *, json: bool, since: timedelta, out: Path | None, **_options: object) -> None:
        done = audit(since, thorough=True)
        if out is not None:
            self._write(done, out)
        if json:
            self.stdout.write(jsonlib.dumps(done.as_dict(), cls=DjangoJSONEncoder))
        else:
            self._print(done, out)
        if done.exit_status:
            sys.exit(done.exit_status)

    def _write(self, done: Audit, out: Path) -> None:
        report = report_of(done)
        try:
            out.write_bytes(signed(report))
            if out.suffix != ".md":
                out.with_suffix(".md").write_text(markdown_of(report), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{out} cannot be written ({error.strerror}). Name a file in a folder of yours.", returncode=2) from None

    def _print(self, done: Audit, out: Path | None) -> None:
        self.stdout.write(f"{done.verdict}: {done.tally}")
        if all(row.checked.finding is AWAY for row in done.rows):  # said once, not for each item
            self.stdout.write(f"\n{AWAY.evidence}\nnext: {AWAY.next_step}")
        for row in done.rows if any(row.checked.finding is not AWAY for row in done.rows) else ():
            item, finding = row.checked.item, row.checked.finding
            self.stdout.write(f"\n{finding.verdict:<10} {item.id}  {item.title}\n           {finding.evidence}")
            for line in finding.details if finding.verdict is not Verdict.OK else ():
                self.stdout.write(f"           - {line}")
            if row.accepted is not None:
                accepted = row.accepted.row
                self.stdout.write(f"           accepted by {accepted.by} until {accepted.expires_at:%Y-%m-%d}: {accepted.note}")
            if finding.next_step:
                self.stdout.write(f"           next: {finding.next_step}")
        if out is not None:
            self.stdout.write(f"\nreport {out}, signed with the key {deployment_key().fingerprint}")
