"""AlienVault OTX: the pulses that this key subscribes to, from the last change that was read.

Source: OTX DirectConnect API v1 (GET /api/v1/pulses/subscribed). Pulses come newest first: the cursor, the latest `modified`, moves with the
last page alone, so that a run that is cut off loses no older pulse. A pulse that is deleted at OTX is not told; its indicators stay.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

from airgap.transport import Client
from threatintel.feeds.answers import require_json
from threatintel.feeds.json_stream import read_members
from threatintel.normalise import timestamp
from threatintel.otx_pulse import pulse_date, pulse_records
from threatintel.specs import Cursor, FeedError, FeedSpec, Page, Record, Tally

PATH: Final = "/api/v1/pulses/subscribed"
LIMIT: Final = 50  # pulses a page
MAX_PAGES: Final = 5000
MAX_PARTS: Final = 5_000_000  # JSON parts of one pulse


def fetch(client: Client, spec: FeedSpec, cursor: Cursor) -> Iterator[Page]:
    """One page of pulses after another. Of the server's `next` only the page number is taken: a mirror's may name the vendor's host."""
    host = urlsplit(spec.url).hostname
    newest = cursor.get("modified_since", "")
    number = 1
    for _ in range(MAX_PAGES):
        params = {"limit": str(LIMIT), "page": str(number), **({"modified_since": since} if (since := cursor.get("modified_since")) else {})}
        tally, following = Tally(), ""
        records: list[Record] = []
        with client.stream("GET", f"{spec.url.rstrip('/')}{PATH}", params=params, headers={"Accept": "application/json"}) as response:
            require_json(response)
            for key, value in read_members(response.iter_bytes(), "results", max_events=MAX_PARTS):
                if key == "next":
                    following = value if isinstance(value, str) else ""
                elif key == "results" and isinstance(value, dict):
                    records.extend(pulse_records(value, tally))
                    changed = pulse_date(value)
                    newest = max(newest, changed.strftime("%Y-%m-%dT%H:%M:%S.%f") if changed else "")
        yield Page(
            records=records, cursor=cursor if following or not newest else {"modified_since": newest}, tally=tally, data_date=timestamp(newest)
        )
        if not following:
            return
        page = parse_qs(urlsplit(following).query).get("page", [""])[0]
        if not page.isdigit() or int(page) <= number:
            raise FeedError(f"{host} says that there is more, and leads back to page {number}.")
        number = int(page)
    raise FeedError(f"{host} has more than {MAX_PAGES} pages of pulses.")
