"""A bounded spool on disk that counts refusals, so that an attempt survives kill -9, a dead database and a full disk.

One file a segment (airgap/segments.py), of fixed-size slots and allocated whole when it is opened: afterwards a refusal is one
pwrite into space that is already there. A slot is one (minute, host, port, path, rule, layer, purpose, tenant, caller) and its count, so a
tight loop costs one slot a minute. What is beyond a minute's bounds is added to its `(other)` slot. What finds no room at all
(every segment full, the disk full) is counted in memory as overflow, and spooled as `(other)` once there is room again; no
attempt is ever dropped uncounted.
"""

import contextlib
import fcntl
import json
import os
import struct
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

from airgap.segments import HEAD, MAGIC, OTHER, ROOM, SEGMENT_BYTES, SLOT, SLOTS, Key

MAX_SEGMENTS = 32  # sealed segments that one process may leave waiting: 16 MiB
MAX_HOSTS = 400  # distinct hosts a minute and process before the rest is counted as OTHER
MAX_KEYS = 20  # distinct records a minute and host before the rest is counted as OTHER
MAX_FILES = 400  # in the folder, of all processes, damaged ones apart: 200 MiB
MAX_OVERFLOW = 2000  # distinct (minute, rule, layer) counted in memory
_COUNT = struct.Struct("<Qdd")


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
        if len(payload) > ROOM:
            return None
        os.pwrite(self._fd, HEAD.pack(len(payload), zlib.crc32(payload), 0, now, now) + payload, offset)
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
            os.pwrite(fd, MAGIC + HEAD.pack(len(header), zlib.crc32(header), 0, 0, 0) + header, 0)
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
    excess = len(payload) - ROOM
    if excess <= 0:
        return payload
    shorter = reason.encode()[: max(0, len(reason.encode()) - excess - 8)].decode(errors="ignore")
    payload = json.dumps([*fields, shorter], ensure_ascii=False, separators=(",", ":")).encode()
    if len(payload) <= ROOM:
        return payload
    minute, host, port, *words = fields
    return json.dumps([minute, host, port, *(str(word)[:24] for word in words), ""], ensure_ascii=False, separators=(",", ":")).encode()
