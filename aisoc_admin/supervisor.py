"""Keeps a set of programs running and ends them together. Knows nothing of the settings or of Django."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException  # noqa: TID251  asks our own web on this machine whether it is ready
from types import FrameType

import structlog

from airgap.blocked import AirgapBlocked

GRACE = 7.0  # seconds between SIGTERM and SIGKILL; with the broker's two it all stays under ten
BROKER_GRACE = 2.0
SETTLED_AFTER = 60.0  # an end after that many seconds of life counts as the first failure again
LONGEST_PAUSE = 30.0
ONE_REQUEST = 0.5  # seconds within which several signals are one wish: wrappers like to send two
COMPLAIN_EVERY = 30.0
HEAD_START = 3.0  # seconds in which the web has the machine to itself while it boots; less if it is ready before

CHILD_STARTED = "child.started"
CHILD_EXITED = "child.exited"
CHILD_RESTARTING = "child.restarting"
CHILD_KILLED = "child.killed"
WEB_NOT_READY = "web.not_ready"

log = structlog.stdlib.get_logger("supervisor")
Process = subprocess.Popen[bytes]


class BrokerEnded(Exception):
    """The broker ended before it answered for the first time."""


def pause_before_restart(failures: int) -> float:
    """1, 2, 4 … 30 seconds after the first, second, third … failure in a row."""
    return min(LONGEST_PAUSE, 2.0 ** (failures - 1))


def kill_group(pid: int) -> None:
    """SIGKILL to every process of the group that `pid` led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(pid, signal.SIGKILL)


@dataclass(slots=True)
class Child:
    """A program that is kept running. `spawn` makes it the leader of its own process group."""

    name: str
    spawn: Callable[[], Process]
    process: Process | None = None
    started: float = 0.0
    failures: int = 0
    due: float = 0.0  # monotonic second of the next start, while there is no process

    def keep_running(self) -> None:
        """Note an end and set the time of the next start, or start when that time has come."""
        now = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            pid, self.process = self.process.pid, None
            kill_group(pid)  # what it left behind would hold its port
            self.failures = 1 if now - self.started >= SETTLED_AFTER else self.failures + 1
            log.warning(CHILD_EXITED, name=self.name, pid=pid, code=code)
            self._start_later()
        if self.process is None and self.due <= now:
            try:
                self.start()
            except Exception as error:  # a start that fails is tried again like one that ends
                self.failures += 1
                self._start_later(reason=str(error))

    def start(self) -> None:
        self.process, self.started = self.spawn(), time.monotonic()
        log.info(CHILD_STARTED, name=self.name, pid=self.process.pid)

    def _start_later(self, **why: str) -> None:
        pause = pause_before_restart(self.failures)
        self.due = time.monotonic() + pause
        log.warning(CHILD_RESTARTING, name=self.name, seconds=pause, **why)


class Signals:
    """SIGTERM, SIGINT and SIGHUP as a count of wishes to stop, and a wait that they and the end of a child cut short."""

    def __init__(self) -> None:
        self.stops = 0
        self._last = float("-inf")
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._inside, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._outside.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
            signal.signal(signal.SIGHUP, self._stop)

    @property
    def hurried(self) -> bool:
        return self.stops > 1

    def wait(self, seconds: float, also: socket.socket | None = None) -> None:
        """Until a signal comes, `also` can be read, or the time is over."""
        if also is not None:
            self._selector.register(also, selectors.EVENT_READ)
        try:
            self._selector.select(max(0.0, seconds))
            with contextlib.suppress(BlockingIOError):
                self._inside.recv(4096)
        finally:
            if also is not None:
                self._selector.unregister(also)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last > ONE_REQUEST:
            self.stops += 1
        self._last = now


@dataclass(slots=True)
class Readiness:
    """Asks the web's /ready again and again, without making the caller wait for an answer."""

    address: str
    port: int
    host: str  # the name under which the web expects to be asked
    seconds: float = 5.0
    reason: str = "no answer yet"
    _asked: HTTPConnection | None = None
    _since: float = 0.0

    @property
    def socket(self) -> socket.socket | None:
        """Readable once there is an answer; None while nothing is asked."""
        return self._asked.sock if self._asked else None

    def ask(self) -> bool:
        """Ask, or look for the answer to what was asked before; true once it is 200."""
        if self._asked is None:
            self._asked, self._since = HTTPConnection(self.address, self.port, timeout=1), time.monotonic()
            try:
                self._asked.request("GET", "/ready", headers={"Host": self.host, "Connection": "close"})
            except (OSError, AirgapBlocked) as error:  # the guard holds here too: bound to a public address of this machine
                self._close(str(error))
            return False
        if _readable(self._asked.sock):
            try:
                answer = self._asked.getresponse()
                status, body = answer.status, answer.read(4096)
            except (OSError, HTTPException) as error:
                self._close(type(error).__name__)
                return False
            self._close(_reasons(status, body))
            return status == 200
        if time.monotonic() - self._since > self.seconds:
            self._close(f"no answer within {self.seconds:.0f} s")
        return False

    def _close(self, reason: str) -> None:
        if self._asked is not None:
            self._asked.close()
        self._asked, self.reason = None, reason


def _readable(connection: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def _reasons(status: int, body: bytes) -> str:
    try:
        return "; ".join(json.loads(body)["reasons"]) or f"status {status}"
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """The broker first, then a program that prepares, then the services, until a signal asks for the end."""

    signals: Signals
    broker: Child | None
    broker_answers: Callable[[], bool]
    prepare: Callable[[], Process]
    services: Sequence[Child]  # in the order in which they are asked to stop
    web: Child  # the one of them that people wait for
    readiness: Readiness
    on_started: Callable[[], None]
    on_ready: Callable[[], None]
    grace: float = GRACE
    _ready: bool = False
    _complained: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """The exit status: 0 after a stop that was asked for, else that of `prepare`. Raises BrokerEnded."""
        try:
            if self.broker:
                self.broker.start()
            status = self._prepared()
            if status != 0 or not self._broker_is_up():
                return status
            self.on_started()
            self._others_start_at(time.monotonic() + HEAD_START)
            while not self.signals.stops:
                self._look_for_ready()
                for child in self._children():
                    child.keep_running()
                self.signals.wait(self._seconds_to_next(), self.readiness.socket)
            return 0
        finally:
            self._end([child.process for child in self.services if child.process])
            if self.broker and self.broker.process:
                self._end([self.broker.process], BROKER_GRACE)

    def _children(self) -> list[Child]:
        return [*([self.broker] if self.broker else []), *self.services]

    def _prepared(self) -> int:
        process = self.prepare()
        while (status := process.poll()) is None:
            self.signals.wait(0.5)
            if self.signals.stops:
                self._end([process])
                return 0
        return status if status >= 0 else 1

    def _broker_is_up(self) -> bool:
        """Wait while a long append-only file loads; false when the end was asked for meanwhile."""
        while self.broker and not self.signals.stops and not self.broker_answers():
            if self.broker.process is None or self.broker.process.poll() is not None:
                raise BrokerEnded
            self.signals.wait(0.02)
        return not self.signals.stops

    def _others_start_at(self, moment: float) -> None:
        for child in self.services:
            if child is not self.web and child.process is None and not child.failures:
                child.due = moment

    def _look_for_ready(self) -> None:
        if self._ready:
            return
        if self.readiness.ask():
            self._ready = True
            self.on_ready()
            self._others_start_at(time.monotonic())
        elif time.monotonic() - self._complained > COMPLAIN_EVERY:
            self._complained = time.monotonic()
            log.warning(WEB_NOT_READY, reason=self.readiness.reason)

    def _seconds_to_next(self) -> float:
        now = time.monotonic()
        waits = [child.due - now for child in self._children() if child.process is None]
        if not self._ready:
            waits.append(0.05 if self.readiness.socket is None else 0.5)
        return min(waits, default=3600.0)

    def _end(self, processes: Sequence[Process], grace: float | None = None) -> None:
        """SIGTERM in order; SIGKILL to whole groups once the grace is over or a second signal hurries."""
        deadline = time.monotonic() + (self.grace if grace is None else grace)
        for process in processes:
            process.terminate()
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline and not self.signals.hurried:
            self.signals.wait(0.1)
        for process in processes:
            if process.poll() is None:
                log.warning(CHILD_KILLED, pid=process.pid)
            kill_group(process.pid)
            process.wait()
