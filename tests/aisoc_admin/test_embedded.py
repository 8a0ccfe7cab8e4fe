"""The embedded Valkey: private, without TCP, lasting, and never two on one data folder."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from aisoc_admin import embedded
from tests.plugins.processes import gone, soon

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose path is short enough for a socket."""
    return tmp_path_factory.mktemp("d")


@pytest.fixture
def server() -> Iterator[Callable[[Path], "subprocess.Popen[bytes]"]]:
    """server(folder) starts one and waits for it; all are gone at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> "subprocess.Popen[bytes]":
        process = embedded.start(folder)
        started.append(process)
        embedded.wait_until_answering(folder, process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        embedded.stop(process)


def client(folder: Path) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(embedded.socket_path(folder)))


def test_the_url_is_only_computed(tmp_path: Path) -> None:
    folder = tmp_path / "not there"
    assert embedded.embedded_broker_url(folder).startswith("redis+socket:///")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["plain", "a b;ü#%?&+@:", "l" * 120], ids=["plain", "special", "long"])
def test_kombu_talks_to_the_server_by_its_url(place: Path, name: str) -> None:
    folder = place / name
    folder.mkdir()
    with embedded.running(folder) as url, Connection(url) as connection, connection.SimpleQueue("jobs") as queue:
        queue.put({"feed": "kev"})
        message = queue.get(timeout=2)
        message.ack()
        assert message.payload == {"feed": "kev"}
    if name.startswith("l"):
        shutil.rmtree(embedded.socket_path(folder).parent)  # outside the test's folder, and kept by design


def test_there_is_no_tcp_port_and_only_this_user_can_reach_the_socket(place: Path) -> None:
    with embedded.running(place), client(place) as asked:
        assert asked.config_get("port") == {"port": "0"}
        path = embedded.socket_path(place)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_was_queued_survives_a_killed_server(place: Path, server: Callable[[Path], "subprocess.Popen[bytes]"]) -> None:
    first = server(place)
    with client(place) as asked:
        asked.rpush("jobs", "one")
    first.kill()
    first.wait()
    server(place)
    with client(place) as asked:
        assert asked.lrange("jobs", 0, -1) == [b"one"]


@pytest.mark.parametrize("number", [None, signal.SIGSTOP], ids=["answering", "silent"])
def test_a_stale_server_is_ended_and_replaced(
    place: Path, server: Callable[[Path], "subprocess.Popen[bytes]"], number: signal.Signals | None
) -> None:
    stale = server(place)
    with client(place) as asked:
        asked.rpush("jobs", "one")
    if number:
        stale.send_signal(number)
    fresh = server(place)
    assert stale.wait(5) is not None
    with client(place) as asked:
        assert asked.info("server")["process_id"] == fresh.pid
        assert asked.lrange("jobs", 0, -1) == [b"one"]


def test_a_socket_file_that_nobody_serves_is_in_nobodys_way(place: Path, server: Callable[[Path], "subprocess.Popen[bytes]"]) -> None:
    process = server(place)
    process.kill()
    process.wait()
    assert embedded.socket_path(place).exists()
    assert not embedded.is_answering(place)
    server(place)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_the_server_ends_with_a_killed_parent(place: Path) -> None:
    program = f"import sys, time, pathlib; from aisoc_admin import embedded; print(embedded.start(pathlib.Path({str(place)!r})).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert soon(lambda: embedded.is_answering(place))
        parent.kill()
    assert gone([pid])


def test_a_long_data_folder_gets_a_short_private_place_of_its_own(tmp_path: Path) -> None:
    one, other = (embedded.socket_path(tmp_path / name / ("x" * 100)) for name in ("a", "b"))
    assert one != other
    assert all(len(os.fsencode(path)) < embedded.SOCKET_BYTES for path in (one, other))
    assert one == embedded.socket_path(tmp_path / "a" / ("x" * 100))


def test_a_place_that_somebody_else_made_is_refused(place: Path, tmp_path: Path) -> None:
    (place / "valkey").symlink_to(tmp_path)
    with pytest.raises(embedded.EmbeddedError, match="not a folder of this user"):
        embedded.start(place)


def test_a_place_that_cannot_be_used_is_one_line_with_the_way_out(place: Path) -> None:
    (place / "valkey").touch()
    with pytest.raises(embedded.EmbeddedError, match="CELERY_BROKER_URL") as caught:
        embedded.start(place)
    assert "\n" not in str(caught.value)


def test_a_platform_without_a_server_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(embedded.EmbeddedError, match="CELERY_BROKER_URL"):
        embedded.binary()


def test_a_server_that_cannot_start_says_why(place: Path) -> None:
    (place / "valkey").mkdir(mode=0o700)
    (place / "valkey" / "appendonlydir").touch()
    process = embedded.start(place)
    with pytest.raises(embedded.EmbeddedError, match="appendonlydir"):
        embedded.wait_until_answering(place, process)
