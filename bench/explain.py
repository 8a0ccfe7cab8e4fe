"""Time to the first frame of 20 explains at once on the fallback path, through gunicorn on a fresh SQLite database. Prints JSON.

    .venv/bin/python bench/explain.py

Claim: at most 150 ms at the 95th percentile on 2 cores. Beside it the same requests one after the other, as the share that waiting in line has.
Each round has a user of its own: 20 in a minute is what one asker may have.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.status import free_port, wait

AT_ONCE, ROUNDS, MOST = 20, 8, 0.150
ALERT = {
    "title": "Encoded PowerShell started by an office program",
    "description": "winword.exe started powershell.exe, which downloaded a payload and set a run key.",
    "severity": "high",
    "source": "edr",
    "tags": ["attack.t1059.001"],
    "raw": {
        "process": {"name": "powershell.exe", "command_line": "powershell.exe -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoA"},
        "host": "WS-0042",
        "user": "ACME\\jdoe",
        "dest_ip": "198.51.100.7",
        "events": [{"id": number, "registry_key": "HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Run"} for number in range(20)],
    },
}


def first_frame(port: int, token: str) -> float:
    """Seconds from sending to the first line of the answer, which is then read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    began = time.perf_counter()
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/explain", json.dumps({"alert": ALERT}), headers)
    answer = connection.getresponse()
    line = answer.readline()
    seconds = time.perf_counter() - began
    rest = answer.read().splitlines()
    if answer.status != 200 or json.loads(line)["type"] != "section" or json.loads(rest[-1])["path"] != "fallback":
        raise SystemExit(f"{answer.status}: {line!r} … {rest[-1:]!r}")
    connection.close()
    return seconds


def at_once(port: int, token: str) -> list[float]:
    seconds: list[float] = []
    gate = threading.Barrier(AT_ONCE)

    def one() -> None:
        gate.wait()
        seconds.append(first_frame(port, token))

    threads = [threading.Thread(target=one) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(seconds) != AT_ONCE:
        raise SystemExit("Not every explanation was told.")
    return seconds


def cpu_seconds(master: int) -> float:
    """What the workers of that gunicorn have computed: a figure that a busy machine does not change."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == master:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    port = free_port()
    ours = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "AISOC_DATA_DIR": str(folder / "var"),
        "AISOC_AIRGAPPED": "1",
        "PORT": str(port),
    }

    def manage(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=ours, check=True, capture_output=True, text=True)
        return done.stdout.strip().rsplit("\n", 1)[-1]

    manage("migrate", "-v0")
    tokens = [manage("create_token", f"user{number}", "--role", "operator") for number in range(ROUNDS + 2)]
    web = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application"],
        cwd=ROOT,
        env=ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(port, "/ready")
        at_once(port, tokens[0])  # both workers have read their tables
        alone = sorted(first_frame(port, tokens[1]) for _ in range(AT_ONCE))
        before = cpu_seconds(web.pid)
        rounds = [at_once(port, token) for token in tokens[2:]]
        computed = cpu_seconds(web.pid) - before
    finally:
        web.terminate()
        web.wait()
    every = sorted(seconds for one in rounds for seconds in one)
    p95 = every[int(0.95 * len(every))]
    figures: dict[str, Any] = {
        "at_once": AT_ONCE,
        "rounds": ROUNDS,
        "median_ms": round(statistics.median(every) * 1000, 1),
        "p95_ms": round(p95 * 1000, 1),
        "p95_ms_of_the_median_round": round(statistics.median(sorted(one)[int(0.95 * len(one))] for one in rounds) * 1000, 1),
        "max_ms": round(every[-1] * 1000, 1),
        "cpu_ms_a_whole_answer": round(computed / (AT_ONCE * ROUNDS) * 1000, 1),
        "load": os.getloadavg()[0],
        "alone_median_ms": round(statistics.median(alone) * 1000, 1),
        "claim": {"first frame at the 95th percentile, ms, at most": MOST * 1000},
        "held": p95 <= MOST,
    }
    print(json.dumps(figures, indent=2))
    raise SystemExit(0 if figures["held"] else 1)


if __name__ == "__main__":
    main()
