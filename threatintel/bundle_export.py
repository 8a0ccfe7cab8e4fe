"""Writes what every permitted feed has into a signed bundle, by the clients of a poll and through the same gate.

The folder appears with its last byte written, or not at all. Nothing is stored here, and no cursor moves.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

import httpx
import structlog
from django.conf import settings

from airgap import clock
from airgap.active import active_policy, deployment_key
from airgap.ed25519 import public_pem
from airgap.transport import AirgapBlocked, Client, gated_client
from threatintel.bundle import MANIFEST, MAX_FILES, SIGNATURE, BundledFile, Manifest, moment_text, sign_manifest
from threatintel.feeds import kev, misp, otx, taxii
from threatintel.poll import DEADLINE, MAX_BYTES, WAIT, plain_error
from threatintel.registry import feeds
from threatintel.schedule import RefusedFeed, feed_host, plan
from threatintel.specs import Cursor, FeedError, FeedSpec, Keep, Page

BUNDLE_EXPORTED: Final = "bundle.exported"
MAX_FILE: Final = 4 * 1024**3  # bytes, as much as an import reads
Counting = Callable[[FeedSpec], AbstractContextManager[Callable[[int], None]]]
_Walk = Callable[[Client, FeedSpec, Cursor, Keep], Iterator[Page]]

log = structlog.stdlib.get_logger("threatintel")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a feed's elements become a file that an import reads. around: what stands before and behind the elements, "" for an element that is the file."""

    kind: str
    walk: _Walk
    around: Callable[[], tuple[str, str]] = lambda: ("", "")
    element: Callable[[Any], Any] = lambda element: element


_FORMS: Final[Mapping[str, _Form]] = {
    "kev": _Form("kev", kev.fetch),
    "taxii": _Form("stix", taxii.fetch, lambda: (f'{{"type":"bundle","id":"bundle--{uuid4()}","objects":[', "]}")),
    "misp": _Form("misp", misp.fetch, lambda: ('{"response":[', "]}"), lambda event: {"Event": event}),
    "otx": _Form("otx", otx.fetch, lambda: ('{"results":[', "]}")),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """failed: feed -> reason. key: where the public key is, which is carried another way than the bundle."""

    manifest: Manifest
    failed: Mapping[str, str]
    refused: tuple[RefusedFeed, ...]
    key: Path
    fingerprint: str


def export_bundle(folder: Path, counting: Counting) -> Exported:
    """Fetch every configured feed that the gate permits. Raises FeedError when there is nothing to write, or no place for it.

    counting(spec) is a context that yields what is told how many more elements were written.
    """
    planned = plan((spec for spec in feeds() if not spec.offline), active_policy())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FeedError(f"{folder} is there already; a bundle goes into a new folder.")
    if not planned.beat:
        raise FeedError("No feed is configured and permitted." + "".join(f" {one.name}: {one.reason}" for one in planned.refused))
    if len(planned.beat) > MAX_FILES:
        raise FeedError(f"There are more than {MAX_FILES} feeds; a bundle holds so many.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise FeedError(f"{folder.parent} cannot be written ({error.strerror}).") from None
    try:
        return _written(folder, draft, planned.beat, planned.refused, counting)
    except OSError as error:
        raise FeedError(f"{folder} cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _written(folder: Path, draft: Path, specs: tuple[FeedSpec, ...], refused: tuple[RefusedFeed, ...], counting: Counting) -> Exported:
    created = clock.now()
    files: list[BundledFile] = []
    failed: dict[str, str] = {}
    for number, spec in enumerate(specs):
        path = draft / f"{number:02d}-{_FORMS[spec.kind].kind}.json"
        try:
            with counting(spec) as tell:
                files.append(_feed_file(spec, path, tell))
        except FeedError as error:
            failed[spec.name] = str(error)
            path.unlink(missing_ok=True)
    if not files:
        raise FeedError("No feed could be fetched." + "".join(f" {name}: {reason}" for name, reason in failed.items()))
    manifest = Manifest(created=created, product_version=settings.VERSION, files=tuple(files))
    key = deployment_key()
    text = manifest.text()
    (draft / MANIFEST).write_bytes(text)
    (draft / SIGNATURE).write_text(f"{sign_manifest(text, key)}\n", encoding="ascii")
    for path in draft.iterdir():
        path.chmod(0o600)
    beside = folder.with_name(f"{folder.name}.public_key.pem")
    beside.write_text(public_pem(key.public), encoding="ascii")
    os.rename(draft, folder)
    log.info(
        BUNDLE_EXPORTED,
        files={one.feed: one.sha256 for one in files},
        failed=failed,
        refused=[one.name for one in refused],
        fingerprint=key.fingerprint,
    )
    return Exported(manifest, failed, refused, beside, key.fingerprint)


def _feed_file(spec: FeedSpec, path: Path, tell: Callable[[int], None]) -> BundledFile:
    """Raises FeedError with the reason that people read."""
    form = _FORMS[spec.kind]
    data_date: datetime | None = None
    try:
        with (
            path.open("wb") as file,
            gated_client(
                purpose=f"export.{spec.name}", timeout=WAIT, deadline=DEADLINE, max_bytes=MAX_BYTES, headers=dict(spec.headers), auth=spec.auth
            ) as client,
        ):
            writer = _Writer(file, form, tell)
            for page in form.walk(client, spec, {}, writer.keep):
                data_date = page.data_date or data_date
            writer.end()
    except AirgapBlocked as blocked:
        raise FeedError(f"{feed_host(spec)} sent the poll on to a place that is refused: {blocked.decision.reason}") from None
    except httpx.HTTPError as error:
        raise FeedError(f"{feed_host(spec)}: {plain_error(error)}") from None
    return BundledFile(
        feed=spec.name,
        kind=form.kind,
        file=path.name,
        sha256=writer.digest.hexdigest(),
        size=writer.size,
        records=writer.records,
        data_date=moment_text(data_date) if data_date else "",
    )


def _json(value: Any) -> str:
    """As short as it can be said; what is no UTF-8 (half of a character) as the escape that it came as. Raises ValueError."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


class _Writer:
    """Writes elements as they come, in the memory of one, and digests what it writes."""

    def __init__(self, file: IO[bytes], form: _Form, tell: Callable[[int], None]) -> None:
        self._file, self._form, self._tell = file, form, tell
        self.digest, self.size, self.records = hashlib.sha256(), 0, 0
        head, self._tail = form.around()
        self._write(head)

    def keep(self, element: Any) -> None:
        rows = len(element["vulnerabilities"]) if self._form.kind == "kev" else 1
        self._write("," if self.records else "")
        try:
            self._write(_json(self._form.element(element)))
        except ValueError:
            raise FeedError("It gives a number that JSON has no word for.") from None
        self.records += rows
        self._tell(rows)

    def end(self) -> None:
        self._write(self._tail)

    def _write(self, text: str) -> None:
        content = text.encode()
        self.size += len(content)
        if self.size > MAX_FILE:
            raise FeedError(f"It gives more than {MAX_FILE // 2**30} GiB.")
        self.digest.update(content)
        self._file.write(content)
