"""`bin/up`: embedded broker, database, first login, then web, worker and beat in the foreground, all of them or none.

Standard output carries what a person waits for (user, password, health, ready) beside the services' log; this process
logs to stderr. It does not import Django: what lives longest stays small, and prepare.py does the work on the database.
"""

import contextlib
import errno
import fcntl
import ipaddress
import logging.config
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aisoc_admin import embedded, settings
from aisoc_admin.lifeline import tied_to_this_process
from aisoc_admin.supervisor import BrokerEnded, Child, Process, Readiness, Signals, Supervisor

PATIENCE = 2.0  # seconds in which the processes of a killed predecessor may still let go of their ports
QUEUES = "intel,llm,actions"
USAGE = "usage: bin/up — starts everything in the foreground. It takes no arguments; docs/settings.md lists the variables it reads."


class StartError(Exception):
    """Nothing was started; str() is one line for the operator."""

    def __init__(self, line: str, status: int = 1) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the processes listen: the web on PORT, worker and beat health on the next two."""

    bind: str
    web: int
    metrics: int | None = None

    @property
    def worker(self) -> int:
        return self.web + 1

    @property
    def beat(self) -> int:
        return self.web + 2

    @property
    def reached_at(self) -> str:
        """The address under which this machine reaches them."""
        return "127.0.0.1" if self.bind in ("0.0.0.0", "::", "localhost") else self.bind  # noqa: S104  compared, not bound

    def url(self, port: int) -> str:
        return f"http://[{self.reached_at}]:{port}" if ":" in self.reached_at else f"http://{self.reached_at}:{port}"

    def check(self, patience: float = PATIENCE) -> None:
        """Raises StartError unless all of them can be listened on."""
        if self.beat > 65535:
            raise StartError(f"PORT={self.web} leaves no room: worker and beat health need the next two ports. Example: PORT=8000", 2)
        if self.bind != "localhost":
            try:
                ipaddress.ip_address(self.bind)
            except ValueError:
                raise StartError(f"AISOC_BIND={self.bind!r} is not an IP address. Example: AISOC_BIND=0.0.0.0", 2) from None
        if self.metrics in (self.web, self.worker, self.beat):
            raise StartError(
                f"AISOC_METRICS_PORT={self.metrics} is one of {self.web}, {self.worker} and {self.beat}, which PORT takes. Example: 9100", 2
            )
        deadline = time.monotonic() + patience
        wanted = [(self.web, "PORT, of the web"), (self.worker, "PORT+1, of the worker's health"), (self.beat, "PORT+2, of beat's health")]
        for port, what in [*wanted, *([(self.metrics, "AISOC_METRICS_PORT, of beat's metrics")] if self.metrics else [])]:
            while (problem := self._problem(port)) == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.05)
            if problem == errno.EADDRNOTAVAIL:
                raise StartError(f"AISOC_BIND={self.bind} is not an address of this machine. Example: AISOC_BIND=127.0.0.1", 2)
            if problem:
                other = self.web + 100 if self.web < 65000 else 8100
                example = "AISOC_METRICS_PORT=9101" if port == self.metrics else f"PORT={other}"
                raise StartError(
                    f"Port {port} ({what}) cannot be used: {os.strerror(problem)}. Free it or choose another, for example {example} bin/up"
                )

    def _problem(self, port: int) -> int:
        """The errno of binding there, 0 when it goes well."""
        with socket.socket(socket.AF_INET6 if ":" in self.bind else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.bind, port))
            except OSError as error:
                return error.errno or errno.EINVAL
        return 0


@contextlib.contextmanager
def only_instance(data_dir: Path) -> Iterator[None]:
    """Hold the data folder against a second bin/up. Raises StartError."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"AISOC_DATA_DIR={data_dir} cannot be written ({error.strerror}). Use a folder that this user owns.", 2) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace") or "unknown"
            raise StartError(f"AiSOC Admin already runs on {data_dir} (pid {pid}). Stop that one, or use another AISOC_DATA_DIR and PORT.") from None
        except OSError as error:
            raise StartError(f"AISOC_DATA_DIR={data_dir} cannot be locked ({error.strerror}). Use a folder on a local disk.") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def spawner(*arguments: str, service: str = "", health_port: int | None = None, metrics: bool = False) -> Callable[[], Process]:
    """Starts `python -m arguments…` as the leader of its own session; the kernel kills it when this process ends."""
    environment = dict(os.environ)  # noqa: TID251  handed on as it is, not read
    environment.pop("AISOC_HEALTH_PORT", None)
    if not metrics:
        environment.pop("AISOC_METRICS_PORT", None)
    if service:
        environment.setdefault("AISOC_SERVICE", service)
    if health_port is not None:
        environment["AISOC_HEALTH_PORT"] = str(health_port)
    command = [sys.executable, "-m", *arguments]

    def spawn() -> Process:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=settings.BASE_DIR,
            start_new_session=True,
            umask=0o077,  # database, spool and secrets are for this user alone
            preexec_fn=tied_to_this_process(signal.SIGKILL),
        )

    return spawn


def services(ports: Ports) -> tuple[Child, Child, Child]:
    """Beat, web and worker, in the order in which they are stopped: what makes work first."""
    celery = ("celery", "--quiet", "-A", "aisoc_admin.celery")
    name = f"worker-{os.getpid()}@%h"  # several deployments may share one broker
    pool = ("--pool", "prefork", "--concurrency", "2", "--queues", QUEUES, "--without-gossip", "--without-mingle")
    gunicorn = ("gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application")
    scheduler = ("beat", "-l", "INFO", "-S", "aisoc_admin.scheduler:LeasedScheduler")
    beat = spawner(*celery, *scheduler, service="threatintel", health_port=ports.beat, metrics=True)
    web = spawner(*gunicorn, service="api")
    worker = spawner(*celery, "worker", "-l", "INFO", "-n", name, *pool, service="threatintel", health_port=ports.worker)
    return Child("beat", beat), Child("web", web), Child("worker", worker)


def run() -> int:
    """Raises StartError."""
    logging.config.dictConfig(settings.LOGGING)
    ports = Ports(settings.BIND, settings.ENV.port, settings.METRICS_PORT)
    data_dir: Path = settings.DATA_DIR
    with only_instance(data_dir):
        ports.check()
        beat, web, worker = services(ports)
        supervisor = Supervisor(
            signals=Signals(),
            broker=Child("valkey", lambda: embedded.start(data_dir)) if settings.BROKER_IS_EMBEDDED else None,
            broker_answers=lambda: embedded.is_answering(data_dir),
            prepare=spawner("aisoc_admin.prepare"),
            services=(beat, web, worker),
            web=web,
            readiness=Readiness(ports.reached_at, ports.web, settings.ALLOWED_HOSTS[0].removeprefix(".")),
            on_started=lambda: say(f"health: {ports.url(ports.worker)}", f"health: {ports.url(ports.beat)}"),
            on_ready=lambda: say(f"ready: {ports.url(ports.web)}"),
        )
        try:
            return supervisor.run()
        except embedded.EmbeddedError as error:
            raise StartError(str(error)) from None
        except BrokerEnded:
            raise StartError(f"The embedded Valkey ended at once: {embedded.last_words(data_dir)}") from None


def say(*lines: str) -> None:
    """Each in one write: the services write to the same stream, and print() may need two."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def main() -> int:
    if len(sys.argv) > 1:
        asked = sys.argv[1:] in (["-h"], ["--help"])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        return run()
    except StartError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.status
    except KeyboardInterrupt:  # before the signals are ours
        return 130


if __name__ == "__main__":
    sys.exit(main())
