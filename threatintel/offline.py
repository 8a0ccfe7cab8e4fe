"""Files carried in by hand: the same readers, feeds and guarantees as a poll.

FeedError       the file is not what it is said to be; str() is the reason
"""

import errno
import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import structlog
from django.db import DatabaseError, DataError

from threatintel import runs
from threatintel.feeds.json_stream import read_members
from threatintel.feeds.json_texts import read_texts
from threatintel.feeds.kev import page_of, read_catalogue
from threatintel.ingest import ingest, preview
from threatintel.misp_event import event_date, event_objects, events_in
from threatintel.models import FeedCursor, FeedRun
from threatintel.otx_pulse import pulse_date, pulse_records, pulses_in
from threatintel.registry import feed_named
from threatintel.specs import FeedError, FeedSpec, Page, Record, Tally, Unread
from threatintel.stix import StixReader
from threatintel.store import Counts

KINDS: Final = ("kev", "stix", "misp", "otx")
FEED_IMPORTED: Final = "feed.imported"
MAX_BYTES: Final = 4 * 1024**3  # of a file, unpacked
PAGE: Final = 5000  # objects stored in one transaction
PAGE_TEXT: Final = 32 * 1024 * 1024  # characters of them, give or take an object
_CHUNK = 256 * 1024
_DEFINITION = b'"marking-definition"'
_EARLY = 512 * 1024  # bytes, fewer than the objects of a full page take
_MAX_PARTS = 5_000_000  # JSON parts of one event or pulse
State = FeedRun.State
Progress = Callable[[int], None]  # told how many bytes more were read of the file

log = structlog.stdlib.get_logger("threatintel")


@dataclass(frozen=True, slots=True)
class Carried:
    """A file that was opened once: what is hashed is what is read. digest: SHA-256 in hexadecimal. size in bytes."""

    name: str
    file: IO[bytes]
    size: int
    digest: str

    def chunks(self, progress: Progress) -> Iterator[bytes]:
        """The content, unpacked when it is gzip. Raises FeedError when there is too much of it."""
        self.file.seek(0)
        packed = self.file.read(2) == b"\x1f\x8b"
        self.file.seek(0)
        source: IO[bytes] = gzip.GzipFile(fileobj=self.file) if packed else self.file  # type: ignore[assignment]
        total = read = 0
        try:
            while chunk := source.read(_CHUNK):
                total += len(chunk)
                if total > MAX_BYTES:
                    raise FeedError(f"The file has more than {MAX_BYTES // 2**30} GiB.")
                progress(self.file.tell() - read)
                read = self.file.tell()
                yield chunk
        except (OSError, EOFError, zlib.error) as error:
            raise FeedError(f"The file cannot be read to its end ({type(error).__name__}).") from None

    def whole(self) -> bytes:
        """The content as it is, of a small file."""
        self.file.seek(0)
        return self.file.read(self.size)


def shown_name(name: str) -> str:
    """A file's name as any database and terminal takes it: it may hold bytes that are no text, and controls."""
    return "".join(char if char.isprintable() else "?" for char in name)


@contextmanager
def carried(path: Path, progress: Progress = lambda _: None, *, within: int | None = None, most: int | None = None) -> Iterator[Carried]:
    """Open a file and digest it. Raises FeedError for what is no plain file, or has more than `most` bytes.

    within: the open folder that the path is a name in; a symbolic link is then no file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if within is not None else 0), dir_fd=within)
    except OSError as error:
        problem = "it is a link, not a file" if error.errno == errno.ELOOP else error.strerror
        raise FeedError(f"{shown_name(str(path))}: {problem}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FeedError(f"{shown_name(path.name)} is no file.")
    with os.fdopen(descriptor, "rb") as file:
        digest = hashlib.sha256()
        read = 0
        while chunk := file.read(_CHUNK):
            read += len(chunk)
            if most is not None and read > most:
                raise FeedError(f"{shown_name(path.name)} has more than {most} bytes.")
            digest.update(chunk)
            progress(len(chunk))
        yield Carried(shown_name(path.name), file, os.fstat(descriptor).st_size, digest.hexdigest())


_SIGNS: Final = (
    ("kev", (b'"catalogVersion"',)),
    ("kev", (b'"vulnerabilities"', b'"cveID"')),
    ("misp", (b'"Event"',)),
    ("stix", (b'"bundle"', b'"objects"')),
    ("stix", (b'"pattern_type"',)),
    ("otx", (b'"indicators"', b'"pulse')),
)  # what the beginning of a file of each kind holds


def feed_of(kind: str) -> FeedSpec:
    """The feed that files of this kind go into. Raises FeedError."""
    spec = feed_named(kind) if kind in KINDS else None
    if spec is None:
        raise FeedError(f"There is no kind {kind[:40]!r}; use {', '.join(KINDS)}.")
    return spec


def pages_of(kind: str, file: Carried, progress: Progress = lambda _: None) -> Iterator[Page]:
    """The pages of a file. Raises FeedError for a file of another kind, a broken one, or one that holds nothing of its kind."""
    reader = _stix_reader(file) if kind == "stix" else StixReader()
    chunks = file.chunks(progress)
    head = next(chunks, b"")
    whole = chain((head,) if head else (), chunks)
    pages = _stix(whole, reader) if kind == "stix" else {"kev": _kev, "misp": _misp, "otx": _otx}[kind](whole)
    try:
        first = next(pages, None)
    except FeedError as error:
        raise FeedError(f"{error}{_hint(kind, head)}") from None
    if first is None:
        raise FeedError(f"The file holds nothing that a {kind} file has.{_hint(kind, head)}")
    yield from chain((first,), pages)


def _hint(kind: str, head: bytes) -> str:
    """What a file that was not understood looks like, by its beginning."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return " It does not begin as JSON does: is it the right file?"
    looks = next((other for other, signs in _SIGNS if all(sign in head for sign in signs)), kind)
    return f" It looks like a file of kind {looks}: choose that." if looks != kind else ""


def try_file(kind: str, file: Carried, progress: Progress = lambda _: None) -> Counts:
    """What an import would change; nothing is changed. Raises FeedError."""
    spec = feed_of(kind)
    return preview(spec, _checked(spec, pages_of(kind, file, progress), force=True))


def import_file(
    kind: str, file: Carried, *, slot: str = "", force: bool = False, data_date: datetime | None = None, progress: Progress = lambda _: None
) -> FeedRun:
    """Store a file as a run of its feed, and return the run, which says how it ended. Raises FeedError when the feed is busy.

    slot: of a run that was opened before. force: also a catalogue that is older than what is held. data_date: of data that has no date of its own.
    """
    spec = feed_of(kind)
    if not slot:
        slot = open_import(kind, file)
    run = runs.claim(spec.name, slot)
    if run is None:
        runs.abandon(spec.name, slot, "The feed was being polled or imported.")
        raise FeedError(f"{spec.title} is being polled or imported right now; try again when that is over.")
    try:
        with runs.lease_kept(run):
            pages = (page if page.data_date else replace(page, data_date=data_date) for page in pages_of(kind, file, progress))
            ingest(run, spec, _checked(spec, pages, force=force))
        runs.finish(run, State.OK)
    except FeedError as error:
        runs.finish(run, State.FAILED, reason=str(error))
    except DataError as error:
        log.exception(FEED_IMPORTED, feed=spec.name, run=run.pk)
        runs.finish(run, State.FAILED, reason=f"The file holds a value that the database does not take ({type(error).__name__}); see the log.")
    except (runs.ClaimLost, DatabaseError):
        raise
    counts = {name: getattr(run, name) for name in runs.COUNTS}
    log.info(FEED_IMPORTED, feed=spec.name, run=run.pk, state=str(run.state), reason=run.reason, file=file.name, sha256=file.digest, **counts)
    return run


def open_import(kind: str, file: Carried) -> str:
    """A run for the file, queued; returns its slot."""
    spec, slot = feed_of(kind), runs.import_slot()
    run = runs.open_run(spec.name, slot)
    if run is not None:
        FeedRun.objects.filter(pk=run.pk).update(source=f"{file.name[:120]} {file.digest}")
    return slot


def _checked(spec: FeedSpec, pages: Iterable[Page], *, force: bool) -> Iterator[Page]:
    """A catalogue that lists everything must not turn back what a younger one said."""
    for page in pages:
        held = FeedCursor.objects.filter(feed=spec.name).values_list("data_date", flat=True).first() if spec.whole and not force else None
        if held is not None and page.data_date is not None and page.data_date < held:
            raise FeedError(
                f"The file is of {page.data_date:%Y-%m-%d}, older than what is held ({held:%Y-%m-%d}); --force (of a bundle, --allow-older) imports it all the same."
            )
        yield page


def _kev(chunks: Iterator[bytes]) -> Iterator[Page]:
    meta, rows = read_catalogue(chunks)
    yield page_of(meta, rows, {})


def _stix_reader(file: Carried) -> StixReader:
    """It knows the markings of a file that defines some where the objects that they mark may be stored already: that one is read twice."""
    reader = StixReader()
    with suppress(FeedError):  # the reading that stores says what is wrong
        if _has_late_definition(file.chunks(lambda _: None)):
            for obj, _text in read_texts(file.chunks(lambda _: None), "objects"):
                if isinstance(obj, dict):
                    reader.learn(obj)
    return reader


def _has_late_definition(chunks: Iterator[bytes]) -> bool:
    overlap, place = b"", 0
    for chunk in chunks:
        found = (overlap + chunk).rfind(_DEFINITION)
        if found >= 0 and place - len(overlap) + found > _EARLY:
            return True
        overlap, place = chunk[1 - len(_DEFINITION) :], place + len(chunk)
    return False


def _stix(chunks: Iterator[bytes], reader: StixReader) -> Iterator[Page]:
    """Objects one after another: a bundle of any size takes the memory of a page."""
    unread: list[Unread] = []
    tally, objects, size = Tally(), 0, 0
    for obj, text in read_texts(chunks, "objects"):
        objects, size = objects + 1, size + len(text)
        if (one := reader.written(obj, text, tally)) is not None:
            unread.append(one)
        if objects == PAGE or size > PAGE_TEXT:
            yield Page(records=unread, cursor=None, tally=tally)
            unread, tally, objects, size = [], Tally(), 0, 0
    if objects:
        yield Page(records=unread, cursor=None, tally=tally)


def _misp(chunks: Iterator[bytes]) -> Iterator[Page]:
    for event in _elements(chunks, "response", "Event", events_in):
        tally = Tally()
        objects: Iterator[Record | Unread] = event_objects(event, tally)
        yield Page(records=objects, cursor=None, tally=tally, data_date=event_date(event))


def _otx(chunks: Iterator[bytes]) -> Iterator[Page]:
    for pulse in _elements(chunks, "results", "indicators", pulses_in):
        tally = Tally()
        yield Page(records=pulse_records(pulse, tally), cursor=None, tally=tally, data_date=pulse_date(pulse))


def _elements(chunks: Iterator[bytes], items: str, sign: str, within: Callable[[Any], Iterator[Any]]) -> Iterator[Any]:
    """Documents of a list or an answer, one at a time; a file that is one document, which has the member `sign`, is read whole."""
    head = next(chunks, b"")
    if f'"{sign}"'.encode() in head and f'"{items}"'.encode() not in head and not head.lstrip().startswith(b"["):
        wrapped = chain((b"[", head), chunks, (b"]",))
        documents = (value for _, value in read_members(wrapped, items, max_events=_MAX_PARTS, or_array=True))
    else:
        documents = (value for key, value in read_members(chain((head,), chunks), items, max_events=_MAX_PARTS, or_array=True) if key == items)
    for document in documents:
        yield from within(document)
