"""A whole deployment as one file, for either database: gzip of JSON lines, read back row by row.

    {"kind": "aisoc-backup", "format": 1, "version", "made_at", "migrations": [[app, name]…], "signing_key": fingerprint, "rows"}
    {"table": "app.Model", "fields": [column…]}      then one array a row, in the order of the primary key, and
    {"rows": n}                                      …for each table
    {"sha256": "…", "signature": "…"}                of every byte before this line, and Ed25519 by the signing key over "aisoc-backup " and that

It holds no key: neither SECRET_KEY nor the vault's nor the signing key, only what is sealed by them. Sessions, heartbeats and
counted logins are left out. A restored file must be this deployment's own, and its trail must verify: one that was taken out
of the file whole leaves nothing that could fail.
"""

import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils.duration import duration_iso_string

from airgap import chain, clock, fleet
from airgap.active import deployment_key
from airgap.ed25519 import is_signed
from airgap.models import ProcessBeat
from tenants.scope import all_tenants

KIND: Final = "aisoc-backup"
FORMAT: Final = 1
LEFT_OUT: Final = frozenset({"sessions.Session", "airgap.ProcessBeat", "aisoc_admin.LoginAttempts"})
MADE_BY_MIGRATIONS: Final = frozenset({"contenttypes.ContentType", "auth.Permission"})
CHUNK: Final = 2000  # rows
AS_THEY_STAND: Final = (models.CharField, models.TextField, models.BooleanField, models.IntegerField, models.FloatField, models.JSONField)
TOLD: Final = 3  # faults of a trail that are named
Tell = Callable[[int], None]
Line = dict[str, Any] | list[Any]


class BackupError(Exception):
    """Nothing was written, or nothing was restored; str() is one sentence for the operator."""


# ── Out ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def write(path: Path, tell: Callable[[int], Tell]) -> dict[str, Any]:
    """Write the deployment as it is at this moment; gives the first line of the file and its digest. Raises BackupError, OSError.

    The file appears whole or not at all, for this user alone, and replaces none. `tell` is given the number of rows, and what it returns, rows done.
    """
    if path.exists():
        raise BackupError(f"{path} exists. A backup replaces no file; choose another name.")
    if not path.parent.is_dir():
        raise BackupError(f"{path.parent} is no folder. Name a file in one that is there.")
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
            with gzip.GzipFile("", "wb", 6, raw) as file, _snapshot():
                told = _write_all(_Summed(file), tell)
            raw.flush()
            os.fsync(raw.fileno())
        _appear(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return told


def _appear(draft: Path, path: Path) -> None:
    """Give the draft its name, unless somebody else was first."""
    try:
        os.link(draft, path)
    except OSError:  # the name is taken, or the file system knows no links, as a mounted share
        if path.exists():
            raise BackupError(f"{path} exists. A backup replaces no file; choose another name.") from None
        draft.rename(path)


class _Summed:
    """Lines into a file, and their digest."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def line(self, line: Line) -> None:
        text = json.dumps(line, default=_text, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        self._digest.update(text)
        self._file.write(text)

    def end(self) -> str:
        digest = self._digest.hexdigest()
        self.line({"sha256": digest, "signature": deployment_key().sign(_signed(digest))})
        return digest


def _write_all(out: _Summed, tell: Callable[[int], Tell]) -> dict[str, Any]:
    chosen = [model for model in tables() if model._meta.label not in LEFT_OUT]
    rows = sum(model._base_manager.count() for model in chosen)
    head = {
        "kind": KIND,
        "format": FORMAT,
        "version": settings.VERSION,
        "made_at": clock.now().isoformat(),
        "migrations": _migrations(),
        "signing_key": deployment_key().fingerprint,
        "rows": rows,
    }
    out.line(head)
    done = tell(rows)
    for model in chosen:
        columns = _columns(model)
        out.line({"table": model._meta.label, "fields": columns})
        count = 0
        for count, row in enumerate(model._base_manager.order_by("pk").values_list(*columns).iterator(CHUNK), 1):
            out.line(list(row))
            if count % CHUNK == 0:
                done(CHUNK)
        done(count % CHUNK)
        out.line({"rows": count})
    return {**head, "sha256": out.end()}


@contextmanager
def _snapshot() -> Iterator[None]:
    """All tables as of one moment, without keeping any writer waiting."""
    if connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            with all_tenants():  # row-level security binds the owner of the tables too
                yield
        return
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")  # deferred: it only reads
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


# ── In ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
def restore(path: Path, tell: Callable[[int], Tell], *, force: bool = False, any_trail: bool = False) -> dict[str, Any]:
    """Put the deployment in `path` in the place of this one, all of it or nothing; gives the first line of the file. Raises BackupError.

    force: also over a deployment that has something in it. any_trail: also when the file or its trail does not verify, as after tampering.
    """
    head = check(path)
    if not _migrations():
        raise BackupError("The database has no tables yet: run manage.py migrate first, as its owner.")
    if not any_trail:
        _verify_signature(head)
    if head["migrations"] != _migrations():
        raise BackupError(
            f"The backup is of another state of the database ({_difference(head)}). Restore it with the release that made it, then upgrade."
        )
    _refuse_while_in_use(force)
    done = tell(int(head["rows"]))
    with all_tenants():
        with connection.cursor() as cursor:
            for sql in connection.ops.sql_flush(no_style(), [model._meta.db_table for model in tables()]):
                cursor.execute(sql)
        _read_all(path, done)
        with connection.cursor() as cursor:
            for sql in connection.ops.sequence_reset_sql(no_style(), tables()):
                cursor.execute(sql)
        if not any_trail:
            _verify_trail()
    ContentType.objects.clear_cache()
    return head


def check(path: Path) -> dict[str, Any]:
    """The first line of a whole backup, with its digest and signature. Raises BackupError."""
    digest, last, first = hashlib.sha256(), b"", b""
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                digest.update(last)
                first = first or line
                last = line
        head, end = json.loads(first), json.loads(last)
        found = head["kind"], head["format"], end["sha256"]
    except (EOFError, ValueError, KeyError, TypeError, gzip.BadGzipFile, zlib.error) as error:
        raise BackupError(f"{path} is not a whole backup ({type(error).__name__}).") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read ({error.strerror or type(error).__name__}).") from None
    if found[:2] != (KIND, FORMAT):
        raise BackupError(f"{path} is a {found[0]} of format {found[1]}; this release reads {KIND} of format {FORMAT}.")
    if found[2] != digest.hexdigest():
        raise BackupError(f"{path} has been altered or damaged: its content is not the one it was written with.")
    return {**head, "sha256": found[2], "signature": str(end.get("signature", ""))}


def _signed(digest: str) -> bytes:
    return f"{KIND} {digest}".encode()


def _verify_signature(head: dict[str, Any]) -> None:
    key = deployment_key()
    if head["signing_key"] != key.fingerprint:
        raise BackupError(
            f"The backup was signed by the key {str(head['signing_key'])[:16]}…, and this deployment has {key.fingerprint[:16]}…. "
            "Put signing_key of the backed-up deployment into AISOC_DATA_DIR, or set AISOC_SIGNING_KEY, and restore again."
        )
    if not is_signed(key.public, head["signature"], _signed(head["sha256"])):
        raise BackupError(
            "The backup does not verify: it is not signed with the key of this deployment, so somebody else may have written it. "
            "Give --any-trail to restore it all the same."
        )


def _read_all(path: Path, done: Tell) -> None:
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as file:
        lines = (json.loads(line) for line in file)
        next(lines)
        for line in lines:
            if "table" in line:
                _read_table(apps.get_model(line["table"]), line["fields"], lines, done)


def _read_table(model: type[models.Model], names: list[str], lines: Iterator[Line], done: Tell) -> None:
    fields = [field for field in model._meta.concrete_fields if field.attname in names]
    if [field.attname for field in fields] != names:
        raise BackupError(f"The columns of {model._meta.label} are not those of this release.")
    casts = [(at, field.to_python) for at, field in enumerate(fields) if not isinstance(field, AS_THEY_STAND)]
    size = min(CHUNK, max(1, connection.ops.bulk_batch_size([field.name for field in fields], [None] * CHUNK)))
    batch: list[models.Model] = []
    for line in lines:
        if isinstance(line, list):
            for at, cast in casts:
                line[at] = cast(line[at])
            batch.append(model.from_db(connection.alias, names, line))
        if batch and (len(batch) == size or isinstance(line, dict)):
            # raw: as it was, without what a save would set anew, such as auto_now_add
            model._base_manager.all()._insert(batch, fields=fields, using=connection.alias, raw=True)  # type: ignore[attr-defined]
            done(len(batch))
            batch = []
        if isinstance(line, dict):
            return


def _refuse_while_in_use(force: bool) -> None:
    now = clock.now()
    if alive := [beat.service for beat in ProcessBeat.objects.filter(ended_at=None) if fleet.is_heard(beat, now)]:
        raise BackupError(f"{len(alive)} processes of this deployment run ({', '.join(sorted(set(alive)))}). Stop them first.")
    if force:
        return
    for model in tables():
        if model._meta.label not in LEFT_OUT | MADE_BY_MIGRATIONS and model._base_manager.exists():
            raise BackupError(
                f"This deployment is not empty ({model._meta.label} has rows). Restore into a new database, or give --force to replace it all."
            )


def _verify_trail() -> None:
    key = deployment_key()
    if not (faults := [found.what for found, _ in zip(chain.verify({key.fingerprint: key.public}), range(TOLD), strict=False)]):
        return
    raise BackupError(f"The trail in the backup does not verify: {' '.join(faults)} Give --any-trail to restore it all the same.")


# ── Both ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def tables() -> list[type[models.Model]]:
    """Every model with a table of its own, many-to-many ones too, by name."""
    found = apps.get_models(include_auto_created=True)
    return sorted((model for model in found if model._meta.managed and not model._meta.proxy), key=lambda model: model._meta.label)


def _columns(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _migrations() -> list[list[str]]:
    return sorted([app, name] for app, name in MigrationRecorder(connection).applied_migrations())


def _difference(head: dict[str, Any]) -> str:
    theirs, ours = ({tuple(one) for one in found} for found in (head["migrations"], _migrations()))
    names = sorted(".".join(one) for one in theirs ^ ours)
    return f"release {head['version']}, {', '.join(names[:TOLD])}{' and others' if len(names) > TOLD else ''}"


def _text(value: object) -> str:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return duration_iso_string(value)
        case UUID() | Decimal():
            return str(value)
        case bytes() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case _:
            raise TypeError(f"A {type(value).__name__} cannot be written into a backup.")
