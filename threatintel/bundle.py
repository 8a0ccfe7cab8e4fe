"""The manifest of a bundle of feed files, which one deployment signs and another verifies before it reads a file. Pure.

A bundle is a folder of the files that the manifest lists, `manifest.json`, and `manifest.sig`: the Ed25519 signature over the manifest's
bytes, in hexadecimal. The manifest is canonical JSON (sorted keys, no space, ASCII): there is one text for what it says.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airgap.ed25519 import SigningKey, fingerprint_of, is_signed
from threatintel.specs import FeedError

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
FORMAT: Final = 1
KINDS: Final = ("kev", "stix", "misp", "otx")
MAX_FILES: Final = 200
MAX_MANIFEST: Final = 256 * 1024  # bytes
AHEAD: Final = timedelta(days=1)  # by which the clocks of the two sites may differ
_SIGNED_AS: Final = b"aisoc feed bundle 1\n"  # so that no other text which this key signed passes for a manifest
_FILE = re.compile(r"[0-9]{2,3}-(kev|stix|misp|otx)\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHEN = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledFile:
    """One feed's file. feed: as the exporting site names it. size in bytes; records: objects, rows, events or pulses in it; data_date: the data's own, or ""."""

    feed: str
    kind: str
    file: str
    sha256: str
    size: int
    records: int
    data_date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    created: datetime
    product_version: str
    files: tuple[BundledFile, ...]

    def text(self) -> bytes:
        """What is signed and written."""
        return _canonical(
            {
                "format": FORMAT,
                "created": moment_text(self.created),
                "product_version": self.product_version,
                "files": [asdict(one) for one in self.files],
            }
        )


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return moment.astimezone(UTC).strftime(_WHEN)


def sign_manifest(text: bytes, key: SigningKey) -> str:
    return key.sign(_SIGNED_AS + text)


def verify_manifest(text: bytes, signature: bytes, public: bytes, now: datetime) -> Manifest:
    """The manifest, once its signature is verified: until then nothing of it is read. Raises FeedError."""
    if not is_signed(public, signature.decode("ascii", "replace").strip(), _SIGNED_AS + text):
        raise FeedError(f"{MANIFEST} is not signed by the given public key (fingerprint {fingerprint_of(public)}).")
    try:
        said = json.loads(text)
        if said["format"] != FORMAT:
            raise FeedError(f"The bundle has format {ascii(said['format'])[:20]}; this product reads format {FORMAT}.")
        created = datetime.strptime(said["created"], _WHEN).replace(tzinfo=UTC)
        manifest = Manifest(
            created=created, product_version=str(said["product_version"])[:40], files=tuple(BundledFile(**one) for one in said["files"])
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FeedError(f"{MANIFEST} is not a manifest of a bundle.") from None
    problem = _problem(manifest) or ("it is not written canonically" if manifest.text() != text else "")
    if problem:
        raise FeedError(f"{MANIFEST} is not a manifest of a bundle: {problem}.")
    if created > now + AHEAD:
        raise FeedError(f"The bundle says that it was made at {said['created']}, which lies ahead. Check the clocks of both sites.")
    return manifest


def _problem(manifest: Manifest) -> str:
    """What is wrong with it, or ""."""
    if not manifest.files:
        return "it lists no file"
    if len(manifest.files) > MAX_FILES:
        return f"it lists more than {MAX_FILES} files"
    if len({one.file for one in manifest.files}) != len(manifest.files):
        return "it lists a file twice"
    for one in manifest.files:
        texts: Mapping[str, Any] = asdict(one)
        if not all(isinstance(value, int if name in ("size", "records") else str) for name, value in texts.items()):
            return "an entry has a value of another type"
        named = _FILE.fullmatch(one.file)
        if named is None or named[1] != one.kind:
            return "a file has a name that no bundle gives"
        if not _SHA256.fullmatch(one.sha256) or one.size < 0 or one.records < 0 or len(one.feed) > 120 or not one.feed.isprintable():
            return "an entry has a value that no bundle gives"
    return ""


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
