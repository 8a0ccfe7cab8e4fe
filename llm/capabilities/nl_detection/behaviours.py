"""The behaviours that a description is recognised by: words, log source, selection, techniques, from behaviours.yaml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_PRODUCTS: Final = frozenset({"$okta", "$aws", "$azure", "$gcp", "$linux"})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One recognised behaviour. `when`: patterns that all have to be found."""

    when: tuple[re.Pattern[str], ...]
    source: Mapping[str, str]
    selection: Mapping[str, Any]
    techniques: tuple[str, ...]
    level: str
    false_positives: str
    weight: int


@cache
def behaviours() -> tuple[Behaviour, ...]:
    """The table, read with the first description."""
    table = yaml.safe_load(Path(__file__).with_name("behaviours.yaml").read_text(encoding="utf-8"))
    patterns: dict[str, str] = table["patterns"]
    return tuple(
        Behaviour(
            tuple(re.compile(patterns[text[1:]] if text.startswith("$") else text, re.IGNORECASE) for text in row["when"]),
            table["sources"][row["source"]],
            row["selection"],
            tuple(row["techniques"]),
            row["level"],
            row["false_positives"],
            len(row["when"]) + 2 * any(text in _PRODUCTS for text in row["when"]),
        )
        for row in table["behaviours"]
    )


def recognised(description: str) -> Behaviour | None:
    """The behaviour that the most patterns speak for; the name of a product outweighs what others call the same thing."""
    best: Behaviour | None = None
    for row in behaviours():
        if (best is None or row.weight > best.weight) and all(pattern.search(description) for pattern in row.when):
            best = row
    return best
