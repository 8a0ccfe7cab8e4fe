"""What it costs to resolve a tenant's LLM on PostgreSQL: the row read, the key opened, every rule asked. Prints JSON.

    .venv/bin/python bench/resolver.py

Claims: an uncached resolve_llm_config under 1 ms at the median, and one statement. The server is a real one on a Unix socket.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bin")]
TENANTS, ROUNDS = 200, 20


def measure() -> None:
    import django

    django.setup()

    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from llm.config import Secret
    from llm.credentials import Wanted, save_credential
    from llm.resolver import resolve_llm_config
    from tenants.models import Tenant

    call_command("migrate", verbosity=0)
    slugs = [f"tenant-{number}" for number in range(TENANTS)]
    for number, slug in enumerate(slugs):
        tenant = Tenant.objects.create(slug=slug, name=slug)
        save_credential(
            tenant, Wanted(provider="custom", base_url=f"http://gw-{number}.corp:4000", model="m", api_key=Secret(f"sk-{number}")), by="bench"
        )
    with CaptureQueriesContext(connection) as queries:
        assert resolve_llm_config(slugs[0]).allowed
    times = {"with_a_row": timed(resolve_llm_config, slugs), "without_a_row": timed(resolve_llm_config, [f"nobody-{slug}" for slug in slugs])}
    median = times["with_a_row"]["median_us"]
    print(
        json.dumps(
            {
                "database": connection.vendor,
                "statements": len(queries),
                **times,
                "claims": {"with_a_row.median_us < 1000": median < 1000, "statements <= 1": len(queries) <= 1},
            },
            indent=2,
        )
    )


def timed(resolve: object, slugs: list[str]) -> dict[str, float]:
    times = []
    for _ in range(ROUNDS):
        for slug in slugs:
            started = time.perf_counter()
            resolve(slug)  # type: ignore[operator]
            times.append(time.perf_counter() - started)
    return {"median_us": round(statistics.median(times) * 1e6, 1), "p99_us": round(statistics.quantiles(times, n=100)[98] * 1e6, 1)}


def main() -> None:
    import gates

    with gates.postgresql() as url, tempfile.TemporaryDirectory(prefix="bench-") as data:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "aisoc_admin.settings", "DATABASE_URL": url, "AISOC_DATA_DIR": data}
        environment["AISOC_AIRGAPPED"] = "1"
        subprocess.run([sys.executable, __file__, "measure"], env=environment, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else main()
