"""bin/up alone, under air gap, with a mirror and a public feed: indicators within a minute, a refusal that is seen, and no call outside.

Every connect and every datagram of the whole process tree is watched from outside, with strace.
"""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, SHARED
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body
from tests.plugins.processes import free_port, soon

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("up")]
WATCH = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-e", "signal=none"]
CATALOGUE = SHARED / "kev.json"


@dataclass
class Started:
    port: int
    folder: Path
    environment: dict[str, str]
    output: Path
    trace: Path
    ready_after: float

    def get(self, path: str, token: str = "", *, port: int = 0) -> tuple[int, dict[str, Any]]:
        with closing(http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=40)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Token {token}"} if token else {})
            with connection.getresponse() as answer:
                return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    if shutil.which("strace") is None:
        pytest.skip("strace, which watches the processes from outside, is not installed.")
    folder = tmp_path_factory.mktemp("up")
    mirror = Mirror()
    mirror.answers["/kev.json"] = body(
        CATALOGUE.read_bytes() if CATALOGUE.exists() else catalogue([row(0, cveID="CVE-2025-48384"), *map(row, range(1403))])
    )
    port = free_port(3)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PORT": str(port),
        "AISOC_DATA_DIR": str(folder / "var"),
        "AISOC_AIRGAPPED": "1",
        "CISA_KEV_URL": f"{mirror.url}/kev.json",
        "OTX_API_KEY": "planted-otx-key",
        "HTTPS_PROXY": "http://proxy.example.com:3128",
        "OPENAI_API_KEY": "planted-openai-key",
    }
    trace, output = folder / "trace", folder / "output"
    started_at = time.monotonic()
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*WATCH, "-o", str(trace), sys.executable, "-m", "aisoc_admin.supervise"],
            cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        assert soon(lambda: b"ready: http" in output.read_bytes() or process.poll() is not None, 120), output.read_text()
        assert process.poll() is None, output.read_text()
        yield Started(port, folder, environment, output, trace, time.monotonic() - started_at)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=40)
        mirror.close()


@pytest.fixture(scope="module")
def token(started: Started) -> str:
    made = subprocess.run(
        [sys.executable, "manage.py", "create_token", "olga", "--role", "auditor"],
        cwd=ROOT,
        env=started.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.splitlines()[-1]


def test_the_mirrored_feed_is_searchable_within_a_minute(started: Started, token: str) -> None:
    def found() -> bool:
        status, answer = started.get("/api/v1/iocs/search?value=CVE-2025-48384", token)
        return status == 200 and bool(answer["results"])

    def polled() -> bool:
        feeds = {feed["name"]: feed for feed in started.get("/api/v1/threatintel/feeds", token)[1]["results"]}
        return (feeds["kev"]["state"], feeds["kev"]["indicators"]) == ("OK", 1404)

    assert soon(found, 60 - min(started.ready_after, 30)), started.output.read_text()[-3000:]
    assert soon(polled, 10), started.output.read_text()[-3000:]


def test_the_public_feed_is_refused_with_its_reason(started: Started, token: str) -> None:
    feeds = {feed["name"]: feed for feed in started.get("/api/v1/threatintel/feeds", token)[1]["results"]}
    assert (feeds["otx"]["state"], feeds["otx"]["rule"]) == ("REFUSED", "public")
    assert feeds["otx"]["reason"] == "otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST."
    lines = [json.loads(line) for line in started.output.read_text().splitlines() if line.startswith("{")]
    blocked = [line for line in lines if line["event"] == "airgap.feed_blocked"]
    assert [(line["feed"], line["host"], line["rule"]) for line in blocked] == [("otx", "otx.alienvault.com", "public")]


def test_worker_and_beat_report_the_air_gap_on_ports_of_their_own(started: Started) -> None:
    for port in (started.port + 1, started.port + 2):
        health = started.get("/health", port=port)[1]
        assert (health["airgap"]["enabled"], health["service"]) == (True, "threatintel")
        assert health["feeds"]["registered"] == ["kev"]
        assert [refused["name"] for refused in health["feeds"]["refused"]] == ["otx"]


def test_every_process_is_healthy(started: Started) -> None:
    assert soon(lambda: started.get("/health")[1]["checks"] == {"database": "ok", "broker": "ok", "spool": "ok"}, 20)
    assert started.get("/ready") == (200, {"ready": True, "reasons": []})


def test_proxy_variables_are_reported_by_each_process_and_not_used(started: Started) -> None:
    lines = [json.loads(line) for line in started.output.read_text().splitlines() if line.startswith("{")]
    ignored = {line["service"]: line["variables"] for line in lines if line["event"] == "airgap.proxy_env_ignored"}
    assert ignored["api"] == ignored["threatintel"] == ["HTTPS_PROXY"]


def test_no_secret_is_in_the_output(started: Started) -> None:
    output = started.output.read_text()
    for word in ("planted-otx-key", "planted-openai-key"):
        assert word not in output


def test_nothing_was_looked_up_or_connected_to_outside_this_machine(started: Started, token: str) -> None:
    """The last of this file: everything before it has been traced too."""
    trace = started.trace.read_text(errors="replace")
    assert "AF_UNIX" in trace, "the watch sees calls: the worker's broker is a Unix socket"
    assert re.search(r"AF_INET, sin_port=htons\(\d+\), sin_addr=inet_addr\(\"127\.0\.0\.1\"\)", trace), "and the poll of the mirror"
    outside = []
    for line in trace.splitlines():
        for address in re.findall(r"sin_addr=inet_addr\(\"([^\"]+)\"\)", line) + re.findall(r"inet_pton\(AF_INET6, \"([^\"]+)\"", line):
            if not address.startswith("127.") and address not in ("::1", "::ffff:127.0.0.1"):
                outside.append(line)
    assert outside == []
