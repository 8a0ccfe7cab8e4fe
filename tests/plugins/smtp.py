"""Real SMTP servers on loopback, with STARTTLS or TLS when a test asks for it."""

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Inbox:
    """What an SMTP server took in. `refuses`: receivers it does not take, with what it says to them."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.refuses: dict[str, str] = {}
        self.says = "250 OK"

    async def handle_RCPT(self, _server: object, _session: object, envelope: Any, address: str, _options: object) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        if self.says.startswith("250"):
            self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return self.says


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def serve(certificate: tuple[Path, Path]) -> Iterator[Callable[..., tuple[Inbox, int]]]:
    running: list[Controller] = []

    def start(*, starttls: bool = False, tls: bool = False, password: str = "") -> tuple[Inbox, int]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        inbox = Inbox()
        parts: dict[str, Any] = {"tls_context": context, "require_starttls": True} if starttls else {}
        if password:
            parts["authenticator"] = lambda *given: AuthResult(success=given[-1].password == password.encode())
            parts |= {"auth_require_tls": False, "auth_required": True}
        if tls:
            parts["ssl_context"] = context
        controller = Controller(inbox, hostname="127.0.0.1", port=0, server_hostname="localhost", **parts)
        running.append(controller)
        controller.port = free()
        controller.start()
        return inbox, controller.port

    yield start
    for controller in running:
        controller.stop()


def free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
