"""Makes `.venv/` at the project's root from a hashed lock. Standard library only: it runs under the machine's bare python3.

A stamp in the environment says for which lock, interpreter and place it was made; while that holds, no installer runs.
"""

import ast
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
ROOT = Path(__file__).resolve().parent.parent
CORE_LOCK = "requirements.txt"
TEST_LOCK = "requirements-dev.txt"
PEERS_LOCK = "requirements-peers.txt"
MODEL_LOCK = "requirements-model.txt"
FAULTS_LOCK = "requirements-faults.txt"
LOCKS = (CORE_LOCK, TEST_LOCK, PEERS_LOCK, MODEL_LOCK, FAULTS_LOCK)
INSTALLER_LOCK = "requirements-uv.txt"
WHOLE = ("--require-hashes", "--no-deps")  # a lock names all that is wanted


class BootstrapError(Exception):
    """The environment cannot be made; str() is one line for the person at the terminal."""


def ready(lock: str, root: Path = ROOT, folder: str = ".venv") -> Path:
    """The interpreter of `.venv/`, or another folder, with everything from `lock`, made or completed first if need be. Ends the process when it cannot."""
    environment = Environment(root, folder)
    try:
        if not environment.has(lock):
            with _one_at_a_time(root):
                if not environment.has(lock):  # another start may have made it while this one waited
                    environment.install(lock)
    except (BootstrapError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    return environment.python


class Environment:
    """`.venv/` below `root` and what is installed in it."""

    def __init__(self, root: Path, folder: str = ".venv") -> None:
        self.root = root
        self.path = root / folder
        self.python = self.path / "bin" / "python"

    def has(self, lock: str) -> bool:
        """Whether `lock` is installed: its stamp names this very lock, Python and place."""
        try:
            return os.access(self.python, os.X_OK) and self._stamp(lock).read_text(encoding="utf-8") == self._stamp_text(lock)
        except (OSError, UnicodeError):
            return False

    def install(self, lock: str) -> None:
        """Raises BootstrapError. An installation that breaks off leaves no stamp behind."""
        if self._usable():
            _say(f"updating {self.path.name} from {lock}…")
        else:
            _say(f"setting up {self.path.name} from {lock} (first start only)…")
            self._make()
        for other in LOCKS:
            self._stamp(other).unlink(missing_ok=True)
        wheelhouse = self.root / "wheelhouse"
        source = ["--no-index", "--find-links", str(wheelhouse)] if wheelhouse.is_dir() else []
        if not self._install_with_uv(lock, source):
            done = self._run(self.python, "-m", "pip", "install", "--quiet", *source, *WHOLE, "-r", self.root / lock)
            if done.returncode != 0:
                advice = (
                    "wheelhouse/ does not hold them all for this Python and machine."
                    if source
                    else "The package index cannot be reached or lacks some. Set your mirror in pip.conf or, offline, put the wheels into wheelhouse/."
                )
                raise BootstrapError(f"{_tail(done.stdout)}\nThe packages of {lock} cannot be installed. {advice}")
        for installed in LOCKS:  # the tests' lock pins the product's packages too, and the same
            if (self.root / installed).is_file() and covers(self.root / lock, self.root / installed):
                self._stamp(installed).write_text(self._stamp_text(installed), encoding="utf-8")

    def _make(self) -> None:
        if importlib.util.find_spec("ensurepip") is None:
            raise BootstrapError(f"This Python comes without venv. Install it and start again, on Debian: apt-get install python{PYTHON}-venv")
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink()
        elif self.path.exists():
            shutil.rmtree(self.path)
        done = self._run(sys.executable, "-m", "venv", self.path)
        if done.returncode != 0:
            raise BootstrapError(f"{_tail(done.stdout)}\nPython cannot make {self.path}.")

    def _install_with_uv(self, lock: str, source: list[str]) -> bool:
        """uv is several times as fast as pip and checks the same hashes. Whatever goes wrong, pip has the last word."""
        pip = (self.python, "-m", "pip")
        installer = self._run(*pip, "install", "--quiet", "--retries", "1", *source, "--require-hashes", "-r", self.root / INSTALLER_LOCK)
        if installer.returncode != 0:
            return False
        where = {} if source else _as_uv_reads_it(self._run(*pip, "config", "list").stdout)
        where = {name: value for name, value in where.items() if name not in os.environ}  # noqa: TID251  what the site set for uv itself wins
        command = (self.path / "bin" / "uv", "pip", "install", "--quiet", "--python", self.python, "--compile-bytecode")
        return self._run(*command, *source, *WHOLE, "-r", self.root / lock, **where).returncode == 0

    def _usable(self) -> bool:
        """Whether packages may be added: it runs, belongs to the Python running now, has pip, and was not moved here."""
        try:
            script = (self.path / "bin" / "pip").read_bytes()[:512]
            probe = self._run(self.python, "-c", "import pip, sys; print(sys.version_info[:2], sys.prefix)")
        except OSError:
            return False
        return probe.stdout.strip() == f"{sys.version_info[:2]} {self.path}" and os.fsencode(self.path) in script

    def _run(self, *command: str | Path, **extra: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **extra}  # noqa: TID251
        words = [str(word) for word in command]
        return subprocess.run(
            words, env=environment, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )

    def _stamp(self, lock: str) -> Path:
        return self.path / f".installed-{lock}"

    def _stamp_text(self, lock: str) -> str:
        digest = hashlib.sha256((self.root / lock).read_bytes()).hexdigest()
        return json.dumps({"sha256": digest, "python": PYTHON, "path": str(self.path)})


def covers(larger: Path, smaller: Path) -> bool:
    """Whether installing `larger` installs all of `smaller`: it pins the same, under the same marker or under none."""
    pinned = _pins(larger)
    return all(pin in pinned or pin.split(" ; ", 1)[0] in pinned for pin in _pins(smaller))


def _pins(lock: Path) -> set[str]:
    """`name==version` and marker of each requirement, without the hashes."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return {line.rstrip(" \\") for line in lines if re.match(r"[A-Za-z0-9]", line)}


def _as_uv_reads_it(config: str) -> Mapping[str, str]:
    """A site's pip settings (`pip config list`) that uv would not see, as uv's environment variables."""
    found: dict[str, str] = {}
    for scope in ("global", "install", ":env:"):  # the later one wins, as in pip
        for name, raw in re.findall(rf"(?m)^{re.escape(scope)}\.([a-z-]+)=('.*'|\".*\")$", config):
            found[name] = ast.literal_eval(raw)
    names = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
    variables = {names[name]: value for name, value in found.items() if name in names}
    return {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_PYTHON_DOWNLOADS": "never", **variables}


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """A lock on the project's folder itself: nothing to clean up, and gone with the process."""
    folder = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another start is setting up .venv; waiting for it…")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _tail(output: str) -> str:
    return "\n".join(output.rstrip().splitlines()[-12:])


def _say(line: str) -> None:
    print(line, flush=True)
