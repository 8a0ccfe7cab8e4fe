"""No attempt that its caller saw refused is missing from the counts, and none is counted twice: kill -9, full disk, dead database, floods."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import OperationalError, connections
from django.db.models import Sum

from airgap import chain, drain, events
from airgap import spool as spool_module
from airgap.active import deployment_key
from airgap.models import DrainedSegment, EgressEvent, EgressTotal, TrailHead
from airgap.policy import Rule
from airgap.segments import SEGMENT_BYTES, WaitingSegment
from airgap.spool import MAX_SEGMENTS, Spool
from tests.conftest import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
BURST = """
import os, socket, sys
from pathlib import Path
from airgap import guard
from airgap.blocked import AirgapBlocked
from airgap.policy import EgressPolicy
guard.install(EgressPolicy.from_text("1", ""), Path(sys.argv[1]))
seen = 0
while True:
    try:
        socket.create_connection((f"h{seen % 500}.example.com", 443))
    except AirgapBlocked:
        seen += 1
        os.write(int(sys.argv[2]), b"x")
"""


def counted() -> int:
    return EgressEvent.objects.aggregate(n=Sum("count"))["n"] or 0


def totals() -> set[int]:
    return {EgressTotal.objects.filter(span=span).aggregate(n=Sum("count"))["n"] or 0 for span in EgressTotal.Span.values}


def is_whole() -> bool:
    key = deployment_key()
    return not list(chain.verify({key.fingerprint: key.public}))


def flood(spool: Spool, attempts: int, host: Callable[[int], str], now: float) -> None:
    for number in range(attempts):
        spool.add((host(number), 443, "/", "public", "dns", "guard", "", "x"), "why", now)


def test_kill_9_in_a_burst_of_refusals_loses_none_that_its_caller_saw(spool_dir: Path) -> None:
    for _ in range(5):
        read, write = os.pipe()
        child = subprocess.Popen(
            [sys.executable, "-c", BURST, str(spool_dir), str(write)],
            cwd=ROOT, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with open(read, "rb") as told:
            first = told.read(1)  # it has begun
            time.sleep(random.uniform(0.05, 0.5))
            child.send_signal(signal.SIGKILL)
            seen = len(first + told.read())
        child.wait()
        before = counted()
        drain.drain()
        assert seen <= counted() - before <= seen + 1, "at most the one that was on disk and not yet raised"
    assert totals() == {counted()}
    assert is_whole()


def test_a_database_that_is_away_for_a_minute_costs_nothing(spool_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of rounds, two seconds apart on the spool's clock, each with refusals; then the database is back."""
    recorder = events.recorder()
    assert recorder is not None
    clock = [1_750_000_000.0]
    monkeypatch.setattr(events.time, "time", lambda: clock[0])

    def away(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(DrainedSegment.objects, "bulk_create", away)
        for _ in range(30):
            for number in range(50):
                events.record(events.Refusal(f"h{number}.example.com", 443, Rule.PUBLIC, "why", events.Layer.DNS))
            assert "away" in drain.drain_quietly()
            clock[0] += 2
    assert (counted(), len(list(spool_dir.iterdir())) <= 2) == (0, True)
    assert drain.drain() == 30 * 50
    assert counted() == 30 * 50
    assert totals() == {30 * 50}
    assert drain.drain() == 0
    assert is_whole()


def test_a_million_random_hosts_are_all_counted_and_fill_neither_disk_nor_table(spool_dir: Path) -> None:
    spool = Spool(spool_dir, service="api")
    now = time.time()
    for minute in range(4):
        flood(spool, 250_000, lambda number, minute=minute: f"{number:x}.{minute}.example.com", now + 60 * minute)
    assert sum(path.stat().st_size for path in spool_dir.iterdir()) <= (MAX_SEGMENTS + 1) * SEGMENT_BYTES
    for _ in range(3):
        spool.seal()
        drain.drain()
    assert (counted(), spool.overflowed) == (1_000_000, 0)
    assert totals() == {1_000_000}
    assert EgressEvent.objects.count() <= 4 * (spool_module.MAX_HOSTS + 1)
    assert is_whole()


def test_processes_that_drain_at_once_count_everything_once(spool_dir: Path) -> None:
    """Real processes with connections of their own; each also refuses while it drains."""
    spool = Spool(spool_dir, service="api")
    for minute in range(12):
        flood(spool, 100, lambda number: f"h{number}.example.com", 1_750_000_000 + 60 * minute)
        spool._waiting = lambda: 0  # type: ignore[method-assign]  # hand over each minute by itself
        spool.seal()
    connections.close_all()
    children = []
    for _ in range(4):  # the first of them also makes the trail's head, which the others must not miss
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for _ in range(5):
                    events.record(events.Refusal("child.example.com", 443, Rule.PUBLIC, "why", events.Layer.DNS))
                    assert drain.drain_quietly() == ""
                connections.close_all()
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    drain.drain()
    assert counted() == 12 * 100 + 4 * 5
    assert totals() == {counted()}
    assert list(spool_dir.glob("*.se*")) == []
    assert is_whole()


ON_A_SMALL_DISK = """
import json, os, sys, time
from pathlib import Path
from airgap.segments import waiting_segments
from airgap.spool import Spool
folder = Path(sys.argv[1])
spool = Spool(folder / "spool", service="api")
for number in range(30_000):  # 30 minutes of 1,000 hosts: far more than the disk holds
    spool.add((f"h{number}.example.com", 443, "/", "public", "dns", "guard", "", "x"), "why", 1_750_000_000 + 60 * (number // 1000))
full, in_memory, counted = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize, spool.overflowed, 0
for _ in range(5):  # the drain comes, and there is room again
    for waiting in waiting_segments(folder / "spool"):
        counted += sum(record.count for record in waiting.read().records)
        waiting.remove()
    spool.seal()
print(json.dumps({"free": full, "in_memory": in_memory, "counted": counted, "left": spool.overflowed}))
"""


def test_a_full_spool_disk_loses_no_count(tmp_path: Path) -> None:
    """A real file system of three megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=3m tmpfs "$1" && shift && exec "$@"', "sh", str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("A file system of its own (unshare -rm, mount -t tmpfs) is not to be had here.")
    done = subprocess.run(
        [*mounted, sys.executable, "-c", ON_A_SMALL_DISK, str(disk)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["free"] < SEGMENT_BYTES, "the disk was full"
    assert told["in_memory"] > 0
    assert (told["counted"], told["left"]) == (30_000, 0)


# ── What a second attack found ───────────────────────────────────────────────────────────────────────────────────────
INTERRUPTED = """
import json, signal, sys, time
from pathlib import Path
from airgap.segments import waiting_segments
from airgap.spool import Spool
class Enough(Exception):
    pass
def interrupt(*_):
    raise Enough
signal.signal(signal.SIGALRM, interrupt)
folder, returned, added = Path(sys.argv[1]), 0, 0
for attempt in range(400):
    spool = Spool(folder, service="api")
    spool._born += attempt
    for number in range(3):
        added += 1
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00002 + (attempt * 3 + number) % 60 * 0.00001)
            spool.add((f"h{number}", 443, "/", "public", "dns", "", "", ""), "why", 1_750_000_000.0)
            returned += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Enough:
            pass  # it comes once
    spool.seal()
    spool.close()
counted = 0
for waiting in waiting_segments(folder):
    counted += sum(record.count for record in waiting.read().records)
print(json.dumps({"returned": returned, "added": added, "counted": counted}))
"""


def test_an_exception_out_of_a_signal_handler_breaks_no_spool_and_loses_nothing_that_returned(
    spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Celery's soft time limit raises, inside whatever runs."""
    code = INTERRUPTED.replace(
        "from airgap.spool import Spool", "import airgap.spool\nairgap.spool.MAX_FILES = 10_000\nfrom airgap.spool import Spool"
    )
    done = subprocess.run([sys.executable, "-c", code, str(spool_dir)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["returned"] < told["added"], "some were interrupted"
    assert told["returned"] <= told["counted"] <= told["added"]


def attempt(host: str) -> None:
    events.record(events.Refusal(host, 443, Rule.PUBLIC, "why", events.Layer.DNS))


def test_a_recorder_that_is_replaced_hands_over_what_it_holds(spool_dir: Path, tmp_path: Path) -> None:
    attempt("first.example")
    before = events.recorder()
    events.configure(spool_dir, service="api")
    assert events.recorder() is before, "the same folder and service: nothing to replace"
    events.configure(spool_dir, service="threatintel")
    attempt("second.example")
    assert drain.drain() == 2
    assert sorted(EgressEvent.objects.values_list("host", "service")) == [("first.example", "api"), ("second.example", "threatintel")]


def test_a_file_that_cannot_be_removed_is_counted_once_and_holds_up_none(spool_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spools = [Spool(spool_dir, service="api") for _ in range(40)]
    for number, spool in enumerate(spools):
        spool._born += number
        flood(spool, 1, lambda _number, number=number: f"h{number}.example.com", time.time())
        spool.seal()
    stuck = sorted(spool_dir.glob("*.sealed"))[3]
    real = drain.WaitingSegment.remove

    def remove(self: WaitingSegment) -> None:
        if self.path == stuck:
            raise PermissionError("sticky")
        real(self)

    monkeypatch.setattr(drain.WaitingSegment, "remove", remove)
    assert drain.drain() == 40
    assert drain.drain() == 0
    assert [path.name for path in spool_dir.iterdir()] == [stuck.name]
    assert counted() == 40


def test_a_forged_receipt_makes_no_attempt_vanish(spool_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    attempt("a.example")
    recorder = events.recorder()
    assert recorder is not None
    recorder.spool.seal()
    (file,) = spool_dir.glob("*.sealed")
    DrainedSegment.objects.create(name=file.stem, digest="0" * 64, drained_at="2026-01-31T12:00:00Z")
    TrailHead.objects.create(digest=chain.GENESIS, start=chain.GENESIS, removed_digest=chain.GENESIS, signature="", key="")
    drain.drain()
    assert [path.suffix for path in spool_dir.iterdir()] == [".damaged"]
    assert "airgap.spool_damaged" in [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]


def test_drafts_of_killed_writers_are_removed_and_young_ones_are_not(spool_dir: Path) -> None:
    spool_dir.mkdir()
    for name, age in (("old", 120), ("young", 1)):
        (spool_dir / f"{name}.tmp").touch()
        os.utime(spool_dir / f"{name}.tmp", (time.time() - age,) * 2)
    drain.drain()
    assert [path.name for path in spool_dir.iterdir()] == ["young.tmp"]
