"""Mail goes through the gate: judged before a look-up, judged again by its answers, and then to the judged address."""

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection

from airgap import lookup, mail
from airgap.mail import GatedEmailBackend
from airgap.policy import EgressPolicy, Rule
from airgap.relay import MailRelay
from airgap.segments import waiting_segments
from airgap.transport import AirgapBlocked

Policy = Callable[..., EgressPolicy]


def backend(host: str, port: int, **parts: Any) -> Any:
    return get_connection("airgap.mail.GatedEmailBackend", host=host, port=port, **parts)


def send(connection: Any) -> int:
    return EmailMessage("Drift", "worker-2 runs with the air gap off", "aisoc@corp", ["soc@corp"], connection=connection).send()


def refused(folder: Path) -> list[tuple[str, int, str, str, str, int]]:
    mail_recorder = mail.events.recorder()
    assert mail_recorder is not None
    mail_recorder.spool.seal()
    return [(*record.key[:2], *record.key[3:6], record.count) for waiting in waiting_segments(folder) for record in waiting.read().records]


def test_mail_arrives_through_an_internal_relay_with_starttls(airgapped: Policy, serve: Any, settings: Any, certificate: tuple[Path, Path]) -> None:
    airgapped()
    settings.AIRGAP_CA_BUNDLE = str(certificate[0])
    inbox, port = serve(starttls=True)
    assert send(backend("localhost", port, use_tls=True)) == 1
    assert [(sender, receivers) for sender, receivers, _content in inbox.mails] == [("aisoc@corp", ["soc@corp"])]


def test_mail_arrives_through_a_relay_with_tls_from_the_first_byte(
    airgapped: Policy, serve: Any, settings: Any, certificate: tuple[Path, Path]
) -> None:
    airgapped()
    settings.AIRGAP_CA_BUNDLE = str(certificate[0])
    inbox, port = serve(tls=True)
    assert send(backend("localhost", port, use_ssl=True)) == 1
    assert len(inbox.mails) == 1


def test_a_relay_that_the_bundle_does_not_vouch_for_gets_nothing(airgapped: Policy, serve: Any) -> None:
    airgapped()
    inbox, port = serve(starttls=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        send(backend("localhost", port, use_tls=True))
    assert inbox.mails == []


def test_a_public_relay_is_refused_before_any_look_up(airgapped: Policy, spool_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped()
    monkeypatch.setattr(lookup.socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    for quiet in (False, True):
        with pytest.raises(AirgapBlocked) as caught:
            send(backend("smtp.example.com", 587, fail_silently=quiet, purpose="action.email"))
        assert (caught.value.decision.rule, caught.value.layer) == (Rule.PUBLIC, "mail")
    assert refused(spool_dir) == [("smtp.example.com", 587, "public", "mail", "action.email", 2)]


def test_an_internal_name_with_a_public_answer_is_refused_before_it_is_dialled(
    airgapped: Policy, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    airgapped()
    monkeypatch.setattr(lookup.socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.1", 25)), (2, 1, 6, "", ("93.184.216.34", 25))])
    monkeypatch.setattr(mail.socket, "create_connection", lambda *_, **__: pytest.fail("a connection was opened"))
    with pytest.raises(AirgapBlocked) as caught:
        send(backend("mail.internal", 25))
    assert caught.value.decision.rule is Rule.PRIVATE_NAME_PUBLIC_ANSWER
    assert [row[2:4] for row in refused(spool_dir)] == [("private_name_public_answer", "mail")]


def test_the_second_address_is_tried_when_the_first_does_not_answer(airgapped: Policy, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped()
    inbox, port = serve()
    monkeypatch.setattr(lookup.socket, "getaddrinfo", lambda *_, **__: [(10, 1, 6, "", ("::1", port)), (2, 1, 6, "", ("127.0.0.1", port))])
    assert send(backend("mail.corp", port)) == 1
    assert len(inbox.mails) == 1


def test_without_a_relay_mail_is_an_error_and_never_a_silent_success(airgapped: Policy) -> None:
    airgapped()
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL"):
        send(GatedEmailBackend())


def test_with_the_air_gap_off_any_relay_will_do(airgapped: Policy, serve: Any) -> None:
    airgapped(on="0")
    inbox, port = serve()
    assert send(backend("127.0.0.1", port)) == 1
    assert len(inbox.mails) == 1


def test_a_relay_that_drips_is_given_up_at_the_deadline(airgapped: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped()
    monkeypatch.setattr(mail, "DEADLINE", 0.6)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"2")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            send(backend("127.0.0.1", listener.getsockname()[1]))
        stop.set()
        thread.join()
    assert time.monotonic() - began < 3


def test_the_own_name_is_not_looked_up_for_the_greeting(airgapped: Policy, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped()
    _inbox, port = serve()
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("the own name was looked up"))
    assert send(backend("127.0.0.1", port)) == 1


@pytest.mark.parametrize(
    ("text", "host", "port", "starttls", "tls", "user", "password"),
    [
        ("smtp://mail.corp", "mail.corp", 25, False, False, "", ""),
        ("smtp+tls://mail.corp", "mail.corp", 587, True, False, "", ""),
        ("smtps://mail.corp", "mail.corp", 465, False, True, "", ""),
        ("smtp+ssl://[fd00::1]:2465", "fd00::1", 2465, False, True, "", ""),
        (" smtp+tls://us%40er:p%2Fw@MAIL.corp:25/ ", "mail.corp", 25, True, False, "us@er", "p/w"),
    ],
)
def test_relays_as_urls(text: str, host: str, port: int, starttls: bool, tls: bool, user: str, password: str) -> None:
    assert MailRelay.parse(text) == MailRelay(host, port, starttls, tls, user, password)


@pytest.mark.parametrize(
    "text", ["mail.corp", "http://mail.corp", "smtp://mail.corp:0", "smtp://mail.corp:70000", "smtp://a@b@c", "smtp://134744072", "smtp://m/x"]
)
def test_what_is_no_relay_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        MailRelay.parse(text)


def test_a_relay_shows_no_password() -> None:
    assert "hunter2" not in repr(MailRelay.parse("smtp://user:hunter2@mail.corp"))
