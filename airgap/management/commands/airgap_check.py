"""manage.py airgap_check [URL …] [--stdin] [--json]: the decision for each URL. Sends, resolves and records nothing."""

import json
import sys
from collections.abc import Iterator

from django.core.management.base import BaseCommand, CommandError, CommandParser

from airgap.snapshot import explain_url


class Command(BaseCommand):
    help = "Say whether each URL may be contacted, and why. Exit status: 0 all allowed, 1 any refused."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("urls", nargs="*", metavar="URL")
        parser.add_argument("--stdin", action="store_true", help="Read more URLs from standard input, one a line.")
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")

    def handle(self, *, urls: list[str], stdin: bool, json: bool, **_options: object) -> None:
        if not urls and not stdin:
            raise CommandError("Give at least one URL, or --stdin.", returncode=2)
        refused = False
        for url in [*urls, *(_lines() if stdin else ())]:
            decision = explain_url(url)
            refused = refused or not decision.allowed
            self.stdout.write(
                _as_json(decision.as_dict()) if json else _as_text(url, allowed=decision.allowed, rule=decision.rule, reason=decision.reason)
            )
        if refused:
            sys.exit(1)


def _lines() -> Iterator[str]:
    """One URL a line, blank ones too, so that output and input match line by line; bytes that are no UTF-8 stay visible."""
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\r\n").decode(errors="backslashreplace")


def _as_json(line: dict[str, object]) -> str:
    return json.dumps(line)


def _as_text(url: str, *, allowed: bool, rule: str, reason: str) -> str:
    return f"{'allowed' if allowed else 'REFUSED'}  {ascii(url)[1:-1]}  {rule}: {reason}"
