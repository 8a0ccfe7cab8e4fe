"""Reads what feeds deliver into Records. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from threatintel.specs import FeedError, Record, Tlp

_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_NVD = re.compile(r"https://nvd\.nist\.gov/vuln/detail/CVE-[0-9-]+")


def kev_record(row: Mapping[str, Any]) -> Record:
    """A row of the CISA KEV catalogue (schema: known_exploited_vulnerabilities_schema.json). Raises FeedError for a row without a CVE id.

    Confidence is 100: CISA lists a vulnerability only on evidence of exploitation. The catalogue is public: TLP:CLEAR.
    """
    row = without_nul(dict(row))
    cve = str(row.get("cveID", "")).strip().upper()
    if not _CVE.fullmatch(cve):
        raise FeedError(f"A row of the catalogue has the CVE id {ascii(cve)[:40]}, which is not one.")
    added = timestamp(row.get("dateAdded"))
    notes = str(row.get("notes", ""))
    reference = _NVD.search(notes)
    ransomware = str(row.get("knownRansomwareCampaignUse", "")).strip().lower() == "known"
    return Record(
        type="vulnerability",
        value=cve,
        external_id=cve,
        confidence=100,
        tlp=Tlp.CLEAR,
        labels=("kev", "exploited", *(("ransomware",) if ransomware else ())),
        description=str(row.get("vulnerabilityName") or row.get("shortDescription") or "")[:2000],
        url=reference.group() if reference else "",
        first_seen=added,
        last_seen=added,
        modified=added,
        raw=json.dumps(row, ensure_ascii=False, separators=(",", ":")),
    )


def timestamp(value: object) -> datetime | None:
    """An RFC 3339 time or a date (midnight UTC), in UTC; None for anything else and for years outside 1970 to 2200."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.strip())
        parsed = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if 1970 <= parsed.year <= 2200 else None


def without_nul(value: Any) -> Any:
    """The same JSON value without NUL characters, which PostgreSQL does not store."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {without_nul(key): without_nul(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nul(inner) for inner in value]
    return value
