"""The spool: bounded, and nothing that was counted is lost or counted twice by whoever reads it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airgap import spool as spool_module
from airgap.segments import OTHER, SEGMENT_BYTES, SLOTS, Key, Record, waiting_segments
from airgap.spool import MAX_HOSTS, MAX_KEYS, Spool
from tests.conftest import ROOT

NOW = 1_750_000_020.0


def key(host: str = "api.openai.com", path: str = "/v1", **other: str) -> Key:
    return (host, 443, path, other.get("rule", "public"), "http", other.get("purpose", "test"), other.get("tenant", ""), "tests")


def read_all(folder: Path) -> list[Record]:
    return [record for waiting in waiting_segments(folder) for record in waiting.read().records]


def read_and_remove(folder: Path) -> list[Record]:
    """What a drain does."""
    records = []
    for waiting in waiting_segments(folder):
        records += waiting.read().records
        waiting.remove()
    return records


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, service="api")


def test_the_same_attempt_again_takes_no_more_room(spool: Spool, tmp_path: Path) -> None:
    for number in range(10_000):
        spool.add(key(), "public", NOW + number / 1000)
    spool.seal()
    (record,) = read_all(tmp_path)
    assert (record.count, record.key, record.minute) == (10_000, key(), 1_749_999_960 // 60 * 60 + 60)
    assert (record.first_seen, record.last_seen) == (NOW, NOW + 9.999)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [SEGMENT_BYTES]


def test_another_minute_host_path_rule_or_tenant_is_another_record(spool: Spool, tmp_path: Path) -> None:
    spool.add(key(), "", NOW)
    spool.add(key(), "", NOW + 60)
    spool.add(key("other.example"), "", NOW)
    spool.add(key(path="/v2"), "", NOW)
    spool.add(key(rule="malformed"), "", NOW)
    spool.add(key(tenant="acme"), "", NOW)
    spool.seal()
    assert len(read_all(tmp_path)) == 6


def test_random_host_names_fill_neither_disk_nor_rows_and_all_are_counted(spool: Spool, tmp_path: Path) -> None:
    for number in range(50_000):
        spool.add(key(f"h{number}.example.com"), "public", NOW)
    spool.seal()
    records = read_all(tmp_path)
    assert sum(record.count for record in records) == 50_000
    assert len(records) == MAX_HOSTS + 1
    assert next(record.count for record in records if record.key[0] == OTHER) == 50_000 - MAX_HOSTS
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == SEGMENT_BYTES


def test_random_paths_of_a_host_are_bounded_and_counted(spool: Spool, tmp_path: Path) -> None:
    for number in range(1000):
        spool.add(key(path=f"/p{number}"), "", NOW)
    spool.seal()
    records = read_all(tmp_path)
    assert len(records) == MAX_KEYS + 1
    assert sum(record.count for record in records) == 1000


def test_full_segments_are_bounded_and_what_does_not_fit_is_spooled_once_there_is_room(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MAX_SEGMENTS", 3)
    added = 0
    for minute in range(20):
        for number in range(MAX_HOSTS):
            spool.add(key(f"h{number}.example.com"), "", NOW + 60 * minute)
            added += 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * SEGMENT_BYTES
    assert 0 < spool.overflowed == spool.take_untold()
    assert spool.take_untold() == 0
    drained = read_and_remove(tmp_path)
    spool.seal()
    assert spool.overflowed == 0
    drained += read_and_remove(tmp_path)
    spool.seal()
    drained += read_and_remove(tmp_path)
    assert sum(record.count for record in drained) == added
    late = [record for record in drained if "no room" in record.reason]
    assert {record.key for record in late} == {(OTHER, 0, "", "public", "http", "", "", "")}
    assert {record.minute for record in late} < {int(NOW) // 60 * 60 + 60 * minute for minute in range(20)}


def test_a_disk_without_room_loses_no_count(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for second in range(100):
            spool.add(key(), "", NOW + second)
        spool.seal()
        assert (spool.overflowed, spool.take_untold()) == (100, 100)
        assert list(tmp_path.iterdir()) == []
    spool.seal()
    assert [(record.key[0], record.count) for record in sorted(read_all(tmp_path), key=lambda record: record.minute)] == [(OTHER, 60), (OTHER, 40)]


def test_memory_stays_bounded_on_a_disk_that_is_full_for_days(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MAX_OVERFLOW", 10)
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    for minute in range(500):
        spool.add(key(rule=("public", "malformed")[minute % 2]), "", NOW + 60 * minute)
    assert spool.overflowed == 500
    assert len(spool._overflow) == 10


def test_a_folder_that_cannot_be_made_loses_no_count(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = Spool(tmp_path / "file" / "spool", service="api")
    spool.add(key(), "", NOW)
    assert spool.overflowed == 1
    (tmp_path / "file").unlink()
    spool.seal()
    assert [record.count for record in read_all(tmp_path / "file" / "spool")] == [1]


def test_threads_lose_no_count(spool: Spool, tmp_path: Path) -> None:
    def add() -> None:
        for _ in range(2000):
            spool.add(key(), "", NOW)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.seal()
    assert sum(record.count for record in read_all(tmp_path)) == 16_000


def test_a_forked_child_spools_for_itself_while_other_threads_write(spool: Spool, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            spool.add(key("parent.example"), "", NOW)

    writer = threading.Thread(target=write)
    writer.start()
    children = []
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            for _ in range(10):
                spool.add(key("child.example"), "", NOW)
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    writer.join()
    spool.seal()
    counts: dict[str, int] = {}
    for record in read_all(tmp_path):
        counts[record.key[0]] = counts.get(record.key[0], 0) + record.count
    assert counts["child.example"] == 200


def test_a_live_writers_segment_is_left_alone_and_a_dead_ones_is_adopted(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from airgap.spool import Spool
spool = Spool(Path({str(tmp_path)!r}), service="threatintel")
for _ in range(7):
    spool.add(("h.example", 443, "/", "public", "http", "test", "", "x"), "why", time.time())
print("written", flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    assert list(waiting_segments(tmp_path)) == []
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (segment,) = [waiting.read() for waiting in waiting_segments(tmp_path)]
    assert (segment.service, [record.count for record in segment.records]) == ("threatintel", [7])
    assert segment.process.endswith(f":{child.pid}")


def test_the_longest_fields_fit_a_slot(spool: Spool, tmp_path: Path) -> None:
    long: Key = ("h" * 253, 65535, "/" + "p" * 200, "private_name_public_answer", "connect", "ü" * 60, "ü" * 60, "ü" * 100)
    spool.add(long, "ü" * 5000, NOW)
    spool.seal()
    (record,) = read_all(tmp_path)
    assert record.count == 1
    assert record.key[0] == "h" * 253
    assert record.key[3] == "private_name_public_answer"


def test_a_torn_slot_is_passed_over_and_a_foreign_file_is_an_error(spool: Spool, tmp_path: Path) -> None:
    spool.add(key("a.example"), "", NOW)
    spool.add(key("b.example"), "", NOW)
    spool.seal()
    (path,) = tmp_path.glob("*.sealed")
    content = bytearray(path.read_bytes())
    content[16 + 1024 + 40] ^= 0xFF  # inside the first data slot's JSON
    path.write_bytes(content)
    (record,) = read_all(tmp_path)
    assert record.key[0] == "b.example"
    (tmp_path / "foreign.sealed").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a whole spool segment"):
        read_all(tmp_path)


def test_slots_hold_more_than_a_minute_of_hosts() -> None:
    assert SLOTS > MAX_HOSTS + 1


def test_spooling_a_repeat_is_one_system_call(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.add(key(), "", NOW)
    calls = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *args: calls.append(args) or real(*args))
    spool.add(key(), "", NOW + 1)
    assert len(calls) == 1


def test_the_clock_going_back_is_harmless(spool: Spool, tmp_path: Path) -> None:
    spool.add(key(), "", NOW)
    spool.add(key(), "", NOW - 3600)
    spool.add(key(), "", NOW)
    spool.seal()
    assert sorted(record.count for record in read_all(tmp_path)) == [1, 2]
