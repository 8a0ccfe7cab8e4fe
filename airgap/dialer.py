"""Resolves, judges every answer and dials: the part of the gate below HTTP. Used by airgap.transport alone.

httpcore asks for a connection by name. Here the name is looked up once, each address is judged by the policy, and the
judged address is dialled, so that nothing can answer differently between the check and the connect. TLS still verifies the name.
"""

import math
import ssl
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any

import httpcore

from airgap.lookup import Judge, Refuse, judged_addresses

_SLICE = 16 * 1024  # bytes


class Deadline(threading.local):
    """The moment (monotonic clock) at which the request that this thread is making must be over."""

    at = math.inf


def within(until: float, timeout: float | None) -> float | None:
    """`timeout`, shortened to what is left until then. Raises httpcore.ReadTimeout when nothing is left."""
    left = until - monotonic()
    if timeout is not None and left > timeout:
        return timeout
    if left <= 0:
        raise httpcore.ReadTimeout("The time limit of the whole request has passed.")
    return left if left < math.inf else None


class JudgingBackend(httpcore.NetworkBackend):
    """Network backend of a connection pool: TCP to judged addresses only."""

    def __init__(self, policy: Judge, deadline: Deadline, refuse: Refuse) -> None:
        self._policy = policy
        self._deadline = deadline
        self._refuse = refuse
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Dial the first address that connects. Raises what `refuse` makes for a refused answer, else httpcore.ConnectError."""
        host = host.replace("%25", "%", 1)  # RFC 6874 writes the zone that way in a URL
        try:
            addresses = judged_addresses(self._policy, host, port, self._refuse)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved ({error}).") from None
        failure: Exception = httpcore.ConnectError(f"{host} has no address.")
        for address in addresses:
            try:
                stream = self._tcp.connect_tcp(address, port, within(self._deadline.at, timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return TimedStream(stream, self._deadline)
        raise failure

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None) -> httpcore.NetworkStream:
        raise httpcore.UnsupportedProtocol("Gated clients do not dial Unix sockets.")


class TimedStream(httpcore.NetworkStream):
    """A network stream whose every wait ends with the request's deadline, however slowly the other side drips.

    The deadline is the one of the thread that writes the request; the answer may be read in another.
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self._until = deadline.at
        self._read = stream.read
        # Asked before each request on a kept connection: one Python frame less.
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if timeout is not None and self._until - monotonic() > timeout:
            return self._read(max_bytes, timeout)
        return self._read(max_bytes, within(self._until, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._until = self._deadline.at
        if len(buffer) <= _SLICE:  # taken by the kernel at once, or not within `timeout`
            self._stream.write(buffer, timeout)
            return
        for start in range(0, len(buffer), _SLICE):  # httpcore waits anew for each piece that the other side takes
            self._stream.write(buffer[start : start + _SLICE], within(self._until, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, within(self._deadline.at, timeout)), self._deadline)
