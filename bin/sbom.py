"""The bundle's bill of materials: CycloneDX 1.6 in JSON, read out of the wheels themselves. Held to the schema by a test.

One component a wheel, since wheels of one package for several Pythons have digests of their own. A dependency is listed when it
holds on the Python that runs this.
"""

import datetime
import email.parser
import hashlib
import json
import uuid
import zipfile
from collections.abc import Sequence
from email.message import Message
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAMESPACE = uuid.UUID("6f0c6f0e-9a3e-5f2b-8a55-0d3b7f1c2e44")
LONGEST = 80  # characters: what is longer in a License field is the text itself


def document(version: str, born: int, wheels: Sequence[Path]) -> str:
    """`born`: seconds since 1970. The same wheels give the same text."""
    metadata = {wheel: _metadata(wheel) for wheel in wheels}
    refs: dict[str, list[str]] = {}
    for wheel, about in metadata.items():
        refs.setdefault(canonicalize_name(about["Name"]), []).append(_purl(wheel, about))
    root = f"aisoc-admin@{version}"
    components = [_component(wheel, about) for wheel, about in metadata.items()]
    digests = "".join(component["hashes"][0]["content"] for component in components)
    whole = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, version + digests)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(born, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "bom-ref": root, "name": "aisoc-admin", "version": version},
        },
        "components": components,
        "dependencies": [
            {"ref": root, "dependsOn": sorted(ref for found in refs.values() for ref in found)},
            *({"ref": _purl(wheel, about), "dependsOn": _needs(about, refs)} for wheel, about in metadata.items()),
        ],
    }
    return json.dumps(whole, indent=1, sort_keys=True) + "\n"


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        inner = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1)
        return email.parser.BytesHeaderParser().parsebytes(archive.read(inner))


def _purl(wheel: Path, about: Message) -> str:
    return f"pkg:pypi/{canonicalize_name(about['Name'])}@{about['Version']}?file_name={wheel.name}"


def _component(wheel: Path, about: Message) -> dict[str, Any]:
    component = {
        "type": "library",
        "bom-ref": _purl(wheel, about),
        "name": canonicalize_name(about["Name"]),
        "version": about["Version"],
        "purl": _purl(wheel, about),
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
    }
    licences = _licences(about)
    return {**component, "licenses": licences} if licences else component


def _licences(about: Message) -> list[dict[str, Any]]:
    """An SPDX expression where the package states one, else its own words for it."""
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    named = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License :: ")]
    stated = (about.get("License") or "").strip()
    names = named or ([stated] if stated and len(stated) <= LONGEST and "\n" not in stated else [])
    return [{"license": {"name": name}} for name in names]


def _needs(about: Message, refs: dict[str, list[str]]) -> list[str]:
    found: set[str] = set()
    for line in about.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.update(refs.get(canonicalize_name(requirement.name), []))
    return sorted(found)
