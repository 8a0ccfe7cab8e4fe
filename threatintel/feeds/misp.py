"""MISP, by restSearch: the events that changed since the last poll, whole, with what was deleted.

Source: MISP's API (POST /events/restSearch). The cursor is the latest event timestamp that was stored, asked for again inclusively: the
same second twice writes nothing, a second left out would lose events. Unpublished events are read too: the server is the operator's own.
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from airgap.transport import Client
from threatintel.feeds.answers import require_json
from threatintel.feeds.json_stream import read_members
from threatintel.misp_event import event_date, event_objects, events_in
from threatintel.specs import Cursor, FeedError, FeedSpec, Page, Tally, Unread

LIMIT: Final = 20  # events a page
MAX_PAGES: Final = 5000
MAX_PARTS: Final = 5_000_000  # JSON parts of one event


def fetch(client: Client, spec: FeedSpec, cursor: Cursor) -> Iterator[Page]:
    """One page of events after another. Pages of one run are asked for with the same timestamp: the cursor moves with the last one alone."""
    since = cursor.get("timestamp", "0")
    newest = int(since) if since.isdigit() else 0
    before: set[str] = set()
    for number in range(1, MAX_PAGES + 1):
        tally, ids = Tally(), set[str]()
        objects: list[Unread] = []
        for event in _events(client, spec.url, since, number):
            ids.add(str(event.get("uuid") or event.get("id")))
            if (changed := event_date(event)) is not None:
                newest = max(newest, int(changed.timestamp()))
            objects.extend(event_objects(event, tally, server=spec.url))
        if ids and ids == before:
            raise FeedError(f"{urlsplit(spec.url).hostname} repeats a page ({number - 1} pages read).")
        before = ids
        last = len(ids) < LIMIT
        moved = {"timestamp": str(newest)} if last else cursor
        yield Page(records=objects, cursor=moved, tally=tally, data_date=event_date({"timestamp": newest}) if newest else None)
        if last:
            return
    raise FeedError(f"{urlsplit(spec.url).hostname} has more than {MAX_PAGES} pages of events.")


def _events(client: Client, url: str, since: str, number: int) -> Iterator[Any]:
    asked = {
        "returnFormat": "json",
        "timestamp": since,
        "limit": LIMIT,
        "page": number,
        "includeEventTags": True,
        "includeWarninglistHits": True,
        "deleted": [0, 1],
        "withAttachments": False,
        "order": "Event.timestamp ASC",
    }
    with client.stream("POST", f"{url.rstrip('/')}/events/restSearch", json=asked, headers={"Accept": "application/json"}) as response:
        require_json(response)
        for key, element in read_members(response.iter_bytes(), "response", max_events=MAX_PARTS):
            if key == "response":
                yield from events_in(element)
