"""Threat intel at size: a STIX bundle of 1,000,000 indicators (500 MB) brought in twice, then looked up, on SQLite and on PostgreSQL. Prints JSON.

    .venv/bin/python bench/intel.py                       # half an hour; needs the packages of bin/test for PostgreSQL
    .venv/bin/python bench/intel.py --indicators 100000 sqlite

Claims: the import takes at most twice as long as the bare floor (PostgreSQL: COPY of the same rows and one INSERT … ON CONFLICT a table; SQLite:
at most 2.5 times executemany); a second import that changes nothing at most 1.25 times the floor that is guarded by the digest; a process that
imports has under 200 MB; a bulk look-up of 10,000 values at most 1.5 times its bare SQL; a single one at most 1.3 times a bare view over an indexed query.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CLAIMS = {
    ("new over floor", "postgresql"): 2.0,
    ("new over floor", "sqlite"): 2.5,
    ("again over guarded floor", "postgresql"): 1.25,
    ("again over guarded floor", "sqlite"): 1.25,
    ("bulk look-up over bare SQL", "postgresql"): 1.5,
    ("bulk look-up over bare SQL", "sqlite"): 1.5,
    ("look-up over bare view", "postgresql"): 1.3,
    ("look-up over bare view", "sqlite"): 1.3,
}
LOOKED_UP, ROUNDS, SINGLE = 10_000, 9, 400
PAGE = 5000  # rows of one statement of the floor, as the product stores them


def setup() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "aisoc_admin.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def bundle(path: Path, indicators: int) -> None:
    """Addresses, domains, URLs and hashes, 500 bytes each, as a platform exports them."""
    dice = random.Random(7)
    with path.open("w") as file:
        file.write('{"type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000", "objects": [')
        for number in range(indicators):
            pattern = (
                f"[ipv4-addr:value = '{number >> 24 & 255 | 16}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}']",
                f"[domain-name:value = 'h{number}.malware.example']",
                f"[url:value = 'http://h{number}.example/gate/{number % 97}.php?id={number}']",
                f"[file:hashes.'SHA-256' = '{dice.getrandbits(256):064x}']",
            )[number % 4]
            one = {
                "type": "indicator",
                "spec_version": "2.1",
                "id": f"indicator--{number:08x}-0000-4000-8000-{dice.getrandbits(48):012x}",
                "created": "2026-05-01T00:00:00.000Z",
                "modified": f"2026-05-{1 + number % 28:02d}T00:00:00.000Z",
                "name": f"indicator {number} of the bench",
                "indicator_types": ["malicious-activity"],
                "labels": ["bench", f"family-{number % 40}"],
                "confidence": number % 101,
                "pattern": pattern,
                "pattern_type": "stix",
                "valid_from": "2026-05-01T00:00:00Z",
                "object_marking_refs": ["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"],
            }
            file.write(("" if number == 0 else ", ") + json.dumps(one))
        file.write("]}")


# ── The import and its floor ─────────────────────────────────────────────────────────────────────────────────────────
def bring_in(path: str) -> None:
    """Prints seconds, what changed, and the most memory of the whole process and the growth by it, in MB."""
    setup()
    from threatintel.offline import carried, import_file

    with carried(Path(path)) as file, watched_memory() as memory:
        began, busy = time.perf_counter(), time.process_time()
        run = import_file("stix", file)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    assert run.state == "ok", run.reason
    counts = {"fetched": run.fetched, "added": run.added, "changed": run.changed}
    print(
        json.dumps({"seconds": round(seconds, 1), "of_them_busy": round(busy, 1), **counts, **{name: round(value) for name, value in memory.items()}})
    )


@contextmanager
def watched_memory() -> Iterator[dict[str, float]]:
    """The most that the process had of its own (RssAnon), in MB, looked at twenty times a second. What SQLite maps of its file is beside it: those
    pages are the system's cache, which it takes back when it needs them.
    """
    found = {"megabytes": 0.0, "megabytes_more": 0.0, "megabytes_mapped": 0.0}
    over = threading.Event()

    def now() -> tuple[float, float]:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        return int(lines["RssAnon"].split()[0]) / 1024, int(lines["RssFile"].split()[0]) / 1024

    before, _ = now()

    def watch() -> None:
        while not over.wait(0.05):
            own, mapped = now()
            found["megabytes"], found["megabytes_mapped"] = max(found["megabytes"], own), max(found["megabytes_mapped"], mapped)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join()
        found["megabytes_more"] = found["megabytes"] - before


def floor(_path: str) -> None:
    """The rows that are stored, into empty tables of the same shape with the same indexes, twice; the second time they are there. Prints seconds."""
    setup()
    from django.db import connection, transaction

    from threatintel.models import Indicator, IndicatorSource

    seconds = {"new": 0.0, "again": 0.0}
    rows_read = 0
    for model in (Indicator, IndicatorSource):
        table, columns = model._meta.db_table, ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)
        guard = 'bare."digest" <> excluded."digest"' if model is IndicatorSource else 'bare."type" <> excluded."type"'
        made = empty_copy(table)
        for name in seconds:
            for page in pages_of(table, columns):
                rows_read += len(page)
                began = time.perf_counter()
                with transaction.atomic(), connection.cursor() as cursor:
                    if connection.vendor == "postgresql":
                        cursor.execute(f"CREATE TEMP TABLE staged (LIKE {table}) ON COMMIT DROP")
                        with cursor.copy(f"COPY staged ({columns}) FROM STDIN") as copy:
                            for row in page:
                                copy.write_row(row)
                        conflict = f"ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE {guard}"
                        cursor.execute(f"INSERT INTO {made} AS bare ({columns}) SELECT {columns} FROM staged {conflict}")
                    else:
                        places = ", ".join(["?"] * len(page[0]))
                        conflict = f"ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE {guard}"
                        cursor.connection.executemany(f"INSERT INTO {made} AS bare ({columns}) VALUES ({places}) {conflict}", page)
                seconds[name] += time.perf_counter() - began
    print(json.dumps({"rows": rows_read // 2, **{name: round(value, 1) for name, value in seconds.items()}}))


def empty_copy(table: str) -> str:
    from django.db import connection

    made = f"bare_{table}"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"CREATE TABLE {made} (LIKE {table} INCLUDING ALL)")
            return made
        cursor.execute("SELECT type, name, sql FROM sqlite_master WHERE tbl_name = %s AND sql IS NOT NULL", [table])
        for kind, name, sql in cursor.fetchall():
            cursor.execute(
                sql.replace(f'"{table}"', f'"{made}"', 1)
                if kind == "table"
                else sql.replace(f'"{name}"', f'"bare_{name}"').replace(f'"{table}"', f'"{made}"')
            )
    return made


def pages_of(table: str, columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """The stored rows in the order in which they came, by a connection of its own."""
    from django.db import connection

    if connection.vendor == "postgresql":
        import psycopg

        given = {name: value for name, value in connection.get_connection_params().items() if isinstance(value, str)}
        with psycopg.connect(**given) as reading, reading.cursor(name="bench") as cursor:
            cursor.itersize = PAGE
            cursor.execute(f"SELECT {typed_as_text(table, columns)} FROM {table} ORDER BY ctid")
            while page := cursor.fetchmany(PAGE):
                yield page
    else:
        import sqlite3

        with sqlite3.connect(connection.settings_dict["NAME"]) as reading:
            cursor = reading.execute(f"SELECT {columns} FROM {table} ORDER BY rowid")
            while page := cursor.fetchmany(PAGE):
                yield page


def typed_as_text(table: str, columns: str) -> str:
    """JSON columns as text, so that the floor does not encode them again."""
    return columns.replace('"labels"', '"labels"::text').replace('"references"', '"references"::text') if table.endswith("source") else columns


# ── Look-ups ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def look_up(_path: str) -> None:
    """Half of the values are there. Prints milliseconds, medians of interleaved rounds."""
    setup()
    from django.db import connection
    from django.test import Client
    from django.urls import path
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from aisoc_admin import urls
    from tenants.accounts import issue_token
    from tenants.roles import Role
    from threatintel.identity import indicator_id
    from threatintel.lookup import lookup
    from threatintel.models import Indicator, IndicatorSource

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    known = list(
        Indicator.objects.order_by("pk").values_list("type", "value")[:: max(1, Indicator.objects.count() // (LOOKED_UP // 2))][: LOOKED_UP // 2]
    )
    asked = known + [
        (type, f"{value}.nobody") if type != "ipv4-addr" else ("domain-name", f"n{number}.nobody") for number, (type, value) in enumerate(known)
    ]
    random.Random(7).shuffle(asked)
    table, columns = (
        IndicatorSource._meta.db_table,
        "indicator_id, feed, external_id, confidence, tlp, labels, url, first_seen, last_seen, valid_until, revoked, context",
    )

    def bare(pairs: Iterable[tuple[str, str]]) -> int:
        """The SQL for it, as a driver gives it: the rows, and no value made of them."""
        keys = [indicator_id(*pair) for pair in pairs]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(f"SELECT {columns} FROM {table} WHERE indicator_id = ANY(%s)", [keys])
                return len(cursor.fetchall())
            found = 0
            for start in range(0, len(keys), 900):
                chunk = keys[start : start + 900]
                cursor.execute(f"SELECT {columns} FROM {table} WHERE indicator_id IN ({', '.join(['%s'] * len(chunk))})", chunk)
                found += len(cursor.fetchall())
            return found

    bulk = interleaved({"bulk": lambda: len(lookup(asked)), "bare": lambda: bare(asked)}, ROUNDS)

    class Bare(APIView):
        def get(self, request: Any) -> Response:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {columns} FROM {table} WHERE indicator_id = %s", [indicator_id("domain-name", request.query_params["value"])])
                names = [column[0] for column in cursor.description]
                return Response({"results": [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]})

    urls.urlpatterns.insert(0, path("bench", Bare.as_view()))
    browser, header = Client(HTTP_HOST="localhost"), {"Authorization": f"Token {issue_token('bench', Role.AUDITOR, 1)}"}
    values = iter([value for type, value in known if type == "domain-name"] * 100)

    def single(address: str) -> Callable[[], int]:
        def ask() -> int:
            answer = browser.get(f"{address}{next(values)}", headers=header).json()
            assert len(answer["results"]) == 1, answer
            return 1

        return ask

    one = interleaved({"look-up": single("/api/v1/iocs/search?value="), "bare": single("/bench?value=")}, SINGLE)
    print(json.dumps({"bulk_ms": bulk["bulk"], "bulk_bare_ms": bulk["bare"], "single_ms": one["look-up"], "single_bare_ms": one["bare"]}))


def interleaved(jobs: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    spans: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            began = time.perf_counter()
            assert job()
            spans[name].append(time.perf_counter() - began)
    return {name: round(statistics.median(found) * 1000, 2) for name, found in spans.items()}


# ── The whole ────────────────────────────────────────────────────────────────────────────────────────────────────────
def run(step: str, path: Path, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, step, str(path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{step}: {json.dumps(result)}", file=sys.stderr)
    return result


def on(database: str, url: str, path: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "AISOC_DATA_DIR": folder, "AISOC_AIRGAPPED": "1"}
        if url:
            environment["DATABASE_URL"] = url
        new, bare, again, found = (run(step, path, environment) for step in ("bring_in", "floor", "bring_in", "look_up"))
    ratios = {
        "new over floor": new["seconds"] / bare["new"],
        "again over guarded floor": again["seconds"] / bare["again"],
        "bulk look-up over bare SQL": found["bulk_ms"] / found["bulk_bare_ms"],
        "look-up over bare view": found["single_ms"] / found["single_bare_ms"],
    }
    return {
        "import": new,
        "floor": bare,
        "import again": again,
        "look-ups": found,
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "claims": {
            **{name: value <= CLAIMS[name, database] for name, value in ratios.items()},
            "memory": max(new["megabytes"], again["megabytes"]) < 200,
            "nothing changed the second time": again["added"] == again["changed"] == 0,
        },
    }


def main() -> None:
    from bin.gates import postgresql

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("databases", nargs="*", default=["sqlite", "postgresql"])
    options.add_argument("--indicators", type=int, default=1_000_000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "bundle.json"
        bundle(path, given.indicators)
        found: dict[str, Any] = {"indicators": given.indicators, "bundle_megabytes": path.stat().st_size // 1_000_000}
        for name in given.databases:
            if name == "sqlite":
                found[name] = on(name, "", path)
            else:
                with postgresql() as url:
                    found[name] = on(name, url, path)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    {"bring_in": bring_in, "floor": floor, "look_up": look_up}.get(sys.argv[1] if len(sys.argv) > 1 else "", lambda _: main())(sys.argv[-1])
