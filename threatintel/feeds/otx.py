"""AlienVault OTX: the pulses that this key subscribes to, from the last change that was read.

Source: OTX DirectConnect API v1 (GET /api/v1/pulses/subscribed). Pulses come newest first: the cursor, the latest `modified`, moves with the
last page alone, so that a run that is cut off loses no older pulse; until then it keeps the page. A pulse that is deleted at OTX is not told; its
indicators stay.
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from airgap.transport import Client
from threatintel.feeds.answers import reached, require_json
from threatintel.feeds.json_stream import read_members
from threatintel.otx_pulse import pulse_date, pulse_records
from threatintel.specs import Cursor, FeedError, FeedSpec, Keep, Page, Record, Tally, keep_nothing

PATH: Final = "/api/v1/pulses/subscribed"
LIMIT: Final = 50  # pulses a page
MAX_PAGES: Final = 5000
MAX_PARTS: Final = 3_000_000  # JSON parts of one answer
MAX_RECORDS: Final = 5000  # stored in one transaction; a pulse is not divided


def fetch(client: Client, spec: FeedSpec, cursor: Cursor, keep: Keep = keep_nothing) -> Iterator[Page]:
    """One page of pulses after another. The server's `next` only says that there is one more: a mirror's may name the vendor's host.

    A run that goes on from another reads one page again, for pulses that were removed meanwhile; those that came meanwhile are the next poll's.
    """
    host = urlsplit(spec.url).hostname
    since, newest = cursor.get("modified_since", ""), cursor.get("newest", "")
    seen: set[int] = set()
    for number in range(max(1, int(cursor.get("page", "1")) - 1), MAX_PAGES + 1):
        tally = Tally()
        batches: list[list[Record]] = [[]]
        listed: list[tuple[str, str]] = []
        more = False
        params = {"limit": str(LIMIT), "page": str(number), **({"modified_since": since} if since else {})}
        url = f"{spec.url.rstrip('/')}{PATH}"
        with client.stream("GET", url, params=params, headers={"Accept": "application/json"}, follow_redirects=True) as response:
            require_json(response)
            for key, value in read_members(response.iter_bytes(), "results", max_events=MAX_PARTS, in_all=MAX_PARTS):
                if key == "next":
                    more = bool(value)
                elif key == "results" and isinstance(value, dict):
                    keep(value)
                    if len(batches[-1]) >= MAX_RECORDS:
                        batches.append([])
                    batches[-1].extend(pulse_records(value, tally))
                    listed.append((str(value.get("id"))[:200], str(value.get("modified"))[:40]))
                    newest = max(newest, _cursor_date(value))
        if listed and (page := hash(tuple(listed))) in seen:
            raise FeedError(f"{host} repeats a page ({len(seen)} pages read).")
        elif listed:
            seen.add(page)
        more = more and bool(listed)
        newest = max(newest, since)
        moved = {"modified_since": since, "page": str(number + 1), "newest": newest} if more else {"modified_since": newest}
        for batch in batches[:-1]:
            yield Page(records=batch, cursor=None)
        yield Page(records=batches[-1], cursor={name: value for name, value in moved.items() if value}, tally=tally, data_date=reached(newest))
        if not more:
            return
    raise FeedError(f"{host} has more than {MAX_PAGES} pages of pulses.")


def _cursor_date(pulse: dict[str, Any]) -> str:
    """As `modified_since` takes it, in UTC; "" for a date that may not become a cursor."""
    changed = pulse_date(pulse)
    return changed.strftime("%Y-%m-%dT%H:%M:%S.%f") if changed and reached(changed.isoformat()) else ""
