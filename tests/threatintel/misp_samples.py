"""MISP events as tests need them."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

STAMP = 1_780_000_000  # 2026-05-28


def misp_uuid(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, ascii(name)))


def attribute(value: str = "evil.example", type: str = "domain", **changes: Any) -> dict[str, Any]:
    return {
        "uuid": misp_uuid(f"attribute {type} {value}"),
        "type": type,
        "category": "Network activity",
        "value": value,
        "to_ids": True,
        "timestamp": str(STAMP),
        "comment": "",
        "deleted": False,
        **changes,
    }


def event(*attributes: dict[str, Any], number: int = 1, **changes: Any) -> dict[str, Any]:
    """As restSearch wraps it."""
    return {
        "Event": {
            "id": str(number),
            "uuid": misp_uuid(f"event {number}"),
            "info": f"Event {number}",
            "date": "2026-05-28",
            "threat_level_id": "2",
            "timestamp": str(STAMP),
            "Attribute": list(attributes),
            **changes,
        }
    }


def tags(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]
