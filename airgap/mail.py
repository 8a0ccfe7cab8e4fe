"""The product's only way to send mail: Django's SMTP backend behind the gate. EMAIL_URL is its relay.

The relay's host is judged before anything is looked up, its addresses before anything is dialled, with the air gap on; the
judged address is dialled. AISOC_CA_BUNDLE verifies the relay's certificate.
"""

import io
import smtplib
import socket
import ssl
from functools import cached_property
from time import monotonic
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.utils import DNS_NAME

from airgap import contacts, events
from airgap.active import active_policy
from airgap.blocked import AirgapBlocked
from airgap.events import Layer
from airgap.lookup import Refuse, judged_addresses
from airgap.policy import Decision
from airgap.transport import tls_context

TIMEOUT: Final = 10.0  # seconds for each wait
DEADLINE: Final = 60.0  # seconds for a whole connection, from its opening

DNS_NAME._fqdn = socket.gethostname()  # Django would look the own name up, backwards, for EHLO


class GatedEmailBackend(EmailBackend):
    """purpose: who sends, for the trail. Raises AirgapBlocked whatever fail_silently says; ImproperlyConfigured without a relay."""

    def __init__(self, *args: Any, purpose: str = "mail", tenant: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("timeout", TIMEOUT)
        super().__init__(*args, **kwargs)
        self._purpose = purpose
        self._tenant = tenant

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        return tls_context(settings.AIRGAP_CA_BUNDLE)

    @property
    def connection_class(self) -> Any:
        kind: Any = _TlsRelayConnection if self.use_ssl else _RelayConnection
        return lambda host, port, **parts: kind(host, port, refuse=self._refuse, **parts)

    def open(self) -> bool | None:
        if not self.host:
            raise ImproperlyConfigured("There is no mail relay. Set EMAIL_URL, for example smtp+tls://mail.corp:587.")
        decision = active_policy().decide_host(self.host, int(self.port))
        if not decision.allowed:
            raise self._refuse(decision, self.host, int(self.port))
        if not active_policy().enabled:
            contacts.note(active_policy(), self.host, int(self.port), self._purpose)
        return super().open()

    def _refuse(self, decision: Decision, host: str, port: int) -> AirgapBlocked:
        """Record, then hand back the exception to raise."""
        refusal = events.refusal_of(decision, host=host, port=port, layer=Layer.MAIL, scheme="smtp", purpose=self._purpose, tenant=self._tenant)
        events.record(refusal)
        return AirgapBlocked(decision, host=host, port=port, layer=Layer.MAIL)


class _RelayConnection(smtplib.SMTP):
    """An SMTP connection to a judged address, whose every wait ends with its deadline, however slowly the relay drips."""

    def __init__(self, host: str, port: int, *, refuse: Refuse, **parts: Any) -> None:
        self._prepare(refuse)
        super().__init__(host, port, **parts)

    def _prepare(self, refuse: Refuse) -> None:
        """Before the base class dials."""
        self._refuse = refuse
        self._until = monotonic() + DEADLINE

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """smtplib's seam for dialling; the name stays in use for TLS."""
        failure: OSError = OSError(f"{host} has no address.")
        for address in judged_addresses(active_policy(), host, port, self._refuse):
            try:
                return socket.create_connection((address, port), timeout)
            except OSError as error:
                failure = error
        raise failure

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_TimedReads(self.sock, self._until, float(self.timeout)))
        return super().getreply()


class _TlsRelayConnection(smtplib.SMTP_SSL, _RelayConnection):
    """TLS from the first byte: SMTP_SSL wraps the socket that the next class in line dials."""

    def __init__(self, host: str, port: int, *, refuse: Refuse, **parts: Any) -> None:
        self._prepare(refuse)
        smtplib.SMTP_SSL.__init__(self, host, port, **parts)


class _TimedReads(io.RawIOBase):
    """What is read from a socket, each wait bounded by the timeout and by the deadline (monotonic seconds)."""

    def __init__(self, sock: socket.socket, until: float, timeout: float) -> None:
        self._sock = sock
        self._until = until
        self._timeout = timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError("The mail relay takes too long.")
        self._sock.settimeout(min(left, self._timeout))
        return self._sock.recv_into(buffer)
