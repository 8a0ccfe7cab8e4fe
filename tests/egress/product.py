"""The whole product under a hostile configuration: `python -m tests.egress.product`, run by tests/egress/lab.py in its namespace.

Starts everything as bin/up does, waits until the redirecting mirror has been polled and what was refused is in the trail, and
prints {"runs": [[feed, state, rule]], "trail": [[host, rule, layer, purpose, count]], "health": {…}}.
"""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.plugins.mirror import Mirror, redirect
from tests.plugins.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


def rows(database: Path, sql: str) -> list[list[object]]:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            return [list(row) for row in connection.execute(sql)]
    except sqlite3.Error:
        return []


def health(port: int) -> dict[str, object]:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/health")
            answer: dict[str, object] = json.loads(connection.getresponse().read())
            return answer
    except (OSError, ValueError):
        return {}


def main() -> None:
    mirror = Mirror()
    mirror.answers["/kev.json"] = redirect("http://www.cisa.gov/kev.json?stolen=1")
    folder = Path(os.environ["AISOC_DATA_DIR"])
    port = free_port(3)
    hostile = {
        **os.environ,
        "PORT": str(port),
        "CISA_KEV_URL": f"{mirror.url}/kev.json",
        "OTX_API_KEY": "planted",
        "OPENAI_API_KEY": "planted",
        "ANTHROPIC_API_KEY": "planted",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/planted",
        "HTTPS_PROXY": "http://proxy.example.com:3128",
        "ALL_PROXY": "http://proxy.example.com:3128",
        "NO_PROXY": "127.0.0.1,www.cisa.gov",
    }
    database = folder / "aisoc.sqlite3"
    with (folder.parent / "product.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "aisoc_admin.supervise"], cwd=ROOT, env=hostile, stdout=log, stderr=log, start_new_session=True
        )
        try:
            runs: list[list[object]] = []
            trail: list[list[object]] = []
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                runs = rows(database, "SELECT feed, state, rule FROM threatintel_feedrun WHERE feed = 'kev' AND reason <> ''")
                trail = rows(database, "SELECT host, rule, layer, purpose, SUM(count) FROM airgap_egressevent GROUP BY 1, 2, 3, 4")
                if runs and (trail or os.environ.get("AISOC_AIRGAPPED") != "1"):
                    break
                time.sleep(0.3)
            result = {"runs": runs, "trail": trail, "health": [health(port + offset) for offset in range(3)]}
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
            mirror.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
