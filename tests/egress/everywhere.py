"""Every client in a gunicorn worker, a Celery pool child and a management command of the product, and in a bare process.

`python -m tests.egress.everywhere`, run by tests/egress/lab.py in its namespace. Prints
{"started": {place: pid}, "attempts": {place: [Attempt]}, "trail": [row]}; the trail as it is once it has every refusal, or after a while.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from aisoc_admin import embedded
from tests.egress.running import GUNICORN, ROOT, Program, ask, awaited, running, trail
from tests.plugins.processes import free_port

CELERY = ("-m", "celery", "--quiet", "-A", "tests.egress.in_pool", "worker", "-l", "INFO", "--pool", "prefork", "--concurrency", "1", "-Q", "intel")
PLACES = ("web", "worker", "command")  # that have a trail
DRAINED_WITHIN = 15  # seconds


def missing(attempts: dict[str, list[dict[str, str]]], rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """(process, host) of what was blocked and is not in the trail as often."""
    blocked = Counter((one["process"], one["host"]) for place in PLACES for one in attempts[place] if one["outcome"] == "blocked")
    for row in rows:
        blocked[row["process"], row["host"]] -= row["count"]
    return +blocked


def text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def main() -> None:
    data = Path(os.environ["AISOC_DATA_DIR"])
    log, port = data.with_name("everywhere.log"), free_port()
    environment = {**os.environ, "PORT": str(port)}
    files = {place: data / f"{place}.json" for place in ("worker", "command", "bare")}
    command = (
        "from pathlib import Path; from tests.egress import clients, in_pool; "
        f"in_pool.try_clients.delay({str(files['worker'])!r}); clients.write('command', Path({str(files['command'])!r}))"
    )
    programs = {
        "web": GUNICORN,
        "worker": CELERY,
        "command": ("manage.py", "shell", "-v", "0", "-c", command),
        "bare": ("-m", "tests.egress.clients", str(files["bare"]), *(() if environment["AISOC_AIRGAPPED"] == "1" else ("--off",))),
    }
    subprocess.run([sys.executable, "-W", "ignore", "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True)
    with embedded.running(data), running(*(Program(program, environment) for program in programs.values()), log=log) as started:
        processes = dict(zip(programs, started, strict=True))
        attempts = {"web": awaited("web", lambda: ask(port, "/egress/clients", timeout=60), processes["web"])}
        for place, file in files.items():
            attempts[place] = json.loads(awaited(place, partial(text, file), processes[place]))
        deadline = time.monotonic() + DRAINED_WITHIN
        while missing(attempts, stored := trail(data)) and time.monotonic() < deadline:
            time.sleep(0.2)
    print(json.dumps({"started": {place: process.pid for place, process in processes.items()}, "attempts": attempts, "trail": stored}))


if __name__ == "__main__":
    main()
