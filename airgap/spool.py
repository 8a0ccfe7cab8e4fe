"""A bounded spool on disk that counts refusals, so that an attempt survives kill -9, a dead database and a full disk.

One file a segment, of fixed-size slots and allocated whole when it is opened: afterwards a refusal is one pwrite into space
that is already there. A slot is one (minute, host, port, path, rule, layer, purpose, tenant, caller) and its count, so a
tight loop costs one slot a minute. What is beyond a minute's bounds is added to its `(other)` slot. What finds no room at all
(every segment full, the disk full) is counted in memory as overflow, and spooled as `(other)` once there is room again; no
attempt is ever dropped uncounted.

    NAME.seg      being written; its owner holds flock on it. Without an owner it is an orphan and may be adopted
    NAME.sealed   complete, waiting for the drain

File format, little endian: 16 bytes magic, then a header slot and data slots of SLOT bytes each:
u32 length of the JSON, u32 CRC-32 of the JSON, u64 count, f64 first seen, f64 last seen (Unix seconds), JSON (UTF-8).
The header slot's JSON is {"service", "process"}; a data slot's is the key's fields in order and the reason.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

MAGIC = b"AISOC-SPOOL-1\n\0\0"
SLOT = 1024  # bytes
SLOTS = 512  # data slots a segment
SEGMENT_BYTES = len(MAGIC) + SLOT * (SLOTS + 1)
MAX_SEGMENTS = 32  # sealed segments that one process may leave waiting: 16 MiB
MAX_HOSTS = 400  # distinct hosts a minute and process before the rest is counted as OTHER
MAX_KEYS = 20  # distinct records a minute and host before the rest is counted as OTHER
MAX_FILES = 400  # in the folder, of all processes, damaged ones apart: 200 MiB
MAX_DAMAGED = 50  # kept for inspection, the youngest
MAX_OVERFLOW = 2000  # distinct (minute, rule, layer) counted in memory
OTHER = "(other)"
_HEAD = struct.Struct("<IIQdd")
_COUNT = struct.Struct("<Qdd")
_ROOM = SLOT - _HEAD.size

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


@dataclass(slots=True)
class _Slot:
    offset: int
    count: int
    first_seen: float


@dataclass(slots=True)
class _Overflow:
    """Attempts of one minute, rule and layer that are in memory alone."""

    count: int
    first_seen: float
    last_seen: float


class Spool:
    """The writing end; one a process. Thread-safe. A forked child starts a segment of its own."""

    def __init__(self, directory: Path, *, service: str) -> None:
        self._directory = directory
        self._service = service
        self._start_over()
        os.register_at_fork(after_in_child=self._after_fork)

    def _start_over(self) -> None:
        """The state of a process that has spooled nothing yet."""
        self._lock = threading.RLock()  # a signal handler may add while its thread is in here
        self._adding: bool = False
        self._interrupting: list[tuple[Key, str, float]] = []
        self._fd: int = -1
        self._path: Path = Path()
        self._slots: dict[tuple[int, Key], _Slot] = {}
        self._minute: int = 0
        self._keys: dict[str, set[Key]] = {}
        self._sequence: int = 0
        self._born: int = time.time_ns()
        self._overflow: dict[tuple[int, str, str], _Overflow] = {}
        self._no_room_until: float = 0.0  # monotonic
        self._untold: int = 0

    def add(self, key: Key, reason: str, now: float) -> None:
        """Count one attempt. It is on disk (in the page cache: it survives the process, not the power) on return.

        When there is no room left, or the disk fails, it is kept in memory until there is. Raises nothing but programming errors.
        """
        with self._lock:
            self._interrupting.append((key, reason, now))
            if self._adding:
                return  # in a signal handler: whom it interrupted adds this too
            self._adding = True
            try:
                while self._interrupting:
                    self._add(*self._interrupting.pop())
            finally:
                self._adding = False

    def _add(self, key: Key, reason: str, now: float) -> None:
        minute = int(now) // 60 * 60
        key = self._bounded(minute, key)
        if not self._count(minute, key, reason, 1, now, now):
            self._keep(minute, key, now)

    def seal(self) -> None:
        """Hand what was written so far to the drain; not while it has not taken what was handed over before.

        What is in memory alone is written first, as far as there is room.
        """
        with self._lock:
            self._no_room_until = 0.0
            self._write_overflow()
            if self._fd >= 0 and not self._waiting():
                self._seal()
                self._write_overflow()  # into a segment of its own, when the last one was full

    @property
    def overflowed(self) -> int:
        """How many attempts are in memory alone."""
        with self._lock:
            return sum(kept.count for kept in self._overflow.values())

    def take_untold(self) -> int:
        """How many attempts found no room on disk since the last call, for the log. They stay counted."""
        with self._lock:
            count, self._untold = self._untold, 0
            return count

    def _count(self, minute: int, key: Key, reason: str, count: int, first_seen: float, last_seen: float) -> bool:
        """Add to a slot on disk; False when there is no room or the disk fails."""
        try:
            slot = self._slots.get((minute, key)) or self._claim(minute, key, reason, first_seen)
            if slot is None:
                return False
            os.pwrite(self._fd, _COUNT.pack(slot.count + count, min(slot.first_seen, first_seen), last_seen), slot.offset + 8)
        except (OSError, UnicodeError):
            return False
        slot.count += count
        return True

    def _keep(self, minute: int, key: Key, now: float) -> None:
        self._untold += 1
        rule, layer = key[3], key[4]
        kept = self._overflow.get((minute, rule, layer))
        if kept is None and len(self._overflow) >= MAX_OVERFLOW:  # a disk that is full for days: any minute of the same rule will do
            kept = next((one for (_, *same), one in self._overflow.items() if same == [rule, layer]), None)
        if kept is None:
            self._overflow[minute, rule, layer] = _Overflow(1, now, now)
        else:
            kept.count, kept.last_seen = kept.count + 1, now

    def _write_overflow(self) -> None:
        for (minute, rule, layer), kept in list(self._overflow.items()):
            key: Key = (OTHER, 0, "", rule, layer, "", "", "")
            if not self._count(minute, key, "There was no room in the spool for the details.", kept.count, kept.first_seen, kept.last_seen):
                return
            del self._overflow[minute, rule, layer]

    def _bounded(self, minute: int, key: Key) -> Key:
        """The key itself, or with `(other)` for what is beyond the bounds of this minute: of one host, then of all."""
        if minute != self._minute:
            self._minute, self._keys = minute, {}
        host, _port, _path, rule, layer, *_rest = key
        keys = self._keys.get(host)
        if keys is None:
            if len(self._keys) >= MAX_HOSTS:
                return (OTHER, 0, "", rule, layer, "", "", "")
            keys = self._keys[host] = set()
        if key not in keys:
            if len(keys) >= MAX_KEYS:
                return (host, 0, OTHER, rule, layer, "", "", "")
            keys.add(key)
        return key

    def _claim(self, minute: int, key: Key, reason: str, now: float) -> _Slot | None:
        if (self._fd < 0 or len(self._slots) >= SLOTS) and not self._open():
            return None
        offset = len(MAGIC) + SLOT * (1 + len(self._slots))
        payload = _payload([minute, *key], reason)
        if len(payload) > _ROOM:
            return None
        os.pwrite(self._fd, _HEAD.pack(len(payload), zlib.crc32(payload), 0, now, now) + payload, offset)
        slot = self._slots[minute, key] = _Slot(offset, 0, now)
        return slot

    def _open(self) -> bool:
        """Start an empty segment; False when a bound is reached or the disk is full, which is looked at again after a second."""
        if time.monotonic() < self._no_room_until:
            return False
        if self._start_segment():
            return True
        self._no_room_until = time.monotonic() + 1
        return False

    def _start_segment(self) -> bool:
        """Nothing of this object changes before the segment is whole: an exception may come out of a signal handler at any point."""
        self._seal()
        draft: Path | None = None
        fd = -1
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._waiting() >= MAX_SEGMENTS or sum(path.suffix != ".damaged" for path in self._directory.iterdir()) >= MAX_FILES:
                return False
            path = self._directory / f"{self._stem()}-{self._sequence:06}.seg"
            self._sequence += 1
            draft = path.with_suffix(".tmp")
            fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before the name is visible, so that nobody adopts a live segment
            os.posix_fallocate(fd, 0, SEGMENT_BYTES)
            header = json.dumps({"service": self._service, "process": f"{gethostname()}:{os.getpid()}"}).encode()
            os.pwrite(fd, MAGIC + _HEAD.pack(len(header), zlib.crc32(header), 0, 0, 0) + header, 0)
            os.rename(draft, path)
            self._fd, self._path, self._slots, fd = fd, path, {}, -1
        except OSError:
            return False
        finally:
            if fd >= 0:
                os.close(fd)
                if draft is not None:
                    with contextlib.suppress(OSError):
                        draft.unlink(missing_ok=True)
        return True

    def is_in(self, directory: Path, service: str) -> bool:
        """Whether it spools there, for that service."""
        return (self._directory, self._service) == (directory, service)

    def close(self) -> None:
        """Hand everything over. What still finds no room is lost with this object."""
        with self._lock:
            self._no_room_until = 0.0
            self._write_overflow()
            self._seal()

    def _seal(self) -> None:
        """Rename, then let go. A segment that cannot be renamed stays a .seg without an owner, which the drain adopts."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.rename(self._path, self._path.with_suffix(".sealed"))
            fd, self._fd, self._slots = self._fd, -1, {}  # before the close: an interrupted one must not leave another's number here
            os.close(fd)

    def _waiting(self) -> int:
        """How many of this process's sealed segments the drain has not taken yet."""
        return sum(1 for _ in self._directory.glob(f"{self._stem()}-*.sealed"))

    def _stem(self) -> str:
        return f"{gethostname()[:40]}-{os.getpid()}-{self._born}"

    def _after_fork(self) -> None:
        """The parent keeps its segment and its lock on it (close does not release a flock that the parent still holds)."""
        inherited = self._fd
        self._start_over()
        if inherited >= 0:
            os.close(inherited)


def _payload(fields: list[str | int], reason: str) -> bytes:
    """JSON that fits into a slot; the reason gives way first."""
    payload = json.dumps([*fields, reason], ensure_ascii=False, separators=(",", ":")).encode()
    excess = len(payload) - _ROOM
    if excess <= 0:
        return payload
    shorter = reason.encode()[: max(0, len(reason.encode()) - excess - 8)].decode(errors="ignore")
    payload = json.dumps([*fields, shorter], ensure_ascii=False, separators=(",", ":")).encode()
    if len(payload) <= _ROOM:
        return payload
    minute, host, port, *words = fields
    return json.dumps([minute, host, port, *(str(word)[:24] for word in words), ""], ensure_ascii=False, separators=(",", ":")).encode()


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
    length, checksum, count, first_seen, last_seen = _HEAD.unpack_from(content, start)
    payload = content[start + _HEAD.size : start + _HEAD.size + length]
    if not 0 < length <= _ROOM or zlib.crc32(payload) != checksum:
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
