"""The import form of the feeds page: what was sent, what is wrong with it field by field, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict

from console.egress_filter import shown
from console.shown import visible
from threatintel.models import FeedRun
from threatintel.offline import KINDS
from threatintel.specs import FeedError
from threatintel.upload import Outcome, WrongDigest, bring_in

TITLES: Final = {
    "kev": "CISA KEV catalogue (JSON)",
    "stix": "STIX 2 bundle (JSON)",
    "misp": "MISP events (JSON)",
    "otx": "OTX pulses (JSON)",
}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImportForm:
    """The form as it is shown (again). problems: by field, in words; "" is the form as a whole."""

    kind: str = ""
    sha256: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(kind, TITLES[kind]) for kind in KINDS]


def handle_form(given: QueryDict, upload: UploadedFile[bytes] | None) -> ImportForm:
    """Preview or import what was sent, as `do` says. The form that comes back has either problems or an outcome."""
    kind, sha256 = given.get("kind", ""), re.sub(r"[\s:]", "", given.get("sha256", "")).lower()
    problems: dict[str, str] = {}
    if kind not in KINDS:
        problems["kind"] = f"Choose one of {', '.join(KINDS)}." if not kind else f"{shown(kind)} is no kind; choose one of {', '.join(KINDS)}."
    if upload is None:
        problems["file"] = "Choose the file; a browser forgets it when the form comes back."
    elif not upload.size:
        problems["file"] = "The file is empty; choose another one."
    if sha256 and not _DIGEST.fullmatch(sha256):
        problems["sha256"] = "It has 64 hexadecimal digits, as sha256sum prints them; correct it or leave it empty."
    if problems or upload is None:
        return ImportForm(kind, sha256[:200], problems)
    try:
        outcome = bring_in(kind, upload, visible(upload.name or "file"), sha256, dry_run=given.get("do") != "import")
    except WrongDigest as wrong:
        return ImportForm(kind, sha256, {"sha256": str(wrong)})
    except FeedError as error:
        return ImportForm(kind, sha256, {"file": str(error)})
    if outcome.run is not None and outcome.run.state != FeedRun.State.OK:
        return ImportForm(kind, sha256, {"file": outcome.run.reason})
    return ImportForm(kind, outcome.digest, outcome=outcome)
