"""What the process guard costs: two processes, one with it and one without, take turns. Then 100,000 refusals. Prints JSON.

    .venv/bin/python bench/guard.py

Claims: guard on over off: a DRF list request <= 1.03, a trivial view <= 1.08, a loopback httpx GET <= 1.03; a refusal, spool write
included, < 100 us on average over 100,000.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS, REFUSALS = 40, 100_000
PER_ROUND = {"drf_list": 40, "trivial_view": 250, "httpx_get": 80}
CLAIMS = {"drf_list": 1.03, "trivial_view": 1.08, "httpx_get": 1.03}


def work() -> None:
    """A process under measurement: reads `name times` lines, answers each with the median in microseconds."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "aisoc_admin.settings"
    import django

    django.setup()
    from wsgiref.util import setup_testing_defaults

    import httpx
    from django.core.wsgi import get_wsgi_application
    from django.test import Client

    from tenants.accounts import issue_token
    from tenants.roles import Role

    token = issue_token("bench", Role.AUDITOR, 1)
    browser, header = Client(HTTP_HOST="localhost"), {"Authorization": f"Token {token}"}
    client = httpx.Client(trust_env=False)

    def drf_list() -> None:
        assert len(browser.get("/api/v1/airgap/events?page_size=20", headers=header).json()["results"]) == 20

    application = get_wsgi_application()

    def trivial_view() -> None:
        """A redirect, through every middleware; called as gunicorn calls it."""
        environ: dict[str, Any] = {"PATH_INFO": "/favicon.ico"}
        setup_testing_defaults(environ)
        environ["HTTP_HOST"] = "localhost"
        b"".join(application(environ, lambda *_: None))

    jobs: dict[str, Callable[[], Any]] = {
        "drf_list": drf_list,
        "trivial_view": trivial_view,
        "httpx_get": lambda: client.get(os.environ["BENCH_URL"]),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        name, times = line.split()
        if name == "refusals":
            print(json.dumps(refusals(int(times))), flush=True)
            continue
        spans = []
        for _ in range(int(times)):
            began = time.perf_counter()
            jobs[name]()
            spans.append(time.perf_counter() - began)
        print(statistics.median(spans) * 1e6, flush=True)


def refusals(times: int) -> dict[str, float]:
    """Microseconds of one: a look-up of a vendored client, the gate's transport, and a whole gated GET, most of which httpx takes to build it."""
    import socket

    from airgap.transport import AirgapBlocked, gated_client

    with gated_client(purpose="bench") as client:
        request = client.build_request("GET", "https://api.openai.com/v1/models")
        calls: dict[str, Callable[[], Any]] = {
            "guard": lambda: socket.getaddrinfo("api.openai.com", 443),
            "gate": lambda: client._transport.handle_request(request),
            "whole_gated_get": lambda: client.get("https://api.openai.com/v1/models"),
        }
        found = {}
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(times):
                try:
                    call()
                except AirgapBlocked:
                    continue
                raise SystemExit("not refused")
            found[name] = (time.perf_counter() - began) / times * 1e6
        return found


def start(guard: str, folder: Path, url: str) -> "subprocess.Popen[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "AISOC_DATA_DIR": str(folder / guard),
        "AISOC_AIRGAPPED": "1",
        "AISOC_AIRGAP_GUARD": guard,
        "BENCH_URL": url,
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    rows = (
        "from tests.airgap.trail import drained, event; from django.utils import timezone\n"
        "drained(*(event(n, f'h{n}.example.com') for n in range(30)), now=timezone.now())"
    )
    subprocess.run([sys.executable, "manage.py", "shell", "-v0", "-c", rows], cwd=ROOT, env=environment, check=True)
    process = subprocess.Popen(
        [sys.executable, __file__, "work"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ask(process: "subprocess.Popen[str]", question: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def main() -> None:
    server = subprocess.Popen([sys.executable, str(ROOT / "bench" / "gate.py"), "serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    processes = {}
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            processes = {guard: start(guard, Path(folder), url) for guard in ("off", "enforce")}
            found: dict[str, dict[str, float]] = {}
            for name, times in PER_ROUND.items():
                pairs = []
                for round_ in range(ROUNDS):
                    order = ("off", "enforce") if round_ % 2 else ("enforce", "off")
                    medians = {guard: ask(processes[guard], f"{name} {times}") for guard in order}
                    pairs.append((medians["off"], medians["enforce"]))
                found[name] = {
                    "off_us": round(statistics.median(off for off, _on in pairs), 1),
                    "on_us": round(statistics.median(on for _off, on in pairs), 1),
                    "ratio": round(statistics.median(on / off for off, on in pairs), 3),
                }
            refused = ask(processes["enforce"], f"refusals {REFUSALS}")
        print(
            json.dumps(
                {
                    **found,
                    f"refusal_us_over_{REFUSALS}": {name: round(value, 1) for name, value in refused.items()},
                    "claims": {
                        **{f"{name}.ratio <= {most}": found[name]["ratio"] <= most for name, most in CLAIMS.items()},
                        "a refusal of guard or gate < 100 us": max(refused["guard"], refused["gate"]) < 100,
                    },
                },
                indent=2,
            )
        )
    finally:
        for process in (server, *processes.values()):
            process.kill()
            process.wait()


if __name__ == "__main__":
    work() if sys.argv[1:] == ["work"] else main()
