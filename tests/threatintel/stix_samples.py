"""STIX objects as tests post them."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

RED = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
RED_2 = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
AMBER_STRICT_OPENCTI = "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37"
AMBER = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
AMBER_2 = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
AMBER_STRICT = "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"
GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
GREEN_2 = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"
CLEAR_2 = "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"
WHITE = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"


def stix_id(kind: str, name: str) -> str:
    return f"{kind}--{uuid5(NAMESPACE_URL, name)}"


def indicator(pattern: str = "[ipv4-addr:value = '192.0.2.7']", *, number: str = "1", **changes: Any) -> dict[str, Any]:
    """A change to None takes the property away."""
    given = {
        "type": "indicator",
        "spec_version": "2.1",
        "id": stix_id("indicator", number),
        "created": "2026-05-01T00:00:00.000Z",
        "modified": "2026-05-01T00:00:00.000Z",
        "name": f"Indicator {number}",
        "indicator_types": ["malicious-activity"],
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": "2026-05-01T00:00:00Z",
        "object_marking_refs": [GREEN],
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def bundle(*objects: dict[str, Any], number: str = "1", **changes: Any) -> dict[str, Any]:
    return {"type": "bundle", "id": stix_id("bundle", number), "objects": list(objects), **changes}


def marking(name: str, **definition: Any) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": stix_id("marking-definition", name),
        "created": "2026-05-01T00:00:00.000Z",
        **definition,
    }
