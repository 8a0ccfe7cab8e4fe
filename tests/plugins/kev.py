"""A small KEV catalogue, shaped as CISA publishes it, made here."""

import json
from typing import Any


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "cveID": f"CVE-2024-{10000 + number}",
        "vendorProject": "Example",
        "product": f"Product {number}",
        "vulnerabilityName": f"Example Product {number} Flaw",
        "dateAdded": "2024-05-01",
        "shortDescription": "A flaw.",
        "requiredAction": "Apply the update.",
        "dueDate": "2024-05-22",
        "knownRansomwareCampaignUse": "Known" if number % 2 else "Unknown",
        "notes": f"https://vendor.example/a ; https://nvd.nist.gov/vuln/detail/CVE-2024-{10000 + number}",
        "cwes": ["CWE-79"],
        **changes,
    }


def catalogue(rows: list[dict[str, Any]], **changes: Any) -> bytes:
    return json.dumps(
        {
            "title": "KEV",
            "catalogVersion": "2024.05.01",
            "dateReleased": "2024-05-01T17:04:19.9796Z",
            "count": len(rows),
            "vulnerabilities": rows,
            **changes,
        }
    ).encode()
