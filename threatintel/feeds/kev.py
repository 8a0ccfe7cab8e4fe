"""CISA Known Exploited Vulnerabilities: one conditional GET, the whole catalogue in one page.

Source: CISA's KEV JSON and its schema. Conditional requests after RFC 9110 section 13.1 (If-None-Match, If-Modified-Since).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from airgap.transport import Client
from threatintel.feeds.answers import require_json
from threatintel.feeds.json_stream import read_members
from threatintel.normalise import kev_record, timestamp, without_nul
from threatintel.specs import Cursor, FeedError, FeedSpec, Keep, Page, keep_nothing

MAX_PARTS = 3_000_000  # JSON parts of the catalogue; a row has some 25
MAX_ROWS = 200_000  # the catalogue has grown by some 250 a year


def fetch(client: Client, spec: FeedSpec, cursor: Cursor, keep: Keep = keep_nothing) -> Iterator[Page]:
    """The catalogue as one complete page; nothing when the mirror says that it has not changed."""
    validators = {"If-None-Match": cursor.get("etag", ""), "If-Modified-Since": cursor.get("last_modified", "")}
    with client.stream("GET", spec.url, headers={name: value for name, value in validators.items() if value}, follow_redirects=True) as response:
        if response.status_code == 304 and cursor:
            return
        require_json(response)
        meta, rows = read_catalogue(response.iter_bytes())
        fresh = {"etag": response.headers.get("ETag", ""), "last_modified": response.headers.get("Last-Modified", "")}
    keep({**meta, "vulnerabilities": rows})
    # A validator that cannot be sent back as it came is not kept.
    yield page_of(meta, rows, {name: value for name, value in fresh.items() if value.isascii() and value.isprintable() and 0 < len(value) <= 200})


def read_catalogue(chunks: Iterator[bytes]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Parse the JSON as it streams in. Raises FeedError for JSON that is broken or ends early."""
    meta: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for key, value in read_members(chunks, "vulnerabilities", in_all=MAX_PARTS):
        if key != "vulnerabilities":
            meta[key] = value
        elif not isinstance(value, dict):
            raise FeedError("A row of the catalogue is not an object.")
        elif len(rows) >= MAX_ROWS:
            raise FeedError(f"The catalogue has more than {MAX_ROWS} rows.")
        else:
            rows.append(value)
    return meta, rows


def page_of(meta: Mapping[str, Any], rows: list[dict[str, Any]], cursor: Cursor) -> Page:
    """The page of a parsed catalogue. Raises FeedError when it is empty or its count differs: a part must not retire the rest."""
    if not rows:
        raise FeedError("The catalogue has no rows.")
    if meta.get("count") != len(rows):
        raise FeedError(f"The catalogue says {ascii(meta.get('count'))[:20]} rows but has {len(rows)}.")
    return Page(
        records=tuple(kev_record(row) for row in rows),
        cursor={**cursor, "catalog_version": without_nul(str(meta.get("catalogVersion", ""))[:60])},
        data_date=timestamp(meta.get("dateReleased")),
    )
