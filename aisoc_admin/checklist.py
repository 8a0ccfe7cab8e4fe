"""The checklist's item on production settings, and the settings whose hosts the readiness report looks at."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from airgap.checklist import NOT_SAID, ChecklistItem, Finding, Look, Said, Verdict, everywhere
from airgap.fleet import Process
from airgap.hosts import Malformed, Url
from airgap.readiness import Target
from aisoc_admin.env import database_config


def environment_fact() -> str:
    word: str = settings.ENV.environment
    return word


def production(seen: Look) -> Finding:
    """production demands its own secrets and host names; development makes its own."""
    return everywhere(seen, _production)


def _production(process: Process) -> Said:
    word = process.facts.get("environment")
    if not isinstance(word, str):
        return NOT_SAID
    if word == "production":
        return Said(Verdict.OK, "AISOC_ENVIRONMENT is production")
    step = "Set AISOC_ENVIRONMENT=production with SECRET_KEY, ALLOWED_HOSTS and AISOC_CREDENTIAL_KEY, and restart."
    return Said(Verdict.ATTENTION, f"AISOC_ENVIRONMENT is {word}", step)


def targets() -> Iterator[Target]:
    """Egress proxy, database and broker, as far as they are configured. A public database or broker stops the process."""
    env = settings.ENV
    for name, host, port, variable in _infrastructure():
        yield Target("setting", name, f"https://{f'[{host}]' if ':' in host else host}:{port}", (variable,))
    if env.egress_proxy:
        proxy = Url.parse(env.egress_proxy)
        yield Target("setting", "egress proxy", env.egress_proxy if isinstance(proxy, Malformed) else proxy.origin, ("AISOC_EGRESS_PROXY",))


def _infrastructure() -> Iterator[tuple[str, str, int, str]]:
    """Name, host, port and variable of what is dialled before any gate could be asked; Unix sockets and files have no host."""
    if settings.ENV.database_url:
        config = database_config(settings.ENV.database_url)
        host = str(config.get("HOST") or "")
        if host and not host.startswith("/"):
            yield "database", host, int(config.get("PORT") or 5432), "DATABASE_URL"
    broker = urlsplit(settings.ENV.broker_url)
    if broker.scheme in ("redis", "rediss") and broker.hostname:
        yield "broker", broker.hostname, broker.port or 6379, "CELERY_BROKER_URL"


PRODUCTION: Final = ChecklistItem("production", "Every process runs with production settings", production, order=14)
