"""manage.py poll_feed NAME: one poll now, in this process. Exit status: 0 done, 1 failed or refused with the reason."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from threatintel import runs
from threatintel.poll import State, poll
from threatintel.registry import feed_named, feeds


class Command(BaseCommand):
    help = "Poll a feed once, now, without broker or worker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="A feed: " + ", ".join(spec.name for spec in feeds()))

    def handle(self, *, name: str, **_options: object) -> None:
        spec = feed_named(name)
        if spec is None:
            raise CommandError(f"There is no feed named {name!r}. Use one of {', '.join(one.name for one in feeds())}.")
        if not spec.url:
            raise CommandError(f"{spec.title} is not configured. {spec.to_configure}".strip())
        slot = runs.manual_slot()
        runs.open_run(name, slot)
        polled = poll(spec, slot, retry=False)
        if polled is None:
            raise CommandError(f"{spec.title} is being polled by another process right now. Try again when that poll is over.")
        if polled.state is not State.OK:
            raise CommandError(f"{spec.title}: {polled.reason}")
        run = polled.run
        self.stdout.write(f"{spec.title}: {run.fetched} records read, {run.added} new, {run.changed} changed, {run.retired} retired.")
