"""What AISOC_ENVIRONMENT=production refuses to start on. Reads settings and file modes; opens no connection.

A production deployment has the secrets it was given and none that it made up, a broker that outlives a host, a database
that all of its hosts share, and secret files that no other user of the machine can read.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent  # a relative AISOC_DATA_DIR is below it, wherever a command is typed
REQUIRED = ("secret_key", "allowed_hosts", "credential_key")


class Settings(Protocol):
    """The part of env.Environment that is looked at here."""

    @property
    def allowed_hosts(self) -> tuple[str, ...]: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def credential_key(self) -> str: ...
    @property
    def signing_key(self) -> str: ...
    @property
    def broker_url(self) -> str: ...
    @property
    def database_url(self) -> str: ...
    @property
    def data_dir(self) -> str: ...
    @property
    def web_hosts(self) -> int: ...


def unsafe(environment: Settings, specs: Iterable[tuple[str, Mapping[str, Any]]], source: Mapping[str, str]) -> Iterator[str]:
    """One line for each fault, naming the variable and a right value. `specs`: field name and metadata of each variable."""
    table = dict(specs)
    for name in REQUIRED:
        if not getattr(environment, name):
            yield _required(table[name], "")
    for host in environment.allowed_hosts:
        if host.startswith(".") and "." not in host[1:]:
            yield f"ALLOWED_HOSTS={host} lets every name below a top-level domain in. Name the hosts. Example: ALLOWED_HOSTS=aisoc.corp"
    if environment.secret_key.startswith("django-insecure-"):
        yield f"SECRET_KEY is one that Django made for development. Make one: {_make('SECRET_KEY')}"
    if environment.credential_key and environment.credential_key == environment.secret_key:
        yield f"AISOC_CREDENTIAL_KEY and SECRET_KEY are the same. Use a key of its own. Make one: {_make('AISOC_CREDENTIAL_KEY')}"
    if not environment.broker_url:
        yield _required(table["broker_url"], ": the embedded Valkey belongs to one host and ends with it")
    if environment.web_hosts > 1:
        several = f" and AISOC_WEB_HOSTS={environment.web_hosts}"
        if not environment.database_url or environment.database_url.startswith("sqlite"):
            yield _required(table["database_url"], f"{several}: SQLite serves one host")
        if not environment.signing_key:
            yield _signing_key_required(table["signing_key"], f"{several}: all hosts sign one trail", ROOT / environment.data_dir / "signing_key")
    yield from _readable_by_others(table.values(), source)
    yield from _writable_by_others(environment.data_dir)


def _make(name: str) -> str:
    """The command that makes a key: Django asks for 50 characters at least, a Fernet or Ed25519 key has 32 bytes."""
    return f"head -c {48 if name == 'SECRET_KEY' else 32} /dev/urandom | base64 | tr +/ -_"


def _required(meta: Mapping[str, Any], why: str) -> str:
    right = f"Make one: {_make(meta['name'])}" if meta["name"].endswith("_KEY") else f"Example: {meta['name']}={meta['example']}"
    return f"{meta['name']} is required when AISOC_ENVIRONMENT=production{why}. {right}"


def _signing_key_required(meta: Mapping[str, Any], why: str, made: Path) -> str:
    """A key that a host made for itself signs what the other hosts' keys do not verify; where there is one, it has signed the trail so far."""
    line = _required(meta, why)
    return f"{line.partition(' Make one: ')[0]} Give all of them the one in {made}: AISOC_SIGNING_KEY_FILE={made}" if made.exists() else line


def _readable_by_others(metas: Iterable[Mapping[str, Any]], source: Mapping[str, str]) -> Iterator[str]:
    for meta in metas:
        name = f"{meta['name']}_FILE"
        path = source.get(name, "").strip() if meta["secret"] else ""
        try:
            mode = Path(path).stat().st_mode if path else 0
        except (OSError, ValueError):  # the reader of the file says so
            continue
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            yield f"{name} names a file that every user of this machine can read (mode {stat.S_IMODE(mode):04o}). Use: chmod 0440, and its group"


def _writable_by_others(folder: str) -> Iterator[str]:
    try:
        mode = (ROOT / folder).stat().st_mode
    except (OSError, ValueError):  # it is made at the first start, for this user alone
        return
    if mode & stat.S_IWOTH:
        yield f"AISOC_DATA_DIR={folder} can be written by every user of this machine (mode {stat.S_IMODE(mode):04o}). Use: chmod 0700"
