"""Requests per second of /health and /api/v1/airgap/status beside a plain Django view and a FastAPI app. Prints JSON.

    .venv/bin/python bench/status.py            # needs wrk; the peer needs .venv-bench (see bench/README.md)

Claim: each is at least 1.0 of a Django JsonResponse view with the default middleware under the same gunicorn. FastAPI under
uvicorn with the same body is the figure to catch. All servers have two workers; rounds are interleaved.
"""

import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
ROUNDS, SECONDS, CONNECTIONS = 5, 3, 16

PLAIN_DJANGO = """
import json, os, sys
from django.conf import settings
BODY = json.loads(os.environ["BODY"])
settings.configure(
    DEBUG=False, SECRET_KEY="bench", ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages"],
)
import django
django.setup()
from django.http import JsonResponse
from django.urls import path
urlpatterns = [path("status", lambda request: JsonResponse(BODY))]
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""

FASTAPI = """
import json, os
from fastapi import FastAPI
from fastapi.responses import JSONResponse
BODY = json.loads(os.environ["BODY"])
app = FastAPI()

@app.get("/status")
async def status():
    return JSONResponse(BODY)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def wait(port: int, path: str) -> None:
    for _ in range(200):
        try:
            if get(port, path)[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def load(port: int, path: str) -> float:
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in done:
        raise SystemExit(f"{path}: {done}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", done)
    if found is None:
        raise SystemExit(done)
    return float(found[1])


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk, which makes the load, is not installed.")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    (folder / "plain_django.py").write_text(PLAIN_DJANGO, encoding="utf-8")
    (folder / "peer.py").write_text(FASTAPI, encoding="utf-8")
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    ports = {name: free_port() for name in ("product", "django", "fastapi")}
    ours = {
        **base,
        "AISOC_DATA_DIR": str(folder / "var"),
        "AISOC_AIRGAPPED": "1",
        "AISOC_AIRGAP_ALLOWLIST": "mirror.example.internal,intel.corp",
        "PORT": str(ports["product"]),
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=ours, check=True)
    running = []
    try:
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf"]
        running.append(subprocess.Popen([*gunicorn, "aisoc_admin.wsgi:application"], cwd=ROOT, env=ours, stdout=subprocess.DEVNULL))
        wait(ports["product"], "/health")
        body = get(ports["product"], "/api/v1/airgap/status")[1].decode()
        peer = {**base, "BODY": body, "PYTHONPATH": str(folder)}
        # the same gunicorn with the product's settings of workers and threads, another application
        plain = [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "gthread",
            "-w",
            "2",
            "--threads",
            "8",
            "-b",
            f"127.0.0.1:{ports['django']}",
            "plain_django:application",
        ]
        running.append(subprocess.Popen(plain, cwd=folder, env=peer, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait(ports["django"], "/status")
        targets = {
            "health": (ports["product"], "/health"),
            "airgap_status": (ports["product"], "/api/v1/airgap/status"),
            "django_jsonresponse": (ports["django"], "/status"),
        }
        if BENCH_PYTHON.exists():
            uvicorn = [str(BENCH_PYTHON), "-m", "uvicorn", "--workers", "2", "--port", str(ports["fastapi"]), "--no-access-log", "peer:app"]
            running.append(subprocess.Popen(uvicorn, cwd=folder, env=peer, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait(ports["fastapi"], "/status")
            targets["fastapi_uvicorn"] = (ports["fastapi"], "/status")
        rates: dict[str, list[float]] = {name: [] for name in targets}
        for port, path in targets.values():
            load(port, path)  # warm-up
        for round_ in range(ROUNDS):
            for name in list(targets)[:: 1 if round_ % 2 else -1]:
                rates[name].append(load(*targets[name]))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        ratios = {
            f"{name} / {other}": round(statistics.median(a / b for a, b in zip(rates[name], rates[other], strict=True)), 3)
            for name in ("health", "airgap_status")
            for other in targets
            if other not in ("health", "airgap_status")
        }
        print(
            json.dumps(
                {
                    "requests_per_s": {name: round(value) for name, value in medians.items()},
                    "ratios": ratios,
                    "claims": {
                        f"{name} / django_jsonresponse >= 1.0": ratios[f"{name} / django_jsonresponse"] >= 1.0 for name in ("health", "airgap_status")
                    },
                    "peer": "measured" if "fastapi_uvicorn" in targets else "not installed: see bench/README.md",
                },
                indent=2,
            )
        )
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
