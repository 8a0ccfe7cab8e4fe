"""A file that somebody uploads, to the API or on the page: tried, or imported, as one that is carried in on the host.

WrongDigest     it is not the file whose SHA-256 was given; str() says so
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, Final, cast

from django.core.files.uploadedfile import UploadedFile
from django.db import DataError

from threatintel.models import FeedRun
from threatintel.offline import Carried, import_file, try_file
from threatintel.specs import FeedError
from threatintel.store import Counts

MOST_BYTES: Final = 128 * 1024 * 1024  # of an upload; manage.py import_feed takes more
_MAX_NAME: Final = 120


class WrongDigest(Exception):
    """The file is not the one whose digest was given."""


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


def bring_in(kind: str, upload: UploadedFile[bytes], name: str, sha256: str, *, dry_run: bool) -> Outcome:
    """Raises WrongDigest, or FeedError with the reason: of a preview what is wrong with the file, of an import that the feed is busy."""
    file = _carried(upload, name)
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


def _carried(upload: UploadedFile[bytes], name: str) -> Carried:
    digest = hashlib.sha256()
    for chunk in upload.chunks():
        digest.update(chunk)
    return Carried(name[:_MAX_NAME], cast(IO[bytes], upload.file), upload.size or 0, digest.hexdigest())
