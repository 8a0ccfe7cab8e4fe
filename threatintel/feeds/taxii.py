"""TAXII 2.1, and 2.0 by media type: one collection, from where the last poll ended.

Sources: TAXII 2.1 (OASIS) sections 1.6.8 (media types), 3.4 (filtering), 3.5 (pagination), 4.1 (discovery), 5.4 (objects); TAXII 2.0 section 3.4 (pagination
by Range). The cursor is `added_after`: the date that the server last gave an object when it was added, and it moves with each page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx

from airgap.transport import Client
from threatintel.feeds.answers import require_json
from threatintel.feeds.json_stream import read_members
from threatintel.normalise import timestamp
from threatintel.specs import Cursor, FeedError, FeedSpec, Page, Tally
from threatintel.stix import StixReader

TAXII_21: Final = "application/taxii+json;version=2.1"
TAXII_20: Final = "application/vnd.oasis.taxii+json; version=2.0"
STIX_20: Final = "application/vnd.oasis.stix+json; version=2.0"
LIMIT: Final = 1000  # objects a page
MAX_PAGES: Final = 20_000
MAX_META: Final = 200  # API roots and collections of one answer
_VARIABLES = {
    401: "check TAXII_USERNAME and TAXII_PASSWORD",
    403: "this user may not read it; check TAXII_USERNAME",
    404: "check TAXII_API_ROOT and TAXII_COLLECTION_IDS",
    406: "it speaks neither TAXII 2.1 nor 2.0; check TAXII_URL",
}


@dataclass(frozen=True, slots=True)
class Collection:
    """What a server says of one of its collections."""

    root: str
    id: str
    title: str
    can_read: bool


@dataclass(frozen=True, slots=True)
class _Root:
    """An API root's URL, which ends in a slash, and whether it speaks TAXII 2.0."""

    url: str
    old: bool


def fetch(client: Client, spec: FeedSpec, cursor: Cursor) -> Iterator[Page]:
    """One page of the collection after another, each with the cursor behind it; none when nothing was added since."""
    root = api_root(client, spec.url, spec.options["api_root"])
    url = urljoin(root.url, f"collections/{spec.options['collection']}/objects/")
    reader = StixReader()
    yield from (_pages_20 if root.old else _pages_21)(client, url, cursor, reader)


def collections(client: Client, url: str, named_root: str) -> Iterator[Collection]:
    """Every collection of one API root. Raises FeedError."""
    root = api_root(client, url, named_root)
    answer = _object(client, urljoin(root.url, "collections/"), TAXII_20 if root.old else TAXII_21, "collections")
    for one in answer.get("collections", []):
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            yield Collection(root.url, one["id"][:200], str(one.get("title", ""))[:200], one.get("can_read") is True)


def api_root(client: Client, url: str, named: str) -> _Root:
    """The API root that TAXII_API_ROOT names: a URL, a path, a name; else the server's default one, or its only one. Raises FeedError."""
    if named.startswith(("http://", "https://")):
        return _spoken(client, _same_origin(url, named))
    if named:
        return _spoken(client, _same_origin(url, urljoin(url, named if named.startswith("/") else f"/{named}")))
    answer, old = _either(client, url, "api_roots")
    if "api_roots" not in answer:
        return _Root(_slashed(url), old)  # the URL is that of an API root, which says versions and no roots
    roots = [urljoin(url, one) for one in answer["api_roots"] if isinstance(one, str)]
    default = answer.get("default")
    chosen = urljoin(url, default) if isinstance(default, str) else (roots[0] if len(roots) == 1 else "")
    if not chosen:
        raise FeedError(f"{_host(url)} has {len(roots)} API roots and no default; set TAXII_API_ROOT to one of them.")
    return _Root(_slashed(_same_origin(url, chosen)), old)


def _pages_21(client: Client, url: str, cursor: Cursor, reader: StixReader) -> Iterator[Page]:
    """By `next`. Until the last page the cursor keeps where the run began beside it: many objects may have been added at one moment,
    so that a date alone would skip the rest of them. A server that has forgotten `next` is asked from there again.
    """
    added_after, following, last = (cursor.get(name, "") for name in ("added_after", "next", "last"))
    resumed = bool(following)
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        given = {"added_after": added_after, "limit": str(LIMIT), "next": following}
        with client.stream("GET", url, params={name: value for name, value in given.items() if value}, headers={"Accept": TAXII_21}) as response:
            if resumed and response.is_client_error and response.status_code not in (401, 403, 429):
                following, resumed = "", False
                continue
            resumed = False
            _require(response)
            envelope: dict[str, Any] = {}
            objects: list[Any] = []
            for key, value in read_members(response.iter_bytes(), "objects"):
                if key == "objects":
                    if len(objects) >= 10 * LIMIT:
                        raise FeedError(f"A page of {_host(url)} has more than {10 * LIMIT} objects.")
                    objects.append(value)
                else:
                    envelope[key] = value
            stamp = response.headers.get("X-TAXII-Date-Added-Last", "")
        last = stamp if timestamp(stamp) else last
        more = envelope.get("more") is True
        following = str(envelope.get("next") or "") if more else ""
        if not more or not following:  # the last page; or a server that pages by date alone
            if more and last in ("", added_after):
                raise FeedError(f"{_host(url)} says that there is more, and not how to get it.")
            added_after, last = last or added_after, ""
        elif following in seen:
            raise FeedError(f"{_host(url)} repeats a page ({len(seen)} pages read).")
        seen.add(following)
        moved = {"added_after": added_after, "next": following, "last": last}
        moved = {name: value for name, value in moved.items() if value}
        if objects or moved != cursor:
            tally = Tally()
            yield Page(records=reader.objects(objects, tally), cursor=moved, data_date=timestamp(stamp), tally=tally)
        if not more:
            return
    raise FeedError(f"{_host(url)} has more than {MAX_PAGES} pages.")


def _pages_20(client: Client, url: str, cursor: Cursor, reader: StixReader) -> Iterator[Page]:
    """By Range; the server's answer says how many items there are in all. Offsets count from the same `added_after` in the whole run.

    A run that goes on from another reads one page of it again, for items that were removed meanwhile.
    """
    params = {"added_after": cursor["added_after"]} if cursor.get("added_after") else {}
    first = max(0, int(cursor.get("items", "0")) - LIMIT)
    for _ in range(MAX_PAGES):
        headers = {"Accept": STIX_20, "Range": f"items {first}-{first + LIMIT - 1}"}
        with client.stream("GET", url, params=params, headers=headers) as response:
            if response.status_code in (404, 416) and (first or params):
                return  # nothing was added since, or nothing is behind the last item
            _require(response, also=(206,))
            objects = [value for key, value in read_members(response.iter_bytes(), "objects") if key == "objects"]
            last = response.headers.get("X-TAXII-Date-Added-Last", "")
            span = response.headers.get("Content-Range", "")
        total = span.rpartition("/")[2]
        first += len(objects)
        done = not objects or not total.isdigit() or first >= int(total)
        moved = {**params, "items": str(first)}
        if done:
            moved = {"added_after": last} if timestamp(last) else params
        if objects or moved != cursor:
            tally = Tally()
            yield Page(records=reader.objects(objects, tally), cursor=moved, data_date=timestamp(last), tally=tally)
        if done:
            return
    raise FeedError(f"{_host(url)} has more than {MAX_PAGES} pages.")


def _either(client: Client, url: str, items: str) -> tuple[Mapping[str, Any], bool]:
    """An object in TAXII 2.1, or 2.0 when the server does not speak that."""
    try:
        return _object(client, url, TAXII_21, items), False
    except _NotAcceptable:
        return _object(client, url, TAXII_20, items), True


def _spoken(client: Client, url: str) -> _Root:
    _, old = _either(client, _slashed(url), "versions")
    return _Root(_slashed(url), old)


class _NotAcceptable(FeedError):
    """The server does not speak the version that was asked for."""


def _object(client: Client, url: str, accept: str, items: str) -> Mapping[str, Any]:
    """A small answer: its scalars, and the elements of one array."""
    with client.stream("GET", url, headers={"Accept": accept}) as response:
        kind = response.headers.get("Content-Type", "")
        if response.status_code == 406 or (accept == TAXII_21 and "vnd.oasis.taxii" in kind):
            raise _NotAcceptable(f"HTTP 406 from {_host(url)}: {_VARIABLES[406]}.")
        _require(response)
        found: dict[str, Any] = {}
        for key, value in read_members(response.iter_bytes(), items):
            if key != items:
                found[key] = value
            elif len(found.setdefault(items, [])) < MAX_META:
                found[items].append(value)
        return found


def _require(response: httpx.Response, *, also: tuple[int, ...] = ()) -> None:
    if response.status_code in _VARIABLES:
        raise FeedError(f"HTTP {response.status_code} from {response.request.url.host}: {_VARIABLES[response.status_code]}.")
    require_json(response, also=also)


def _same_origin(url: str, other: str) -> str:
    """The other URL, when it is on the same server: this one's password must not go elsewhere."""
    if urlsplit(url)[:2] != urlsplit(other)[:2]:
        raise FeedError(f"The API root is on {_host(other)}, not on {_host(url)} as TAXII_URL is; set TAXII_URL to the server of the API root.")
    return other


def _slashed(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def _host(url: str) -> str:
    return urlsplit(url).hostname or "(no host)"
