"""TAXII 2.1, and 2.0 by media type: one collection, from where the last poll ended.

Sources: TAXII 2.1 (OASIS) sections 1.6.8 (media types), 3.4 (filtering), 3.5 (pagination), 4.1 (discovery), 5.4 (objects), 5.6 (one object);
TAXII 2.0 section 3.4 (pagination by Range). The cursor is `added_after`: the date that the server last gave an object when it was added, and it moves
with each page. It never moves to a date that lies ahead.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import httpx

from airgap.hosts import Malformed, Url
from airgap.transport import Client
from threatintel.feeds.answers import reached, require_json
from threatintel.feeds.json_stream import read_members
from threatintel.normalise import timestamp
from threatintel.specs import Cursor, FeedError, FeedSpec, Keep, Page, Tally, keep_nothing
from threatintel.stix import StixReader

TAXII_21: Final = "application/taxii+json;version=2.1"
TAXII_20: Final = "application/vnd.oasis.taxii+json; version=2.0"
STIX_20: Final = "application/vnd.oasis.stix+json; version=2.0"
LIMIT: Final = 1000  # objects a page
MAX_PAGES: Final = 20_000
MAX_META: Final = 200  # API roots and collections of one answer
MAX_PARTS: Final = 1_000_000  # JSON parts of one answer
MAX_TOKEN: Final = 2000  # characters of `next`
MAX_MARKINGS: Final = 20  # definitions that one run asks for
_BUSY: Final = (429, 502, 503, 504)  # ask again later
_MOMENT = timedelta(milliseconds=1)
_CONTENT_RANGE = re.compile(r"items (\d{1,12})-\d{1,12}/(\d{1,12}|\*)")
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


def fetch(client: Client, spec: FeedSpec, cursor: Cursor, keep: Keep = keep_nothing) -> Iterator[Page]:
    """One page of the collection after another, each with the cursor behind it; none when nothing was added since."""
    root = api_root(client, spec.url, spec.options["api_root"])
    url = urljoin(root.url, f"collections/{quote(spec.options['collection'], safe='')}/objects/")
    markings = _Markings(client, url, STIX_20 if root.old else TAXII_21)
    yield from (_pages_20 if root.old else _pages_21)(client, url, cursor, markings, keep)


def collections(client: Client, url: str, named_root: str) -> Iterator[Collection]:
    """Every collection of one API root. Raises FeedError."""
    root = api_root(client, url, named_root)
    answer = _object(client, urljoin(root.url, "collections/"), TAXII_20 if root.old else TAXII_21, "collections")
    for one in answer.get("collections", []):
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            yield Collection(root.url, one["id"][:200], str(one.get("title", ""))[:200], one.get("can_read") is True)


def api_root(client: Client, url: str, named: str) -> _Root:
    """The API root that TAXII_API_ROOT names: a URL, a path, a name; else the server's default one, or its only one. Raises FeedError."""
    if named:
        place = named if named.startswith(("http://", "https://", "/")) else f"/{named}"
        return _spoken(client, _on_server(url, place))
    answer, old = _either(client, url, "api_roots")
    roots, default = answer.get("api_roots"), answer.get("default")
    if roots is None and default is None:
        return _Root(_slashed(url), old)  # the URL is that of an API root, which says versions and no roots
    listed = [one for one in roots or () if isinstance(one, str)]
    chosen = default if isinstance(default, str) else (listed[0] if len(listed) == 1 else "")
    if not chosen:
        raise FeedError(f"{_host(url)} has {len(listed)} API roots and no default; set TAXII_API_ROOT to one of them.")
    return _Root(_slashed(_on_server(url, chosen)), old)


def _pages_21(client: Client, url: str, cursor: Cursor, markings: "_Markings", keep: Keep) -> Iterator[Page]:
    """By `next`, which is opaque. From a server that changes it with each page, it names a place: the cursor keeps it, and the next run goes on there.

    A server that repeats it holds the place itself, and a page that was asked for and not stored is gone with it; the cursor then keeps the
    date before the last one of the page, since objects come in the order of their dates and many may have one date.
    """
    added_after, following, last = (cursor.get(name, "") for name in ("added_after", "next", "last"))
    resumed = bool(following)
    first = int(cursor.get("pages", "0")) if resumed else 0
    seen = _Seen(url)
    for number in range(first + 1, MAX_PAGES + 1):
        given = {"added_after": added_after, "limit": str(LIMIT), "next": following}
        with _get(client, url, TAXII_21, params={name: value for name, value in given.items() if value}) as response:
            if resumed and response.is_client_error and response.status_code not in (401, 403, 429):
                following, resumed = "", False  # it has forgotten `next`
                continue
            resumed = False
            _require(response)
            objects, envelope = _objects(response, url)
            stamp = response.headers.get("X-TAXII-Date-Added-Last", "")
        last = stamp if reached(stamp) else last
        more, token = envelope.get("more") is True, envelope.get("next")
        moved = {"added_after": last or added_after}
        if more and token:
            token = _token(token, url)
            seen.look(objects, token)
            if following and token != following:
                moved = {"added_after": added_after, "next": token, "last": last, "pages": str(number)}
            else:
                moved = {"added_after": _before(last, added_after)}
            following = token
        elif more:  # by date alone
            if last in ("", added_after):
                raise FeedError(f"{_host(url)} says that there is more, and not how to get it.")
            seen.look(objects, last)
            added_after, following, last = last, "", ""
        moved = {name: value for name, value in moved.items() if value}
        if objects or moved != cursor:
            yield _page(objects, moved, stamp, markings, keep)
        if not more:
            return
    raise FeedError(f"{_host(url)} has more than {MAX_PAGES} pages.")


def _pages_20(client: Client, url: str, cursor: Cursor, markings: "_Markings", keep: Keep) -> Iterator[Page]:
    """By Range; the server's answer says how many items there are in all. Offsets count from the same `added_after` in the whole run.

    A run that goes on from another reads one page of it again, for items that were removed meanwhile.
    """
    params = {"added_after": cursor["added_after"]} if cursor.get("added_after") else {}
    last = cursor.get("last", "")
    first = max(0, int(cursor.get("items", "0")) - LIMIT)
    resumed = first > 0
    seen = _Seen(url)
    for _ in range(MAX_PAGES):
        objects: list[Any] = []
        stamp = ""
        with _get(client, url, STIX_20, params=params, headers={"Range": f"items {first}-{first + LIMIT - 1}"}) as response:
            if response.status_code in (404, 416) and resumed:
                first, resumed = 0, False  # there are fewer items than there were
                continue
            resumed = False
            if response.status_code in (404, 416) and (first or params):
                done = True  # nothing was added since, or nothing is behind the last item
            else:
                _require(response, also=(206,))
                objects, _ = _objects(response, url)
                stamp = response.headers.get("X-TAXII-Date-Added-Last", "")
                done = _is_last(response.headers.get("Content-Range", ""), first, len(objects), url)
        seen.look(objects, str(first))
        last = stamp if reached(stamp) else last
        first += len(objects)
        moved = {"added_after": last or params.get("added_after", "")} if done else {**params, "items": str(first), "last": last}
        moved = {name: value for name, value in moved.items() if value}
        if objects or moved != cursor:
            yield _page(objects, moved, stamp, markings, keep)
        if done:
            return
    raise FeedError(f"{_host(url)} has more than {MAX_PAGES} pages.")


def _is_last(span: str, first: int, count: int, url: str) -> bool:
    """Whether nothing follows a page of `count` items from `first` on. Raises FeedError for a page that is another one than was asked for."""
    if not span:
        if first:
            raise FeedError(f"{_host(url)} answers a Range with something else.")
        return True  # all of it at once
    match = _CONTENT_RANGE.fullmatch(span.strip())
    if match is None or int(match[1]) != first:
        raise FeedError(f"{_host(url)} answers another Range than was asked for.")
    if match[2] == "*":
        return count == 0
    if count == 0 and int(match[2]) > first:
        raise FeedError(f"{_host(url)} says that there is more, and does not give it.")
    return first + count >= int(match[2])


def _page(objects: list[Any], cursor: Cursor, stamp: str, markings: "_Markings", keep: Keep) -> Page:
    """Markings are learned and kept first: a page may define them behind what they mark."""
    for obj in objects:
        if isinstance(obj, dict):
            markings.reader.learn(obj)
    markings.ask_for_what_is_undefined(objects, keep)
    for obj in sorted(objects, key=lambda one: not (isinstance(one, dict) and one.get("type") == "marking-definition")):
        keep(obj)
    tally = Tally()
    return Page(records=markings.reader.objects(objects, tally), cursor=cursor, data_date=reached(stamp), tally=tally)


class _Markings:
    """The reader of one run, which knows the markings that it was given; it asks the collection for those that came with an earlier poll."""

    def __init__(self, client: Client, url: str, accept: str) -> None:
        self.reader = StixReader()
        self._client, self._url, self._accept = client, url, accept
        self._asked: set[str] = set()

    def ask_for_what_is_undefined(self, objects: list[Any], keep: Keep) -> None:
        """Once a marking (TAXII 2.1 section 5.6, Get an Object). A server that does not give it leaves it undefined.

        Raises FeedError when the server is busy: stored now, what it marks would stay amber.
        """
        for mark in sorted(self.reader.undefined(objects) - self._asked)[: MAX_MARKINGS - len(self._asked)]:
            self._asked.add(mark)
            with suppress(httpx.DecodingError), _get(self._client, f"{self._url}{mark}/", self._accept) as response:
                if response.status_code in _BUSY:
                    _require(response)
                with suppress(FeedError):
                    _require(response)
                    for obj in _objects(response, self._url)[0]:
                        if isinstance(obj, dict) and obj.get("id") == mark:
                            self.reader.learn(obj)
                            keep(obj)


class _Seen:
    """The pages of one run, each by what it lists: a server that repeats one would be read without end."""

    def __init__(self, url: str) -> None:
        self._host = _host(url)
        self._pages: set[int] = set()

    def look(self, objects: list[Any], place: str) -> None:
        """Raises FeedError. Empty pages differ by their place."""
        listed = tuple((str(obj.get("id"))[:200], str(obj.get("modified"))[:40]) for obj in objects if isinstance(obj, dict))
        page = hash(listed or place)
        if page in self._pages:
            raise FeedError(f"{self._host} repeats a page ({len(self._pages)} pages read).")
        self._pages.add(page)


def _token(token: object, url: str) -> str:
    """`next` as text. Raises FeedError for one that could not be stored and sent back."""
    text = str(token)
    if len(text) > MAX_TOKEN or not text.isprintable():
        raise FeedError(f"{_host(url)} gives a `next` that cannot be sent back.")
    return text


def _before(last: str, added_after: str) -> str:
    """The moment before `last`, unless that is no progress."""
    moment, start = timestamp(last), timestamp(added_after)
    if moment is None or (start is not None and moment - _MOMENT <= start):
        return added_after
    return (moment - _MOMENT).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _objects(response: httpx.Response, url: str) -> tuple[list[Any], dict[str, Any]]:
    """The objects of an envelope or a bundle, and its other members. Raises FeedError."""
    envelope: dict[str, Any] = {}
    objects: list[Any] = []
    for key, value in read_members(response.iter_bytes(), "objects", in_all=MAX_PARTS):
        if key != "objects":
            envelope[key] = value
        elif len(objects) >= 10 * LIMIT:
            raise FeedError(f"A page of {_host(url)} has more than {10 * LIMIT} objects.")
        else:
            objects.append(value)
    return objects, envelope


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
    with _get(client, url, accept) as response:
        kind = response.headers.get("Content-Type", "")
        if response.status_code in (406, 415) or (accept == TAXII_21 and "vnd.oasis.taxii" in kind):
            raise _NotAcceptable(f"HTTP 406 from {_host(url)}: {_VARIABLES[406]}.")
        _require(response)
        found: dict[str, Any] = {}
        for key, value in read_members(response.iter_bytes(), items, in_all=MAX_PARTS):
            if key != items:
                found[key] = value
            elif len(found.setdefault(items, [])) < MAX_META:
                found[items].append(value)
        return found


def _require(response: httpx.Response, *, also: tuple[int, ...] = ()) -> None:
    if response.status_code in _VARIABLES:
        raise FeedError(f"HTTP {response.status_code} from {response.request.url.host}: {_VARIABLES[response.status_code]}.")
    require_json(response, also=also)


def _get(
    client: Client, url: str, accept: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> AbstractContextManager[httpx.Response]:
    """Redirects are followed, each judged by the gate: servers send `/taxii2` on to `/taxii2/`. httpx takes the password off on the way to another origin."""
    return client.stream("GET", url, params=params, headers={"Accept": accept, **(headers or {})}, follow_redirects=True)


def _on_server(url: str, place: str) -> str:
    """The URL of a place on the server of `url`, whose password must not go elsewhere. Raises FeedError."""
    try:
        joined = urljoin(url, place)
    except ValueError:
        joined = ""
    ours, theirs = Url.parse(url), Url.parse(joined)
    if isinstance(ours, Malformed) or isinstance(theirs, Malformed) or theirs.userinfo:
        raise FeedError(f"The API root that {_host(url)} or TAXII_API_ROOT names is no URL.")
    if ours.origin != theirs.origin:
        raise FeedError(f"The API root is on {theirs.host}, not on {ours.host} as TAXII_URL is; set TAXII_URL to the server of the API root.")
    return joined


def _slashed(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def _host(url: str) -> str:
    return urlsplit(url).hostname or "(no host)"
