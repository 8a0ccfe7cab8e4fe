"""MISP, by restSearch: the events that changed since the last poll, whole, with what was deleted.

Source: MISP's API (POST /events/restSearch). The cursor is the latest event timestamp that was stored, asked for again inclusively: the
same second twice writes nothing, a second left out would lose events. It is never later than the server's clock was when the poll began:
what changed meanwhile on a page that was read already is found by the next poll, and an event dated in the future blinds nobody.
Pages are ordered by number, in which no change moves an event. Unpublished events are read too: the server is the operator's own.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from airgap.transport import BodyTooLarge, Client
from threatintel.feeds.answers import require_json
from threatintel.feeds.json_stream import read_members
from threatintel.misp_event import event_date, event_objects, events_in
from threatintel.specs import Cursor, FeedError, FeedSpec, Keep, Page, Tally, Unread, keep_nothing

LIMIT: Final = 20  # events a page
MAX_PAGES: Final = 5000
TOO_LARGE: Final = "a MISP event that is larger than one answer may be"
MAX_PARTS: Final = 5_000_000  # JSON parts of one event
MAX_OBJECTS: Final = 5000  # stored in one transaction
_DELETED: Final = ([0, 1], True)  # MISP's word for "those too"; Modern MISP takes a boolean alone


def fetch(client: Client, spec: FeedSpec, cursor: Cursor, keep: Keep = keep_nothing) -> Iterator[Page]:
    """One page of events after another. All are asked for with the timestamp that the poll began with; one that was broken off is gone on with."""
    since, newest = _number(cursor, "timestamp"), _number(cursor, "newest")
    # One page back: events that were deleted since have moved the others up.
    first = max(1, _number(cursor, "page") - 1)
    began = _number(cursor, "began")
    seen: set[str] = set()
    for number in range(first, MAX_PAGES + 1):
        tally, ids = Tally(), list[str]()
        objects: list[Unread] = []
        beyond = 0
        for found in _page(client, spec.url, since, number):
            if found is None:
                tally.skip(TOO_LARGE)
                beyond += 1
                continue
            event, clock = found
            keep(event)
            began = began or clock
            ids.append(str(event.get("uuid") or event.get("id")))
            if (changed := event_date(event)) is not None:
                newest = max(newest, int(changed.timestamp()))
            objects.extend(event_objects(event, tally, server=spec.url))
        if ids and seen.issuperset(ids):
            raise FeedError(f"{urlsplit(spec.url).hostname} repeats a page ({number - 1} pages read).")
        seen.update(ids)
        last = len(ids) + beyond < LIMIT
        reached = max(since, min(newest, began))
        moved = (
            {"timestamp": str(reached)} if last else {"timestamp": str(since), "page": str(number + 1), "newest": str(newest), "began": str(began)}
        )
        whole = (max(len(objects), 1) - 1) // MAX_OBJECTS
        for start in range(0, whole * MAX_OBJECTS, MAX_OBJECTS):
            yield Page(records=objects[start : start + MAX_OBJECTS], cursor=cursor)
        data_date = event_date({"timestamp": reached}) if reached else None
        yield Page(records=objects[whole * MAX_OBJECTS :], cursor=moved, tally=tally, data_date=data_date)
        if last:
            return
    raise FeedError(f"{urlsplit(spec.url).hostname} has more than {MAX_PAGES} pages of events.")


def _page(client: Client, url: str, since: int, number: int) -> Iterator[tuple[Any, int] | None]:
    """The events of a page, None for one that is larger than an answer may be: a page that is too large is asked for event by event from there on."""
    read = 0
    with suppress(BodyTooLarge):
        for found in _events(client, url, since, number, LIMIT):
            yield found
            read += 1
        return
    for place in range((number - 1) * LIMIT + read + 1, number * LIMIT + 1):
        try:
            alone = list(_events(client, url, since, place, 1))
        except BodyTooLarge:
            yield None
            continue
        if not alone:
            return
        yield from alone


def _events(client: Client, url: str, since: int, number: int, limit: int) -> Iterator[tuple[Any, int]]:
    """The events of a page of so many, each with what the server's clock said (Unix seconds) when it answered."""
    asked = {
        "returnFormat": "json",
        "timestamp": str(since),
        "limit": limit,
        "page": number,
        "includeEventTags": True,
        "includeWarninglistHits": True,
        "withAttachments": False,
        "order": "Event.id ASC",
    }
    for deleted in _DELETED:
        body = {**asked, "deleted": deleted}
        with client.stream("POST", f"{url.rstrip('/')}/events/restSearch", json=body, headers={"Accept": "application/json"}) as response:
            if response.status_code in (400, 422) and deleted is not _DELETED[-1]:
                continue
            require_json(response)
            for key, element in read_members(response.iter_bytes(), "response", max_events=MAX_PARTS):
                if key == "response":
                    for event in events_in(element):
                        yield event, _clock(response.headers.get("Date"))
            return


def _clock(date: str | None) -> int:
    """A Date header as Unix seconds; without one this machine's clock, less what it may be ahead."""
    try:
        return int(parsedate_to_datetime(date or "").timestamp())
    except (ValueError, OverflowError):
        return int(time.time()) - 600


def _number(cursor: Cursor, name: str) -> int:
    text = cursor.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
