"""ATT&CK techniques and OCSF classes by their ids, from the tables that the product ships (made by scripts/make_tables.py)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

_DATA: Final = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True, slots=True)
class Technique:
    """tactics: their names, in the order of the matrix. description: its beginning, in plain text."""

    id: str
    name: str
    tactics: tuple[str, ...]
    platforms: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class OcsfClass:
    """A class of events."""

    uid: int
    name: str
    category_uid: int
    category: str


@lru_cache(maxsize=1)
def techniques() -> Mapping[str, Technique]:
    """Every technique and sub-technique of the enterprise matrix that is in use, by id."""
    table = _table("attack.json")
    order = list(table["tactics"])
    names = table["tactics"]
    return MappingProxyType(
        {
            id: Technique(id, name, tuple(names[tactic] for tactic in sorted(tactics, key=order.index)), tuple(platforms), description)
            for id, (name, tactics, platforms, description) in table["techniques"].items()
        }
    )


@lru_cache(maxsize=1)
def ocsf_classes() -> Mapping[int, OcsfClass]:
    """Every class that is not deprecated, by uid."""
    table = _table("ocsf.json")
    return MappingProxyType(
        {int(uid): OcsfClass(int(uid), name, category, table["categories"][str(category)]) for uid, (name, category) in table["classes"].items()}
    )


@lru_cache(maxsize=1)
def versions() -> Mapping[str, str]:
    return MappingProxyType({"attack": _table("attack.json")["version"], "ocsf": _table("ocsf.json")["version"]})


@lru_cache(maxsize=1)
def technique_by_name() -> Mapping[str, str]:
    """Ids by name in lower case, of names of two words or more that one technique alone has."""
    ids: dict[str, list[str]] = {}
    for one in techniques().values():
        ids.setdefault(one.name.lower(), []).append(one.id)
    return MappingProxyType({name: found[0] for name, found in ids.items() if len(found) == 1 and " " in name})


def _table(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))
