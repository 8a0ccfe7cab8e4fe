"""The vault: a tenant's key sealed together with the tenant and the origin it is for, so that ciphertext moved elsewhere does not open.

Sealed text is `v1.FINGERPRINT.TOKEN`: a Fernet token (AES-128-CBC and HMAC-SHA256, with its time) over canonical JSON {key, origin, tenant},
behind the fingerprint of the vault key that made it. Sealing uses the first vault key; the others open only.

VaultError      sealed text that is not used, with the `problem`; its text holds nothing of it
"""

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from llm.config import Secret

_SEALED: Final = re.compile(r"v1\.(?P<fingerprint>[0-9a-f]{16})\.(?P<token>[A-Za-z0-9_-]+={0,2})")


class Problem(StrEnum):
    """Why sealed text does not open."""

    NOT_SEALED = "not_sealed"
    UNKNOWN_KEY = "unknown_key"
    TAMPERED = "tampered"
    OTHER_TENANT = "other_tenant"
    OTHER_ORIGIN = "other_origin"


_SENTENCES: Final = {
    Problem.NOT_SEALED: "The stored key is not sealed, so it is not used.",
    Problem.UNKNOWN_KEY: "The stored key is sealed with a vault key that is not here (AISOC_CREDENTIAL_KEY_ROTATION_FROM takes old ones).",
    Problem.TAMPERED: "The stored key was altered, so it is not used.",
    Problem.OTHER_TENANT: "The stored key was sealed for another tenant, so it is not used.",
    Problem.OTHER_ORIGIN: "The stored key was sealed for another scheme, host or port, so it is not used.",
}


class VaultError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(_SENTENCES[problem])
        self.problem = problem


class Vault:
    """keys: Fernet keys, the sealing one first."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._known = frozenset(map(fingerprint_of, keys))
        self.fingerprint = fingerprint_of(keys[0])

    def __repr__(self) -> str:
        return f"Vault({self.fingerprint})"

    def seal(self, key: Secret, tenant: str, origin: str) -> str:
        """`tenant` is a slug, `origin` scheme://host[:port]. Whatever the key's text looks like, it is sealed."""
        content = json.dumps({"key": key.reveal(), "origin": origin, "tenant": tenant}, sort_keys=True, separators=(",", ":"))
        return f"v1.{self.fingerprint}.{self._fernet.encrypt(content.encode()).decode()}"

    def open_sealed(self, text: str, tenant: str, origin: str) -> Secret:
        """The key. Raises VaultError for everything that was not sealed here, for this tenant and this origin."""
        match = _SEALED.fullmatch(text)
        if match is None:
            raise VaultError(Problem.NOT_SEALED)
        if match["fingerprint"] not in self._known:
            raise VaultError(Problem.UNKNOWN_KEY)
        try:
            content = json.loads(self._fernet.decrypt(match["token"]))
        except InvalidToken:
            raise VaultError(Problem.TAMPERED) from None
        if content["tenant"] != tenant:
            raise VaultError(Problem.OTHER_TENANT)
        if content["origin"] != origin:
            raise VaultError(Problem.OTHER_ORIGIN)
        return Secret(content["key"])


def fingerprint_of(vault_key: str) -> str:
    """Which vault key sealed a text: 16 hexadecimal digits that tell nothing about it."""
    return hmac.digest(vault_key.encode(), b"AiSOC vault key fingerprint", hashlib.sha256).hex()[:16]


def active_vault() -> Vault:
    """The vault of this deployment."""
    return _vault(settings.CREDENTIAL_KEYS)


@lru_cache(maxsize=4)
def _vault(keys: tuple[str, ...]) -> Vault:
    return Vault(keys)
