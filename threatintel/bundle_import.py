"""Brings a bundle in: nothing of it is parsed before its signature, its names, its sizes and its checksums are verified.

What is verified is what is read: each file is opened once, by its name in the folder, and a link is no file.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from django.db import transaction

from airgap import clock
from airgap.ed25519 import fingerprint_of, read_public_pem
from threatintel.bundle import MANIFEST, MAX_FILES, MAX_MANIFEST, SIGNATURE, BundledFile, Manifest, moment_text, verify_manifest
from threatintel.models import FeedRun, ImportedBundle
from threatintel.normalise import timestamp
from threatintel.offline import Carried, Progress, carried, import_file
from threatintel.specs import FeedError

BUNDLE_IMPORTED: Final = "bundle.imported"
BUNDLE_REFUSED: Final = "bundle.refused"
MAX_KEY: Final = 4096  # bytes
MAX_SIGNATURE: Final = 256

log = structlog.stdlib.get_logger("threatintel")


@dataclass(frozen=True, slots=True)
class Verified:
    """files: those of the manifest, open, by name."""

    manifest: Manifest
    digest: str
    fingerprint: str
    files: Mapping[str, Carried]


@dataclass(frozen=True, slots=True)
class Brought:
    """How one file's import ended. reason: why it failed, or "". run None: it was not begun, or there is nothing in the file, as of an empty collection."""

    file: BundledFile
    run: FeedRun | None
    reason: str


def read_public_key(path: Path) -> bytes:
    """Raises FeedError."""
    try:
        with carried(path, most=MAX_KEY) as key:
            return read_public_pem(key.whole())
    except ValueError as error:
        raise FeedError(f"{path.name}: {error}") from None


@contextmanager
def verified(folder: Path, public: bytes, progress: Progress = lambda _: None) -> Iterator[Verified]:
    """The bundle, once everything about it is verified. Raises FeedError, which is logged."""
    with ExitStack() as stack:
        try:
            found = _verified(stack, folder, public, progress)
        except FeedError as error:
            log.warning(BUNDLE_REFUSED, reason=str(error), fingerprint=fingerprint_of(public))
            raise
        yield found


def _verified(stack: ExitStack, folder: Path, public: bytes, progress: Progress) -> Verified:
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FeedError(f"{folder}: {error.strerror}.") from None
    stack.callback(os.close, place)
    there = _names(place)
    for name in (MANIFEST, SIGNATURE):
        if name not in there:
            raise FeedError(f"The folder has no {name}: it is no bundle, or not all of it.")
    manifest_file = stack.enter_context(carried(Path(MANIFEST), within=place, most=MAX_MANIFEST))
    signature_file = stack.enter_context(carried(Path(SIGNATURE), within=place, most=MAX_SIGNATURE))
    manifest = verify_manifest(manifest_file.whole(), signature_file.whole(), public, clock.now())
    listed = {one.file for one in manifest.files}
    if missing := sorted(listed - there):
        raise FeedError(f"{missing[0]} is missing from the folder.")
    if others := sorted(there - listed - {MANIFEST, SIGNATURE}):
        raise FeedError(f"The folder holds {ascii(others[0])[:80]}, which the manifest does not list.")
    files: dict[str, Carried] = {}
    for one in manifest.files:
        file = stack.enter_context(carried(Path(one.file), progress, within=place, most=one.size))
        if file.size != one.size:
            raise FeedError(f"{one.file} has {file.size} bytes, not {one.size} as the manifest says.")
        if file.digest != one.sha256:
            raise FeedError(f"{one.file} has the SHA-256 {file.digest}, not {one.sha256} as the manifest says.")
        files[one.file] = file
    return Verified(manifest, manifest_file.digest, fingerprint_of(public), files)


def _names(place: int) -> set[str]:
    names: set[str] = set()
    with os.scandir(place) as entries:
        for entry in entries:
            names.add(entry.name)
            if len(names) > MAX_FILES + 2:
                raise FeedError(f"The folder holds more than {MAX_FILES + 2} files: it is no bundle.")
    return names


def import_bundle(bundle: Verified, *, allow_older: bool = False, progress: Progress = lambda _: None) -> Iterator[Brought]:
    """Import each file as a run of its feed, and say how it ended. Raises FeedError for a bundle that is older than one of the same key that was brought in."""
    _remember(bundle, allow_older=allow_older)
    states: dict[str, str] = {}
    for one in bundle.manifest.files:
        if not one.records:
            yield Brought(one, None, "")
            continue
        try:
            data_date = timestamp(one.data_date) or bundle.manifest.created  # a file of STIX has no date: it is no younger than its bundle
            run = import_file(one.kind, bundle.files[one.file], force=allow_older, data_date=data_date, progress=progress)
            brought = Brought(one, run, "" if run.state == FeedRun.State.OK else run.reason)
        except FeedError as error:
            brought = Brought(one, None, str(error))
        states[one.file] = brought.reason
        yield brought
    log.info(
        BUNDLE_IMPORTED,
        created=moment_text(bundle.manifest.created),
        sha256=bundle.digest,
        fingerprint=bundle.fingerprint,
        files=len(states),
        failed={name: reason for name, reason in states.items() if reason},
    )


def _remember(bundle: Verified, *, allow_older: bool) -> None:
    """Before its first page is stored: a bundle that was brought in half is not older than itself, and an older one stays out."""
    with transaction.atomic():
        last = ImportedBundle.objects.select_for_update().filter(fingerprint=bundle.fingerprint).order_by("-created").first()
        if last is not None and bundle.manifest.created < last.created and not allow_older:
            reason = (
                f"The bundle was made at {moment_text(bundle.manifest.created)}, before the one of {moment_text(last.created)} that was imported; "
                "--allow-older imports it all the same."
            )
            log.warning(BUNDLE_REFUSED, reason=reason, fingerprint=bundle.fingerprint)
            raise FeedError(reason)
        ImportedBundle.objects.get_or_create(
            digest=bundle.digest,
            defaults={"created": bundle.manifest.created, "fingerprint": bundle.fingerprint, "imported_at": clock.now()},
        )
