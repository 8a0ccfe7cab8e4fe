"""The audit at size: airgap_audit with its signed report over a trail of 1,000,000 rows, on SQLite and on PostgreSQL. Prints JSON.

    .venv/bin/python bench/audit.py             # some minutes; needs the packages of bin/test for PostgreSQL

Claims: the command, as cron would start it, takes under 5 s with every row walked; the page's own run, which walks the newest
20,000, under 500 ms.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROWS, BATCH = 1_000_000, 5000
COMMAND_SECONDS, PAGE_MILLISECONDS = 5.0, 500.0


def fill() -> None:
    """1,000,000 rows of ten days, a tenth of them to random hosts, put there as the drain does; then the page's run. Prints JSON."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "aisoc_admin.settings"
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.utils import timezone

    from airgap.audit import audit
    from airgap.drain import append
    from tests.airgap.trail import event

    call_command("migrate", verbosity=0)
    dice = random.Random(7)
    begin = timezone.now().replace(microsecond=0) - timedelta(days=10)
    for first in range(0, ROWS, BATCH):
        moment = begin + timedelta(days=10) * first / ROWS
        minute = moment.replace(second=0, microsecond=0)
        rows = []
        for number in range(first, first + BATCH):
            client = dice.randrange(40)
            host = f"r{number:x}.example.net" if dice.random() < 0.1 else f"h{client}.example.com"
            seen = moment + timedelta(microseconds=dice.randrange(60_000_000))
            rows.append(
                event(
                    minute=minute, host=host, process=f"node-{dice.randrange(4)}:{client}", caller=f"sdk{client % 7}", first_seen=seen, last_seen=seen
                )
            )
        with transaction.atomic():
            append(rows, moment)
        if sys.stderr.isatty():
            print(f"\r{first + BATCH:,} of {ROWS:,} rows", end="", file=sys.stderr)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE airgap_egressevent")
            cursor.execute("VACUUM ANALYZE airgap_egresstotal")
    spans = []
    for _ in range(7):
        started = time.perf_counter()
        audit()
        spans.append(time.perf_counter() - started)
    print(json.dumps({"page_milliseconds": round(statistics.median(spans) * 1000, 1)}))


def run(database_url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "AISOC_DATA_DIR": folder, "AISOC_AIRGAPPED": "1"}
        if database_url:
            environment["DATABASE_URL"] = database_url
        filled = subprocess.run([sys.executable, __file__, "fill"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(filled.stdout.splitlines()[-1])
        spans = []
        out = Path(folder) / "report.json"
        for _ in range(5):
            started = time.perf_counter()
            command = [sys.executable, "manage.py", "airgap_audit", "--json", "--since", "30d", "--out", str(out)]
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
            spans.append(time.perf_counter() - started)
            assert done.returncode == 1, done.returncode  # attempts were refused
            (trail,) = [item for item in json.loads(done.stdout)["items"] if item["id"] == "trail_verified"]
            assert (trail["verdict"], f"all {ROWS:,} rows" in trail["evidence"]) == ("OK", True), trail
        return {**found, "command_seconds": round(statistics.median(spans), 2), "report_kilobytes": out.stat().st_size // 1024}


def main() -> None:
    from bin.gates import postgresql

    found: dict[str, Any] = {}
    for name in sys.argv[1:] or ("sqlite", "postgresql"):
        if name == "sqlite":
            found[name] = run("")
        else:
            with postgresql() as url:  # a fresh one
                found[name] = run(url)
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr)
    claims = {
        name: {"command": figures["command_seconds"] < COMMAND_SECONDS, "page": figures["page_milliseconds"] < PAGE_MILLISECONDS}
        for name, figures in found.items()
    }
    print(json.dumps({"rows": ROWS, **found, "claims": claims}, indent=2))


if __name__ == "__main__":
    fill() if sys.argv[1:] == ["fill"] else main()
