"""What phishing borrows and asks for, from tables.yaml, read with the first triage."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True)
class Wording:
    """Words that give a reason, and what people read of it."""

    name: str
    pattern: re.Pattern[str]
    detail: str


@dataclass(frozen=True, slots=True)
class Tables:
    brands: Mapping[str, tuple[str, ...]]  # with the registrable names that are theirs
    owned: frozenset[str]
    free_mail: frozenset[str]
    shorteners: frozenset[str]
    platforms: tuple[str, ...]
    cheap: frozenset[str]
    lures: re.Pattern[str]
    words: tuple[Wording, ...]


@cache
def tables() -> Tables:
    found = yaml.safe_load(Path(__file__).with_name("tables.yaml").read_text(encoding="utf-8"))
    brands = {brand: tuple(names) for brand, names in found["brands"].items()}
    return Tables(
        brands,
        frozenset(name for names in brands.values() for name in names),
        frozenset(found["free_mail"]),
        frozenset(found["shorteners"]),
        tuple(found["platforms"]),
        frozenset(found["cheap"]),
        re.compile(rf"(?:^|[-.])(?:{'|'.join(found['lures'])})(?:$|[-.])"),
        tuple(Wording(row["name"], re.compile("|".join(row["any"]), re.IGNORECASE), row["detail"]) for row in found["words"]),
    )
