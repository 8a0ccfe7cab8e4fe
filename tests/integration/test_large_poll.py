"""A large poll, killed at ten random points: the rows of an undisturbed one, nothing lost and nothing twice.

LARGE_POLL_INDICATORS=20000 makes it a fifth as large, LARGE_POLL_SEED repeats one choice of points.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import ROOT
from tests.plugins.mirror import Mirror, body

INDICATORS = int(os.environ.get("LARGE_POLL_INDICATORS", "100000"))
LIMIT, KILLS = INDICATORS // 100, 10
SAME_MOMENT = 7 * LIMIT  # objects that the server added at one moment: several pages of them
COLLECTION = "large"
pytestmark = pytest.mark.timeout(400)


def added(number: int) -> str:
    return f"2026-05-01T00:00:{number // SAME_MOMENT:02d}.000001Z"


def stated(number: int) -> str:
    """One object in five names a second address, and every tenth value is another object's too."""
    value = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" if number % 10 else "10.0.0.1"
    pattern = f"[ipv4-addr:value = '{value}']" + (f" OR [domain-name:value = 'h{number}.example']" if number % 5 == 0 else "")
    return json.dumps(
        {
            "type": "indicator", "spec_version": "2.1", "id": f"indicator--00000000-0000-4000-8000-{number:012x}",
            "created": "2026-05-01T00:00:00Z", "modified": "2026-05-01T00:00:00Z", "valid_from": "2026-05-01T00:00:00Z",
            "pattern": pattern, "pattern_type": "stix", "name": f"indicator {number}",
        }
    )  # fmt: skip


class Collection:
    """Pages by `next`, which is forgotten now and then once it was used, as a server may do; `served` wakes who waits for a page."""

    def __init__(self, mirror: Mirror, dice: random.Random) -> None:
        self.dice = dice
        self.objects = [stated(number) for number in range(INDICATORS)]
        self.tokens: dict[str, int] = {}
        self.furthest = 0
        self.served = threading.Condition()
        taxii = "application/taxii+json;version=2.1"
        mirror.answers["/taxii2/"] = body(json.dumps({"title": "t", "api_roots": [f"{mirror.url}/api/"]}).encode(), content_type=taxii)
        mirror.answers[f"/api/collections/{COLLECTION}/objects/"] = self.answer

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
        taxii = "application/taxii+json;version=2.1"
        if "next" in asked:
            first = self.tokens.get(asked["next"], -1)
            if self.dice.random() < 0.5:
                self.tokens.pop(asked["next"], None)
            if first < 0:
                body(b'{"title": "next is not known"}', status=400, content_type=taxii)(handler)
                return
        else:
            first = next((number for number in range(0, INDICATORS, SAME_MOMENT) if added(number) > asked.get("added_after", "")), INDICATORS)
        behind = min(first + LIMIT, INDICATORS)
        more = {}
        if behind < INDICATORS:
            token = f"{random.getrandbits(64):x}"
            self.tokens[token] = behind
            more = {"more": True, "next": token}
        head = json.dumps({**more, "objects": []})[:-2]
        content = f"{head}{','.join(self.objects[first:behind])}]}}".encode()
        headers = {"X-TAXII-Date-Added-First": added(first), "X-TAXII-Date-Added-Last": added(behind - 1)} if first < behind else {}
        body(content, content_type=taxii, headers=headers)(handler)
        with self.served:
            self.furthest = behind
            self.served.notify_all()

    def wait_for(self, number: int, worker: subprocess.Popen[bytes]) -> None:
        """Until the page with that object was sent."""
        self.furthest = 0
        with self.served:
            while self.furthest < number and worker.poll() is None:
                self.served.wait(0.2)


def test_killed_at_ten_random_points(tmp_path: Path, mirror: Mirror) -> None:
    seed = os.environ.get("LARGE_POLL_SEED") or f"{random.getrandbits(32):x}"
    print(f"LARGE_POLL_SEED={seed}")
    dice = random.Random(seed)
    collection = Collection(mirror, random.Random(seed))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "AISOC_DATA_DIR": str(tmp_path),
        "AISOC_AIRGAPPED": "1",
        "TAXII_URL": f"{mirror.url}/taxii2/",
        "TAXII_COLLECTION_IDS": COLLECTION,
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    worker = [sys.executable, "-m", "tests.integration.one_poll", f"taxii:{COLLECTION}"]
    for kill, number in enumerate(sorted(dice.sample(range(INDICATORS - 5 * LIMIT), KILLS))):
        process = subprocess.Popen([*worker, f"kill.{kill}"], cwd=ROOT, env=environment, start_new_session=True)
        collection.wait_for(number, process)
        time.sleep(dice.random() * 0.1)
        assert process.poll() is None, f"kill {kill}: the poll was over before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run([*worker, "last"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    with sqlite3.connect(tmp_path / "aisoc.sqlite3") as database:
        rows = database.execute(
            "SELECT s.external_id, i.type, i.value, s.revoked FROM threatintel_indicatorsource s JOIN threatintel_indicator i ON i.id = s.indicator_id"
        ).fetchall()
        indicators = database.execute("SELECT count(*), count(DISTINCT type || value) FROM threatintel_indicator").fetchone()
        live = database.execute("SELECT live FROM threatintel_feedcursor WHERE feed = ?", [f"taxii:{COLLECTION}"]).fetchone()
    expected = set()
    for number in range(INDICATORS):
        owner = f"indicator--00000000-0000-4000-8000-{number:012x}"
        expected.add((owner, "ipv4-addr", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" if number % 10 else "10.0.0.1", 0))
        if number % 5 == 0:
            expected.add((owner, "domain-name", f"h{number}.example", 0))
    assert len(rows) == len(expected)
    assert set(rows) == expected
    distinct = len({(type, value) for _owner, type, value, _revoked in expected})
    assert indicators == (distinct, distinct)
    assert live == (distinct,)
