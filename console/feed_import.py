"""The import form of the feeds page: what was sent, what is wrong with it field by field, and what came of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Final, cast

from django.core.files.uploadedfile import UploadedFile
from django.db import DataError
from django.http import QueryDict

from console.egress_filter import shown
from console.shown import visible
from threatintel.models import FeedRun
from threatintel.offline import KINDS, Carried, import_file, try_file
from threatintel.specs import FeedError
from threatintel.store import Counts

TITLES: Final = {
    "kev": "CISA KEV catalogue (JSON)",
    "stix": "STIX 2 bundle (JSON)",
    "misp": "MISP events (JSON)",
    "otx": "OTX pulses (JSON)",
}
MOST_BYTES: Final = 128 * 1024 * 1024  # of an upload; manage.py import_feed takes more
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import changed, or would. digest: of the file. run: None of a preview."""

    name: str
    digest: str
    counts: Counts
    run: FeedRun | None = None

    @property
    def skips(self) -> list[tuple[str, int]]:
        return sorted(self.counts.skips.items(), key=lambda one: -one[1])


@dataclass(frozen=True, slots=True)
class ImportForm:
    """The form as it is shown (again). problems: by field, in words; "" is the form as a whole."""

    kind: str = ""
    sha256: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(kind, TITLES[kind]) for kind in KINDS]


def handle_form(given: QueryDict, upload: UploadedFile[bytes] | None) -> ImportForm:
    """Preview or import what was sent, as `do` says. The form that comes back has either problems or an outcome."""
    kind, sha256 = given.get("kind", ""), re.sub(r"[\s:]", "", given.get("sha256", "")).lower()
    problems: dict[str, str] = {}
    if kind not in KINDS:
        problems["kind"] = f"Choose one of {', '.join(KINDS)}." if not kind else f"{shown(kind)} is no kind; choose one of {', '.join(KINDS)}."
    if upload is None:
        problems["file"] = "Choose the file; a browser forgets it when the form comes back."
    elif not upload.size:
        problems["file"] = "The file is empty; choose another one."
    if sha256 and not _DIGEST.fullmatch(sha256):
        problems["sha256"] = "It has 64 hexadecimal digits, as sha256sum prints them; correct it or leave it empty."
    if problems or upload is None:
        return ImportForm(kind, sha256[:200], problems)
    try:
        outcome = bring_in(kind, upload, sha256, dry_run=given.get("do") != "import")
    except WrongDigest as wrong:
        return ImportForm(kind, sha256, {"sha256": str(wrong)})
    except FeedError as error:
        return ImportForm(kind, sha256, {"file": str(error)})
    if outcome.run is not None and outcome.run.state != FeedRun.State.OK:
        return ImportForm(kind, sha256, {"file": outcome.run.reason})
    return ImportForm(kind, outcome.digest, outcome=outcome)


class WrongDigest(Exception):
    """The file is not the one whose digest was given."""


def bring_in(kind: str, upload: UploadedFile[bytes], sha256: str, *, dry_run: bool) -> Outcome:
    """Raises WrongDigest, or FeedError with the reason."""
    file = _carried(upload)
    if sha256 and sha256 != file.digest:
        raise WrongDigest(f"The file's SHA-256 is {file.digest}, not the one given: it is another file, or it was changed on its way.")
    if dry_run:
        try:
            return Outcome(file.name, file.digest, try_file(kind, file))
        except DataError as error:
            raise FeedError(f"The file holds a value that the database does not take ({type(error).__name__}).") from None
    run = import_file(kind, file)
    counts = Counts(run.fetched, run.added, run.changed, run.retired, dict(run.skips))
    return Outcome(file.name, file.digest, counts, run)


def _carried(upload: UploadedFile[bytes]) -> Carried:
    digest = hashlib.sha256()
    for chunk in upload.chunks():
        digest.update(chunk)
    return Carried(visible(upload.name or "file")[:120], cast(IO[bytes], upload.file), upload.size or 0, digest.hexdigest())
