"""The product's only way to send mail: Django's SMTP backend behind the gate. EMAIL_URL is its relay.

The relay's host is judged before anything is looked up, its addresses before anything is dialled, with the air gap on; the
judged address is dialled. AISOC_CA_BUNDLE verifies the relay's certificate.
"""

import contextlib
import io
import smtplib
import socket
import ssl
from email.utils import parseaddr
from functools import cached_property
from time import monotonic
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.utils import DNS_NAME

from airgap import contacts, events
from airgap.active import active_policy
from airgap.blocked import AirgapBlocked
from airgap.events import Layer
from airgap.lookup import Refuse, judged_addresses
from airgap.policy import Decision
from airgap.relay import MailRelay
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


class NotTaken(Exception):
    """The relay did not take a mail. permanent: it would not take it later either. str() holds nothing that the relay wrote."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


def hand_in(message: EmailMessage, relay: MailRelay, *, purpose: str) -> int:
    """Give a mail to the relay: how many of its receivers were refused, which Django would not say. Raises NotTaken, AirgapBlocked."""
    backend = GatedEmailBackend(
        host=relay.host,
        port=relay.port,
        username=relay.username,
        password=relay.password,
        use_tls=relay.starttls,
        use_ssl=relay.tls,
        purpose=purpose,
    )
    try:
        backend.open()
        connection: Any = backend.connection
        content: Any = message.message()  # Django's own class, which takes linesep
        refused = connection.sendmail(parseaddr(message.from_email)[1], message.recipients(), content.as_bytes(linesep="\r\n"))
    except smtplib.SMTPRecipientsRefused as error:
        permanent = all(code >= 500 for code, _text in error.recipients.values())
        raise NotTaken(f"{relay.host} refused every receiver.", permanent=permanent) from None
    except smtplib.SMTPResponseException as error:
        raise NotTaken(f"{relay.host} answered {error.smtp_code}{_MEANING.get(type(error), '.')}", permanent=500 <= error.smtp_code < 600) from None
    except smtplib.SMTPNotSupportedError:
        raise NotTaken(f"{relay.host} does not offer what EMAIL_URL asks for: STARTTLS, a login, or names beyond ASCII.", permanent=True) from None
    except UnicodeError:  # its text quotes the password
        raise NotTaken("User name or password of EMAIL_URL has characters that no login takes.", permanent=True) from None
    except ssl.SSLError as error:
        raise NotTaken(f"{relay.host}: no TLS ({type(error).__name__}); does AISOC_CA_BUNDLE vouch for its certificate?", permanent=False) from None
    except OSError as error:  # smtplib's other errors too
        raise NotTaken(f"{relay.host}: no connection, or it broke off ({type(error).__name__}).", permanent=False) from None
    finally:
        with contextlib.suppress(OSError):  # what was taken is taken, however the farewell goes
            backend.close()
    return len(refused)


_MEANING: Final[dict[type[smtplib.SMTPResponseException], str]] = {
    smtplib.SMTPAuthenticationError: " to the login of EMAIL_URL.",
    smtplib.SMTPSenderRefused: " to the sender: check ALERT_EMAIL_FROM.",
    smtplib.SMTPDataError: " to the mail itself.",
}


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
