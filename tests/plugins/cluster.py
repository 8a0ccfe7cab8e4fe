"""A production deployment of several hosts on one machine: two webs, three workers, two schedulers, one PostgreSQL, one Valkey.

Each host has a data folder of its own. The product runs as the role of deploy/postgresql/init/, its migrations as the owner.
"""

import contextlib
import http.client
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg

from aisoc_admin import embedded
from tests.plugins.processes import free_port, soon

ROOT = Path(__file__).resolve().parents[2]
CELERY = ("-m", "celery", "--quiet", "-A", "aisoc_admin.celery")
WORKER = ("worker", "-l", "INFO", "--pool", "prefork", "--concurrency", "1", "--queues", "intel,llm,actions", "--without-gossip", "--without-mingle")
WEB = ("-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application")
BEAT = ("beat", "-l", "INFO", "-S", "aisoc_admin.scheduler:LeasedScheduler")
HOSTS = {"web-1": 1, "worker-1": 1, "beat-1": 1, "web-2": 2, "worker-2": 2, "beat-2": 2, "worker-3": 2}
WEBS = ("web-1", "web-2")
HEADERS = {"Host": "aisoc.corp", "X-Forwarded-Proto": "https", "Connection": "close"}


class NoDatabase(Exception):
    """This machine cannot run a PostgreSQL of its own."""


@dataclass
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Cluster:
    folder: Path
    server: str  # the superuser's address of the database server, without a database
    environment: dict[str, str]
    ports: dict[str, int]
    valkey: "subprocess.Popen[bytes] | None" = None
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    token: str = ""
    _turn: "Iterator[int]" = field(default_factory=itertools.count)

    def manage(self, *words: str, **variables: str) -> str:
        environment = {**self.environment, "AISOC_DATA_DIR": str(self.folder / "1"), **variables}
        done = subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str) -> None:
        kind = name.partition("-")[0]
        own = {"AISOC_DATA_DIR": str(self.folder / str(HOSTS[name])), "AISOC_SERVICE": "api" if kind == "web" else "threatintel"}
        own["PORT" if kind == "web" else "AISOC_HEALTH_PORT"] = str(self.ports[name])
        words = {"web": WEB, "worker": (*CELERY, *WORKER, "-n", f"{name}@%h"), "beat": (*CELERY, *BEAT)}[kind]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env={**self.environment, **own}, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """SIGKILL to the process and what it forked, as when its host loses power."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        process.wait(30)

    def start_broker(self) -> None:
        self.valkey = embedded.start(self.folder)
        embedded.wait_until_answering(self.folder, self.valkey)

    def stop_broker(self) -> None:
        assert self.valkey is not None
        embedded.stop(self.valkey)

    def close(self) -> None:
        for name in list(self.processes):
            with contextlib.suppress(ProcessLookupError):
                self.kill(name)
        self.stop_broker()

    def sql(self, statement: str, *, user: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(host=self.server, user=user, dbname="aisoc", autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def shut_database(self) -> None:
        """Cut every connection of the product and let none in."""
        self.sql("ALTER ROLE aisoc_app NOLOGIN")
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aisoc_app'")

    def open_database(self) -> None:
        self.sql("ALTER ROLE aisoc_app LOGIN")

    def ask(self, name: str, path: str, *, token: bool = True, body: bytes | None = None) -> Answer:
        """One request to one process. Raises OSError or http.client.HTTPException."""
        headers = HEADERS | ({"Authorization": f"Token {self.token}"} if token else {})
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=30)) as connection:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())

    def balanced(self, path: str, *, body: bytes | None = None) -> Answer:
        """As a load balancer in front: the webs in turn; one that does not answer at all is passed over, as `proxy_next_upstream error` does."""
        first = next(self._turn) % 2
        try:
            return self.ask(WEBS[first], path, body=body)
        except (OSError, http.client.HTTPException):
            return self.ask(WEBS[1 - first], path, body=body)

    def is_ready(self, name: str) -> bool:
        return self._all_say(name, "/ready", lambda answer: answer.status == 200)

    def is_unready(self, name: str) -> bool:
        return self._all_say(name, "/ready", lambda answer: answer.status == 503)

    def is_whole(self, name: str) -> bool:
        return self._all_say(name, "/health", lambda answer: answer.json()["status"] == "ok")

    def is_degraded(self, name: str, check: str) -> bool:
        return self._all_say(name, "/health", lambda answer: answer.json()["checks"][check].startswith("away"))

    def _all_say(self, name: str, path: str, says: Callable[[Answer], bool]) -> bool:
        """Whether each of several answers says so: a web has two workers, each with checks of its own."""
        try:
            return all(says(self.ask(name, path, token=False)) for _ in range(12 if name in WEBS else 1))
        except (OSError, http.client.HTTPException):
            return False

    def leader(self) -> str:
        """The scheduler that holds the lease."""
        ((holder,),) = self.sql("SELECT holder FROM threatintel_schedulerlease")
        pid = int(holder.split(":")[1]) if holder else 0
        return next((name for name, process in self.processes.items() if process.pid == pid), "")

    def runs(self) -> list[tuple[str, str, int]]:
        """Slot, state and attempts of each poll."""
        return self.sql("SELECT slot, state, attempt FROM threatintel_feedrun ORDER BY id")

    def logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2500:]}" for path in sorted(self.folder.glob("*.log")))


def gates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gates", ROOT / "bin" / "gates.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gates"] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def cluster(**variables: str) -> Iterator[Cluster]:
    """All seven processes, ready. Raises NoDatabase."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aisoc-c-")))
        try:
            url = stack.enter_context(gates().postgresql())
        except Exception as error:  # whatever a machine lacks for it: a wheel, a user, shared memory
            raise NoDatabase(f"PostgreSQL does not start here ({type(error).__name__}: {error})") from None
        server = url.removeprefix("postgres://postgres@/").rpartition("/")[0]
        ports = dict(zip(HOSTS, itertools.count(free_port(len(HOSTS))), strict=False))
        for number in set(HOSTS.values()):
            (folder / str(number)).mkdir(mode=0o700)
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "AISOC_ENVIRONMENT": "production", "AISOC_AIRGAPPED": "1",
            "SECRET_KEY": "correct-horse-battery-staple-and-some-more-characters-0123456789", "ALLOWED_HOSTS": "aisoc.corp", "AISOC_WEB_HOSTS": "2",
            "AISOC_CREDENTIAL_KEY": "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy0hISEhISEhISE=", "AISOC_SIGNING_KEY": "c2lnbmluZy1rZXktb2YtMzItYnl0ZXMtISEhISEhISE=",
            "AISOC_TRUSTED_PROXIES": "127.0.0.1", "DATABASE_URL": f"postgres://aisoc_app@/{server}/aisoc",
            "CELERY_BROKER_URL": embedded.embedded_broker_url(folder), **variables,
        }  # fmt: skip
        made = Cluster(folder, server, environment, ports)
        with psycopg.connect(host=server, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE aisoc")
        made.sql((ROOT / "deploy" / "postgresql" / "init" / "1-roles.sql").read_text(encoding="utf-8"))
        made.manage("migrate", "-v0", DATABASE_URL=environment["DATABASE_URL"].replace("aisoc_app", "aisoc_owner"))
        made.token = made.manage("create_token", "olga", "--role", "operator").splitlines()[-1]
        made.start_broker()
        stack.callback(made.close)
        for name in HOSTS:
            made.start(name)
        assert soon(lambda: all(made.is_ready(name) for name in HOSTS), 90), made.logs()
        yield made


def wait(true: Any, seconds: float, of: Cluster) -> None:
    began = time.monotonic()
    assert soon(true, seconds), f"not within {time.monotonic() - began:.0f} s\n{of.runs()}\n{of.logs()}"
