"""Spool segments as files: their format, and the reading end. The drain reads them; airgap/spool.py writes them.

    NAME.seg      being written; its owner holds flock on it. Without an owner it is an orphan and may be adopted
    NAME.sealed   complete, waiting for the drain
    NAME.damaged  could not be read, kept for inspection
    NAME.tmp      a draft; nothing is in it

Little endian: 16 bytes magic, then a header slot and data slots of SLOT bytes each:
u32 length of the JSON, u32 CRC-32 of the JSON, u64 count, f64 first seen, f64 last seen (Unix seconds), JSON (UTF-8).
The header slot's JSON is {"service", "process"}; a data slot's is the key's fields in order and the reason.
"""

import fcntl
import hashlib
import json
import os
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"AISOC-SPOOL-1\n\0\0"
SLOT = 1024  # bytes
SLOTS = 512  # data slots a segment
SEGMENT_BYTES = len(MAGIC) + SLOT * (SLOTS + 1)
MAX_DAMAGED = 50  # kept for inspection, the youngest
OTHER = "(other)"
HEAD = struct.Struct("<IIQdd")
ROOM = SLOT - HEAD.size

# host, port (0: unknown), path, rule, layer, purpose, tenant, caller
Key = tuple[str, int, str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """Attempts of one key in one minute. `minute` is Unix seconds, a multiple of 60."""

    minute: int
    key: Key
    reason: str
    count: int
    first_seen: float
    last_seen: float


@dataclass(frozen=True, slots=True)
class Segment:
    """The content of one spool file."""

    name: str
    service: str
    process: str
    records: tuple[Record, ...]
    digest: str = ""  # SHA-256 of the file


class WaitingSegment:
    """A segment that is complete: sealed, or left by a process that died. Holds its lock until closed."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> Segment:
        """The records of the segment. A slot that is torn (power loss) is passed over; raises ValueError for a foreign file."""
        content = os.pread(self._fd, SEGMENT_BYTES, 0)
        if content[: len(MAGIC)] != MAGIC or len(content) != SEGMENT_BYTES:
            raise ValueError("It is not a whole spool segment.")
        header = _slot_json(content, 0)
        if header is None:
            raise ValueError("Its header is damaged.")
        try:
            meta = json.loads(header[0])
            return Segment(self.name, str(meta["service"]), str(meta["process"]), tuple(_records(content)), hashlib.sha256(content).hexdigest())
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"Its content is not that of a segment ({type(error).__name__}).") from None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Keep a damaged file for inspection, out of the way of the drain."""
        os.rename(self.path, self.path.with_suffix(".damaged"))
        for old in sorted(self.path.parent.glob("*.damaged"), key=_modified)[:-MAX_DAMAGED]:
            if old.is_file():
                old.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._fd)


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _slot_json(content: bytes, index: int) -> tuple[bytes, int, float, float] | None:
    start = len(MAGIC) + SLOT * index
    length, checksum, count, first_seen, last_seen = HEAD.unpack_from(content, start)
    payload = content[start + HEAD.size : start + HEAD.size + length]
    if not 0 < length <= ROOM or zlib.crc32(payload) != checksum:
        return None
    return payload, count, first_seen, last_seen


def _records(content: bytes) -> Iterator[Record]:
    for index in range(1, SLOTS + 1):
        slot = _slot_json(content, index)
        if slot is None or not slot[1]:
            continue
        payload, count, first_seen, last_seen = slot
        minute, host, port, path, rule, layer, purpose, tenant, caller, reason = json.loads(payload)
        yield Record(minute, (host, port, path, rule, layer, purpose, tenant, caller), reason, count, first_seen, last_seen)


def waiting_segments(directory: Path) -> Iterator[WaitingSegment]:
    """Complete segments, each locked for this process while it is being looked at.

    Segments of live writers are passed over, and so is what this user may not read or what is no file; backlog() counts it.
    """
    for path in complete(directory):
        segment = locked(path)
        if segment is not None:
            try:
                yield segment
            finally:
                segment.close()


def complete(directory: Path) -> list[Path]:
    """Files that may be complete segments."""
    return sorted([*directory.glob("*.sealed"), *directory.glob("*.seg")])


def remove_drafts(directory: Path) -> None:
    """Drafts of writers that were killed before they had begun a segment: nothing is in them."""
    for path in directory.glob("*.tmp"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(fd).st_mtime > 60:  # not one that is being made
                path.unlink(missing_ok=True)
        except OSError:
            continue
        finally:
            os.close(fd)


def locked(path: Path) -> WaitingSegment | None:
    """The segment, locked until it is closed, when it is one and nobody else has it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # drained or sealed meanwhile, or not ours to read
        return None
    segment = WaitingSegment(path, fd)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():  # not drained between open and lock
                return segment
    except BlockingIOError:  # its writer lives, or another process drains it
        pass
    segment.close()
    return None


def unreadable(directory: Path) -> int:
    """How many segments another user wrote and this one may not read."""
    return sum(1 for path in directory.glob("*.se*") if not os.access(path, os.R_OK))


def backlog(directory: Path) -> int:
    """How many complete segments wait for the drain."""
    return sum(1 for _ in directory.glob("*.sealed"))


def damaged(directory: Path) -> int:
    """How many segments were set aside: what was refused there is not in the trail."""
    return sum(1 for _ in directory.glob("*.damaged"))
