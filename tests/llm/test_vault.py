"""The vault: what was sealed opens for its tenant and origin alone, under a key that is here, and nothing else is ever taken for a key."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from llm.config import Secret
from llm.vault import Problem, Vault, VaultError, fingerprint_of
from tests.conftest import ROOT

OLD, NEW, FOREIGN = (Fernet.generate_key().decode() for _ in range(3))
KEY = Secret("sk-planted-9921")
ORIGIN = "https://llm.corp:8443"


def problem(vault: Vault, text: str, tenant: str = "acme", origin: str = ORIGIN) -> Problem:
    with pytest.raises(VaultError) as caught:
        vault.open_sealed(text, tenant, origin)
    assert KEY.reveal() not in f"{caught.value!r}{caught.value}"
    return caught.value.problem


def test_a_sealed_key_opens_for_its_tenant_and_origin() -> None:
    sealed = Vault([NEW]).seal(KEY, "acme", ORIGIN)
    assert Vault([NEW]).open_sealed(sealed, "acme", ORIGIN) == KEY
    assert KEY.reveal() not in sealed
    assert sealed.startswith(f"v1.{fingerprint_of(NEW)}.")
    assert NEW not in repr(Vault([NEW]))


def test_sealing_twice_gives_two_texts() -> None:
    assert Vault([NEW]).seal(KEY, "acme", ORIGIN) != Vault([NEW]).seal(KEY, "acme", ORIGIN)


@pytest.mark.parametrize(
    "text", ["", "sk-live-plain", "v1.", f"v1.{'0' * 15}.abc", "gAAAAABk", f"v2.{fingerprint_of(NEW)}.gAAAAAB", "v1.\n"], ids=range(7)
)  # two workers have two keys
def test_text_that_is_not_sealed_is_never_a_key(text: str) -> None:
    assert problem(Vault([NEW]), text) is Problem.NOT_SEALED


def test_a_key_that_looks_like_the_stored_form_is_sealed_all_the_same() -> None:
    vault = Vault([NEW])
    looks = Secret(vault.seal(Secret("x"), "acme", ORIGIN))
    sealed = vault.seal(looks, "acme", ORIGIN)
    assert looks.reveal() not in sealed
    assert vault.open_sealed(sealed, "acme", ORIGIN) == looks


def other_at(token: str, index: int) -> str:
    """The token with another character there, whatever stands there: a token holds random bytes."""
    index %= len(token)
    return f"{token[:index]}{'y' if token[index] == 'x' else 'x'}{token[index + 1 :]}"


def test_what_another_vault_key_sealed_is_told_from_what_was_altered() -> None:
    vault = Vault([NEW])
    assert problem(vault, Vault([FOREIGN]).seal(KEY, "acme", ORIGIN)) is Problem.UNKNOWN_KEY
    sealed = vault.seal(KEY, "acme", ORIGIN)
    head, _, token = sealed.rpartition(".")
    for altered in (other_at(token, -10), other_at(token, 20), token[: len(token) // 2], "AAAA"):
        assert problem(vault, f"{head}.{altered}") is Problem.TAMPERED
    relabelled = Vault([FOREIGN]).seal(KEY, "acme", ORIGIN).replace(fingerprint_of(FOREIGN), fingerprint_of(NEW))
    assert problem(vault, relabelled) is Problem.TAMPERED


@pytest.mark.parametrize(
    ("tenant", "origin", "told"),
    [
        ("globex", ORIGIN, Problem.OTHER_TENANT),
        ("", ORIGIN, Problem.OTHER_TENANT),
        ("acme", "http://llm.corp:8443", Problem.OTHER_ORIGIN),
        ("acme", "https://llm.corp", Problem.OTHER_ORIGIN),
        ("acme", "https://evil.corp:8443", Problem.OTHER_ORIGIN),
        ("acme", "", Problem.OTHER_ORIGIN),
    ],
)
def test_ciphertext_that_was_moved_does_not_open(tenant: str, origin: str, told: Problem) -> None:
    assert problem(Vault([NEW]), Vault([NEW]).seal(KEY, "acme", ORIGIN), tenant, origin) is told


def test_old_keys_open_and_do_not_seal() -> None:
    sealed_before = Vault([OLD]).seal(KEY, "acme", ORIGIN)
    rotated = Vault([NEW, OLD])
    assert rotated.open_sealed(sealed_before, "acme", ORIGIN) == KEY
    assert Vault([NEW]).open_sealed(rotated.seal(KEY, "acme", ORIGIN), "acme", ORIGIN) == KEY
    assert problem(Vault([NEW]), sealed_before) is Problem.UNKNOWN_KEY


def test_what_is_sealed_is_canonical_json() -> None:
    sealed = Vault([NEW]).seal(KEY, "acme", ORIGIN)
    assert json.loads(Fernet(NEW).decrypt(sealed.rpartition(".")[2])) == {"key": KEY.reveal(), "origin": ORIGIN, "tenant": "acme"}


def check(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "AISOC_DATA_DIR": str(tmp_path / "var"), **variables}
    code = "import django; django.setup(); from django.conf import settings; print(len(settings.CREDENTIAL_KEYS))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "aisoc_admin.settings"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_does_not_start_without_a_vault_key_and_development_makes_one(tmp_path: Path) -> None:
    production = check(tmp_path, AISOC_ENVIRONMENT="production", SECRET_KEY="x" * 50, ALLOWED_HOSTS="aisoc.corp")
    assert production.returncode == 2
    assert "AISOC_CREDENTIAL_KEY is required" in production.stderr
    assert "Traceback" not in production.stderr
    assert check(tmp_path).stdout.strip() == "1"
    made = tmp_path / "var" / "credential_key"
    assert made.stat().st_mode & 0o777 == 0o600
    Fernet(made.read_text())
    made.write_text("damaged")
    damaged = check(tmp_path)
    assert damaged.returncode == 2
    assert "credential_key" in damaged.stderr
    assert "damaged" not in damaged.stderr
    assert check(tmp_path, AISOC_CREDENTIAL_KEY=NEW, AISOC_CREDENTIAL_KEY_ROTATION_FROM=f"{OLD},{NEW}").stdout.strip() == "2"
