"""manage.py taxii_collections: what the TAXII server offers. Exit status: 0 told, 1 with the reason."""

import json as json_module
from dataclasses import asdict

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from airgap.transport import AirgapBlocked, gated_client
from threatintel.feeds.taxii import collections
from threatintel.poll import plain_error
from threatintel.specs import FeedError


class Command(BaseCommand):
    help = "List the collections of TAXII_URL, for TAXII_COLLECTION_IDS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")

    def handle(self, *, json: bool, **_options: object) -> None:
        env = settings.ENV
        if not env.taxii_url:
            raise CommandError("TAXII_URL is not set.")
        auth = (env.taxii_username, env.taxii_password) if env.taxii_username else None
        try:
            with gated_client(purpose="feed.taxii", auth=auth) as client:
                found = list(collections(client, env.taxii_url, env.taxii_api_root))
        except (FeedError, AirgapBlocked) as error:
            raise CommandError(str(error)) from None
        except httpx.HTTPError as error:
            raise CommandError(f"TAXII_URL: {plain_error(error)}") from None
        for one in found:
            self.stdout.write(_line(one, as_json=json))


def _line(one: object, *, as_json: bool) -> str:
    parts = asdict(one)  # type: ignore[call-overload]
    return json_module.dumps(parts) if as_json else f"{parts['id']}  {parts['title']}{'' if parts['can_read'] else '  (not readable)'}"
