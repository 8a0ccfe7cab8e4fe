"""A broker over TLS: neither Celery nor the health check says a word to one whose certificate it cannot verify."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.plugins.certificate import self_signed

pytest_plugins = ["tests.plugins.valkey"]

BOTH = """
import django
django.setup()
from aisoc_admin import celery, health
print(health._broker())
try:
    celery.app.send_task("threatintel.tasks.poll", args=("kev", "1.1"), queue="intel", retry=False)
except Exception as error:
    print("not sent:", error)
else:
    print("sent")
"""


class Tls:
    """Ends TLS before a Valkey, and keeps what came in."""

    def __init__(self, certificate: Path, key: Path, valkey: str) -> None:
        self.heard = b""
        self._valkey = valkey
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._one, args=self._listener.accept()[:1], daemon=True).start()

    def _one(self, raw: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(raw, server_side=True) as client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._valkey)
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            while said := client.recv(65536):
                self.heard += said
                server.sendall(said)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while said := server.recv(65536):
                client.sendall(said)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def tls(tmp_path: Path, valkey: str) -> Iterator[Tls]:
    certificate, key = self_signed(tmp_path, "valkey", "IP:127.0.0.1")
    server = Tls(certificate, key, valkey.removeprefix("redis+socket://").partition("?")[0])
    yield server
    server.close()


def said_by_both(tls: Tls, folder: Path, **variables: str) -> list[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "aisoc_admin.settings",
        "AISOC_DATA_DIR": str(folder / "var"),
        "CELERY_BROKER_URL": f"rediss://127.0.0.1:{tls.port}/0",
        **variables,
    }
    done = subprocess.run([sys.executable, "-c", BOTH], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_broker_that_nobody_vouches_for_hears_nothing(tls: Tls, tmp_path: Path) -> None:
    checked, sent = said_by_both(tls, tmp_path)
    assert (checked, "CERTIFICATE_VERIFY_FAILED" in sent) == ("away (ConnectionError)", True)
    assert tls.heard == b""


def test_the_site_s_own_ca_verifies_it_for_both(tls: Tls, tmp_path: Path) -> None:
    assert said_by_both(tls, tmp_path, AISOC_CA_BUNDLE=str(tmp_path / "ca.pem")) == ["ok", "sent"]
    assert b"threatintel.tasks.poll" in tls.heard
