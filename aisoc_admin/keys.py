"""Secrets that a development deployment makes for itself, once, in its data folder."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet


def new_secret_key() -> str:
    return secrets.token_urlsafe(50)


def new_signing_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def new_credential_key() -> str:
    return Fernet.generate_key().decode()


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """The text in `path`, made at the first call: 0600, and the same for processes that start at the same moment.

    Raises OSError when the folder cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(make(), encoding="ascii")
        try:
            os.link(draft, path)  # fails when another process was first: its secret is the one
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")
