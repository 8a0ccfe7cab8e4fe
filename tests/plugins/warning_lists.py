"""Small MISP warning lists as files, and a product that has no others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threatintel import benign

LISTS: dict[str, dict[str, Any]] = {
    "rfc1918": {"type": "cidr", "list": ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"], "matching_attributes": ["ip-src", "ip-dst"]},
    "top": {"type": "hostname", "list": [".google.com", "Known.Example"], "matching_attributes": ["domain", "hostname", "url"]},
    "whole": {"type": "string", "list": ["exact.example", "D41D8CD98F00B204E9800998ECF8427E"]},
    "part": {"type": "substring", "list": ["mailinator.com", ".co"], "matching_attributes": ["email-src", "email-dst"]},
    "contact": {"type": "regex", "list": ["/^(abuse|noc)\\@.*\\..*$/i", "/(a+)+$/", "/(unclosed/"], "matching_attributes": ["email-src"]},
    "phones": {"type": "regex", "list": ["/^[0-9]+$/"], "matching_attributes": ["phone-number"]},
    "strange": {"type": "of another kind", "list": ["evil.example"]},
    "broken": {"type": "cidr", "list": ["not a network", "300.1.1.1/8"]},
}


def written(folder: Path, lists: dict[str, dict[str, Any]]) -> list[Path]:
    files = []
    for name, content in lists.items():
        file = folder / name / "list.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"name": name, "version": 7, "description": "A list.", **content}), encoding="utf-8")
        files.append(file)
    return files


@pytest.fixture
def small_lists(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """The product has these lists alone, and a data directory of this test's own."""
    settings.DATA_DIR = tmp_path / "data"
    files = written(tmp_path / "lists", LISTS)
    monkeypatch.setattr(benign, "_lists_of_package", lambda: files)
    return lambda: files
