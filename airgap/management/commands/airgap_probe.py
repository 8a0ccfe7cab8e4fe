"""manage.py airgap_probe: prints the script that an operator runs on a SOC host to see what the firewall lets through. Runs nothing itself."""

from django.core.management.base import BaseCommand

from airgap.probe import SCRIPT


class Command(BaseCommand):
    help = "Print the firewall probe, to be run on a SOC host: manage.py airgap_probe | sh"
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def handle(self, **_options: object) -> None:
        self.stdout.write(SCRIPT, ending="")
