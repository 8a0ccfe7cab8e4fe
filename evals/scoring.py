"""What every suite has in common: a score with its details, and cases read from a file of lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
TUNED: Final = "tuned"
HELD_OUT: Final = "held_out"  # written before the rules met them


@dataclass(frozen=True, slots=True)
class Score:
    """value: 0 to 1. details: what was right and what was not, by name."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


def cases(suite: str) -> Iterator[dict[str, Any]]:
    """The cases of evals/SUITE.jsonl in its order: `id`, `part` (TUNED or HELD_OUT), `fact` (the public fact it is made from), what is asked, `expect`."""
    for line in (HERE / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
