"""Event names and record(): one log line and one spooled record for each refusal, before its caller sees the exception.

record() never raises, never blocks on the network or the database, and never unblocks. Only real attempts are recorded:
status, checks, "try a host" and previews ask the policy directly.
"""

import contextlib
import logging
import os
import re
import sys
import sysconfig
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from airgap.hosts import shown_host
from airgap.policy import Decision, Rule
from airgap.spool import Spool

AIRGAP_BLOCK: Final = "airgap.block"
AIRGAP_DAY_SEALED: Final = "airgap.day_sealed"
AIRGAP_DRIFT: Final = "airgap.drift"
AIRGAP_FEED_BLOCKED: Final = "airgap.feed_blocked"
AIRGAP_GUARD_NOT_ENFORCING: Final = "airgap.guard_not_enforcing"
AIRGAP_GUARD_REPLACED: Final = "airgap.guard_replaced"
AIRGAP_HEAD_NOT_SIGNED: Final = "airgap.head_not_signed"
AIRGAP_PROXY_ENV_IGNORED: Final = "airgap.proxy_env_ignored"
AIRGAP_UNGUARDED_CLIENT: Final = "airgap.unguarded_client"
AIRGAP_SEGMENT_KNOWN: Final = "airgap.segment_known"
AIRGAP_SETTINGS_REFUSED: Final = "airgap.settings_refused"
AIRGAP_SPOOL_DAMAGED: Final = "airgap.spool_damaged"
AIRGAP_SPOOL_OVERFLOW: Final = "airgap.spool_overflow"

QUIET_SECONDS = 60.0  # the same (host, port, rule, layer) is logged once in this span, counted always
MAX_QUIET_KEYS = 4096
MAX_LINES = 300  # airgap.block lines a process and minute

log = structlog.stdlib.get_logger("airgap")


class Layer(StrEnum):
    """Where an attempt was stopped."""

    HTTP = "http"
    DNS = "dns"
    CONNECT = "connect"
    PROXY = "proxy"
    MAIL = "mail"
    LLM = "llm"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused attempt, already redacted: `host`, `url` and `path` hold no user info, query, fragment or token-like segment."""

    host: str
    port: int | None
    rule: Rule
    reason: str
    layer: Layer
    url: str = ""
    path: str = ""
    purpose: str = ""
    tenant: str = ""
    caller: str = ""


class Recorder:
    """Counts refusals into the spool of this process and logs each kind at most once a minute."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._lock = threading.RLock()  # a signal handler may be refused while its thread is in here
        self._quiet: dict[tuple[str, int | None, Rule, Layer], tuple[float, int]] = {}
        self._lines: tuple[float, int] = (0.0, 0)  # since when, and how many
        os.register_at_fork(after_in_child=self._reset_lock)

    def record(self, refusal: Refusal) -> None:
        self.count(refusal)
        self._log(refusal)

    def count(self, refusal: Refusal) -> None:
        self.spool.add(
            (
                storable(refusal.host, 253),
                refusal.port if refusal.port is not None and 0 < refusal.port < 65536 else 0,
                storable(refusal.path, 160),
                refusal.rule.value,
                refusal.layer.value,
                storable(refusal.purpose, 60),
                storable(refusal.tenant, 60),
                storable(refusal.caller, 100),
            ),
            storable(refusal.reason, 400),
            time.time(),
        )

    def _log(self, refusal: Refusal) -> None:
        suppressed = self._take_turn(refusal)
        if suppressed is not None:
            log.warning(
                AIRGAP_BLOCK,
                url=refusal.url,
                host=refusal.host,
                port=refusal.port,
                rule=refusal.rule.value,
                reason=refusal.reason,
                layer=refusal.layer.value,
                purpose=refusal.purpose,
                tenant=refusal.tenant,
                caller=refusal.caller,
                suppressed=suppressed,
            )

    def _take_turn(self, refusal: Refusal) -> int | None:
        """How many lines were left out since the last one, or None when this one is left out too."""
        key = (refusal.host, refusal.port, refusal.rule, refusal.layer)
        now = time.monotonic()
        with self._lock:
            since, left_out = self._quiet.get(key, (0.0, 0))
            if since and now - since < QUIET_SECONDS:
                self._quiet[key] = (since, left_out + 1)
                return None
            begun, lines = self._lines if now - self._lines[0] < QUIET_SECONDS else (now, 0)
            if lines >= MAX_LINES:  # random hosts must not fill the log either; they are counted in the trail
                return None
            self._lines = (begun, lines + 1)
            if len(self._quiet) >= MAX_QUIET_KEYS:
                self._quiet.clear()
            self._quiet[key] = (now, 0)
            return left_out

    def _reset_lock(self) -> None:
        """In a forked child: a lock held by another thread of the parent would stay locked for ever."""
        self._lock = threading.RLock()


_recorder: Recorder | None = None


def configure(spool_dir: Path, *, service: str) -> None:
    """Say where this process spools. Called before anything can be refused; a later call with another folder replaces the spool."""
    global _recorder
    if _recorder is not None:
        if _recorder.spool.is_in(spool_dir, service):
            return
        _recorder.spool.close()  # what it holds is for the drain
    _recorder = Recorder(Spool(spool_dir, service=service))


def recorder() -> Recorder | None:
    """The recorder of this process, or None before configure()."""
    return _recorder


def record(refusal: Refusal) -> None:
    """Log and spool one refusal. Whatever goes wrong in here is logged; the refusal itself stands."""
    try:
        if _recorder is not None:
            _recorder.record(refusal)
        else:
            log.warning(AIRGAP_BLOCK, host=refusal.host, port=refusal.port, rule=refusal.rule.value, layer=refusal.layer.value, unspooled=True)
    except Exception:
        with contextlib.suppress(Exception):  # a broken log handler must not turn a refusal into another error
            logging.getLogger("airgap").exception("airgap.record_failed")


def count(refusal: Refusal) -> None:
    """Spool one refusal without a log line: for what is refused while a refusal is being logged."""
    with contextlib.suppress(Exception):  # as above: the refusal stands
        if _recorder is not None:
            _recorder.count(refusal)


# ── Redaction ────────────────────────────────────────────────────────────────────────────────────────────────────────
# A whitelist: a segment is kept when it looks like a word, a version or a short number, and hidden otherwise.
_PLAIN_SEGMENT = re.compile(r"[A-Za-z][a-z._-]{0,14}|v[0-9]{1,2}|[0-9]{1,4}|")
_BEFORE_A_SECRET = re.compile(r"services|workflows|triggers|(web)?hooks?|webhookb2", re.IGNORECASE)  # what follows is a token, whatever it looks like
MAX_SEGMENTS = 6
HIDDEN_PATH: Final = "/***"  # of a URL whose path is a secret as a whole


def redacted_path(path: str) -> str:
    """The path of a URL without its query and without segments that could be a token."""
    segments = path.split("?", 1)[0].split("#", 1)[0].split("/")
    kept: list[str] = []
    secret = False
    for segment in segments[: MAX_SEGMENTS + 1]:
        kept.append(segment if _PLAIN_SEGMENT.fullmatch(segment) and not (secret and segment) else "***")
        secret = secret or _BEFORE_A_SECRET.fullmatch(segment) is not None
    return "/".join(kept) + ("/…" if len(segments) > MAX_SEGMENTS + 1 else "")


def redacted_url(scheme: str, host: str, port: int | None, path: str, *, query: bool) -> str:
    """scheme://host:port/path as it may stand in a log."""
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port is not None else ""
    return f"{scheme}://{shown_host}{shown_port}{redacted_path(path)}{'?***' if query else ''}"


def storable(text: str, length: int) -> str:
    """Text that every database and JSON reader takes: no control characters, no lone surrogates, at most `length` characters."""
    if text.isascii() and text.isprintable():
        return text[:length]
    return "".join(char if char.isprintable() else "?" for char in text[: 2 * length].encode(errors="replace").decode())[:length]


# ── Who asked ────────────────────────────────────────────────────────────────────────────────────────────────────────
_STDLIB = sysconfig.get_path("stdlib")
_MAX_FRAMES = 100


def calling_module() -> str:
    """Name of the nearest module that is neither this app, the standard library nor an installed package.

    Else, as in a thread that a package started, of the nearest installed package; else of the outermost.
    """
    frame: FrameType | None = sys._getframe(1)
    name = package = ""
    for _ in range(_MAX_FRAMES):
        if frame is None:
            break
        name = str(frame.f_globals.get("__name__", "")) or name
        file = frame.f_code.co_filename
        if "site-packages" in file:
            package = package or name
        elif not (name.startswith("airgap.") or file.startswith((_STDLIB, "<"))):
            return name
        frame = frame.f_back
    return package or name


def refusal_of(
    decision: Decision,
    *,
    host: str,
    port: int | None,
    layer: Layer,
    scheme: str = "",
    path: str = "",
    query: bool = False,
    purpose: str = "",
    tenant: str = "",
) -> Refusal:
    """A Refusal for `decision`, redacted, with the calling module filled in."""
    host = shown_host(host)
    return Refusal(
        host=host,
        port=port,
        rule=decision.rule,
        reason=decision.reason,
        layer=layer,
        url=redacted_url(scheme, host, port, path, query=query) if scheme else "",
        path=redacted_path(path),
        purpose=purpose,
        tenant=tenant,
        caller=calling_module(),
    )
