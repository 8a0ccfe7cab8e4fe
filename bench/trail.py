"""The trail at size: draining 1,000,000 attempts, then reading a trail of 1,000,000 rows, on SQLite and on PostgreSQL. Prints JSON.

    .venv/bin/python bench/trail.py             # some minutes; needs the packages of bin/test for PostgreSQL

Claims: the drain takes under a minute and 200 MB; the events JSON, filtered in any way, and the page Blocked egress stay under
100 ms of server time with 1,000,000 rows of one day, a tenth of them to random hosts.
"""

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ATTEMPTS, ROWS, BATCH = 1_000_000, 1_000_000, 2000
READS = {
    "json": "/api/v1/airgap/events",
    "json, a host": "/api/v1/airgap/events?host=h7.example.com",
    "json, a rule that is rare": "/api/v1/airgap/events?rule=malformed",
    "json, two filters": "/api/v1/airgap/events?layer=dns&purpose=guard&tenant=acme",
    "json, nothing found": "/api/v1/airgap/events?tenant=nobody",
    "json, an hour": "/api/v1/airgap/events?since={hour}",
    "json, the last page of 500": "/api/v1/airgap/events?until={early}&page_size=500",
    "page": "/settings/egress/",
    "page, 7 days": "/settings/egress/?span=7d",
    "page, 30 days": "/settings/egress/?span=30d",
    "page, an hour": "/settings/egress/?span=1h",
    "page, a host": "/settings/egress/?host=h7.example.com",
    "page, a rule that is rare": "/settings/egress/?rule=malformed",
}


def setup() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "aisoc_admin.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def drain() -> None:
    """Spool 1,000,000 attempts of several processes, then drain them here. Prints seconds and the growth of memory in MB."""
    setup()
    from airgap import spool as spool_module
    from airgap.drain import drain
    from airgap.models import EgressEvent
    from airgap.spool import Spool

    folder = Path(os.environ["AISOC_DATA_DIR"]) / "spool"
    began = int(time.time()) // 60 * 60 - 86400
    spooled, spools = 0, [Spool(folder, service="api") for _ in range(12)]
    for number, spool in enumerate(spools):
        spool._born += number  # so many processes
        for minute in range(40):
            for host in range(390):
                for _ in range(6):
                    if spooled < ATTEMPTS:
                        spool.add((f"h{host}.example.com", 443, "/v1", "public", "http", "guard", "", "vendor.sdk"), "why", began + 60 * minute)
                        spooled += 1
        if spool._fd >= 0:
            spool_module.fcntl.flock(spool._fd, spool_module.fcntl.LOCK_UN)  # as if its process had died
        spooled -= spool.overflowed
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    stored = 0
    while some := drain():  # a round takes so many segments
        stored += some
    seconds = time.perf_counter() - started
    assert stored == spooled, (stored, spooled)
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rows = EgressEvent.objects.count()
    print(json.dumps({"attempts": stored, "rows": rows, "seconds": round(seconds, 1), "megabytes_more": round(megabytes, 1)}))


def read() -> None:
    """Put 1,000,000 rows of one day into the trail as the drain does, then time each read. Prints milliseconds."""
    setup()
    from datetime import datetime, timedelta

    from django.db import connection, transaction
    from django.test import Client
    from django.utils import timezone

    from airgap.drain import append
    from airgap.models import EgressEvent
    from tenants.accounts import issue_token
    from tenants.roles import Role
    from tests.airgap.trail import event

    dice = random.Random(7)
    now = timezone.now()
    begin = (now - timedelta(hours=23)).replace(minute=0, second=0, microsecond=0)
    minutes = int((now - begin).total_seconds() // 60)

    def one(number: int) -> EgressEvent:
        """40 vendored clients, each with its host, on four nodes; a tenth of the attempts to random hosts."""
        client = dice.randrange(40)
        return event(
            minute=begin + timedelta(minutes=number * minutes // ROWS),
            host=f"r{number:x}.example.net" if dice.random() < 0.1 else f"h{client}.example.com",
            process=f"node-{dice.randrange(4)}:{dice.randrange(100, 110)}",
            rule="malformed" if dice.random() < 0.00001 else "public",
            layer=("http", "dns", "connect")[client % 3],
            purpose=("guard", "feed.kev", "llm.explain")[client % 4 % 3],
            tenant="acme" if dice.random() < 0.0005 else "",
            caller=f"vendor.sdk{client % 7}",
            path=f"/v{dice.randrange(9)}",
        )

    started = time.perf_counter()
    for first in range(0, ROWS, BATCH):
        with transaction.atomic():
            append([one(number) for number in range(first, first + BATCH)], now)
        if sys.stderr.isatty() and first % 50_000 == 0:
            print(f"\r{first:,} of {ROWS:,} rows", end="", file=sys.stderr)
    filled = time.perf_counter() - started
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE airgap_egressevent")
            cursor.execute("VACUUM ANALYZE airgap_egresstotal")
    header = {"Authorization": f"Token {issue_token('bench', Role.AUDITOR, 1)}"}
    browser = Client(HTTP_HOST="localhost")
    from django.contrib.auth import get_user_model

    browser.force_login(get_user_model().objects.get(username="bench"))

    def stamp(moment: datetime) -> str:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    found: dict[str, float] = {}
    for name, path in READS.items():
        address = path.format(hour=stamp(now - timedelta(hours=1)), early=stamp(begin + timedelta(hours=3)))
        spans = []
        for _ in range(9):
            began = time.perf_counter()
            answer = browser.get(address, headers=header if "/api/" in address else {})
            spans.append(time.perf_counter() - began)
            assert answer.status_code == 200, (address, answer.status_code)
        found[name] = round(statistics.median(spans) * 1000, 1)
    print(json.dumps({"rows": EgressEvent.objects.count(), "rows_stored_per_s": round(ROWS / filled), "milliseconds": found}))


def run(step: str, database_url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "AISOC_DATA_DIR": folder, "AISOC_AIRGAPPED": "1"}
        if database_url:
            environment["DATABASE_URL"] = database_url
        done = subprocess.run([sys.executable, __file__, step], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    from bin.gates import postgresql

    found: dict[str, Any] = {}
    for name in sys.argv[1:] or ("sqlite", "postgresql"):
        for step in ("drain", "read"):
            if name == "sqlite":
                found[f"{step}, {name}"] = run(step, "")
            else:
                with postgresql() as url:  # a fresh one
                    found[f"{step}, {name}"] = run(step, url)
            print(f"{step}, {name}: {json.dumps(found[f'{step}, {name}'])}", file=sys.stderr)
    claims = {
        key: all(value["seconds"] < 60 and value["megabytes_more"] < 200 for value in [figures])
        if key.startswith("drain")
        else max(figures["milliseconds"].values()) < 100
        for key, figures in found.items()
    }
    print(json.dumps({**found, "claims": claims}, indent=2))


if __name__ == "__main__":
    {"drain": drain, "read": read}.get(sys.argv[1] if len(sys.argv) > 1 else "", main)()
