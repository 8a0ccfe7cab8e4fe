"""Ed25519 keys (RFC 8032) as text, and signatures by them; no Django. The deployment's key signs what an
auditor must be able to check without the deployment.

The private key is 32 bytes in URL-safe base64, from AISOC_SIGNING_KEY or the data folder. It is never in the database: whoever
can write there cannot sign.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`fingerprint`: SHA-256 of the 32 raw bytes of the public key, in hexadecimal."""

    private: Ed25519PrivateKey = field(repr=False)
    public: bytes
    fingerprint: str

    def sign(self, message: bytes) -> str:
        return self.private.sign(message).hex()


def read_key(text: str) -> SigningKey:
    """Raises ValueError when the text is no private key; the message does not quote it."""
    try:
        seed = base64.b64decode(text.strip().encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError):
        seed = b""
    if len(seed) != 32:
        raise ValueError("It is not an Ed25519 private key (32 bytes in URL-safe base64).")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    return SigningKey(private, public, fingerprint_of(public))


def public_pem(public: bytes) -> str:
    """The public key as others carry it: PEM (RFC 7468) of its SubjectPublicKeyInfo (RFC 8410)."""
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_pem(text: bytes) -> bytes:
    """The 32 raw bytes of a public key in PEM. Raises ValueError."""
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("It is not an Ed25519 public key in PEM.")
    return key.public_bytes_raw()


def fingerprint_of(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()


def is_signed(public: bytes, signature: str, message: bytes) -> bool:
    """Whether `signature` over `message` was made by the holder of the public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
