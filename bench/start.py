"""How long bin/up takes to a ready web: the first start, with the environment to be made, and the second. Prints JSON.

    python3 bench/start.py                      # a fresh clone in a temporary folder

Claims: first under 90 s with a warm package cache, second under 5 s.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def free_ports() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) % 20_000 + 20_000


def seconds_to_ready(clone: Path, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    process = subprocess.Popen(["bin/up"], cwd=clone, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    taken = 0.0
    for line in process.stdout:
        if line.startswith("ready: "):
            taken = time.perf_counter() - started
            break
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    if process.wait(timeout=30) != 0 or not taken:
        raise SystemExit(f"bin/up ended with {process.returncode}")
    return round(taken, 2)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_")) or name in ("PATH", "LANG")}
        environment = {**kept, "HOME": os.environ.get("HOME", folder), "PORT": str(free_ports()), "CISA_KEV_URL": "http://127.0.0.1:9/none"}
        first, second, third = (seconds_to_ready(clone, environment) for _ in range(3))
        claims = {"first < 90 s": first < 90, "second < 5 s": second < 5}
        print(json.dumps({"first_s": first, "second_s": second, "third_s": third, "claims": claims}, indent=2))


if __name__ == "__main__":
    main()
