"""Writes one event into a MISP, over its API: creates it or brings it up to date, and looks at the answer for what the server really took.

    PushFailed(Exception)     why it did not work; str() quotes nothing that the other side sent

Sources: MISP's API (events/add, events/edit, attributes/add, attributes/edit, attributes/delete, tags/add, …/addTag, …/removeTag). MISP takes
an event with its attributes and tags at once. Modern MISP takes the event alone, wants PUT where MISP takes POST, and numbers where it
takes UUIDs; what its answers do not show is therefore sent on its own.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

from airgap.transport import Client

MAX_ANSWER: Final = 16 * 1024 * 1024  # bytes
_EXISTS = (302, 400, 403, 409)  # what servers answer to an event whose UUID they have
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6}){1,3}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ID = re.compile(r"[0-9]{1,19}")


class PushFailed(Exception):
    """away: nothing else will work now either, so that others need not be tried."""

    def __init__(self, reason: str, *, away: bool = False) -> None:
        super().__init__(reason)
        self.away = away


@dataclass(frozen=True, slots=True)
class Before:
    """What the last push left in MISP: whether there was one, the UUIDs of its attributes, and its TLP tag ("tlp:green")."""

    pushed: bool = False
    attributes: tuple[str, ...] = ()
    tlp: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """event_id: MISP's number. attributes: the UUIDs of ours that it has now. notes: what it did not take, as sentences."""

    event_id: str
    event_uuid: str
    attributes: tuple[str, ...]
    notes: tuple[str, ...] = ()


class MispApi:
    """One conversation with the MISP at `url`. until: monotonic time after which no further request is begun."""

    def __init__(self, client: Client, url: str, *, until: float = float("inf")) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._until = until
        self._tags: dict[str, str] = {}  # name: number
        self._puts = False

    def version(self) -> str:
        """The server's version, "" when it tells none that looks like one. Raises PushFailed, AirgapBlocked, httpx.HTTPError."""
        told = self._taken("GET", "servers/getVersion").get("version")
        return told if isinstance(told, str) and _VERSION.fullmatch(told) else ""

    def write(self, event: Mapping[str, Any], before: Before) -> Written:
        """Create or update the event. Raises PushFailed, AirgapBlocked, httpx.HTTPError; doing it again is safe."""
        uuid = str(event["uuid"])
        stored = self._edited(event, uuid) if before.pushed else None
        if stored is None:
            stored = self._added(event, uuid)
        if not isinstance(stored.get("Attribute"), list):  # some answers are short
            stored = self._read_back(uuid, stored)
        number = str(stored["id"])
        notes: list[str] = []
        wanted = [tag["name"] for tag in event["Tag"]]
        if before.tlp and before.tlp not in wanted and before.tlp in (there := _tags_in(stored.get("Tag"))):
            self._took(self._send("POST", f"events/removeTag/{number}/{there[before.tlp]}")[0])
            stored = self._read_back(uuid, stored)  # Modern MISP takes another tag than the one that is named
            if before.tlp in _tags_in(stored.get("Tag")):
                notes.append(f"MISP did not take {before.tlp} off the event.")
        if isinstance(stored.get("Attribute"), list):
            stored = {**stored, "Tag": stored.get("Tag", [])}  # MISP leaves out what is empty
        notes += self._settle_tags("events", number, stored, event)
        kept, rejected, untagged = self._settle_attributes(number, stored, event, before)
        if rejected:
            notes.append(f"MISP did not take {rejected} of {len(event['Attribute'])} attributes.")
        if untagged:
            notes.append(f"{untagged} attributes lack a tag.")
        return Written(event_id=number, event_uuid=uuid, attributes=tuple(kept), notes=tuple(notes))

    def _added(self, event: Mapping[str, Any], uuid: str) -> dict[str, Any]:
        status, answer = self._send("POST", "events/add", event)
        if status in _EXISTS:
            seen, _ = self._send("GET", f"events/view/{uuid}")
            if seen == 200 and (edited := self._edited(event, uuid)) is not None:
                return edited
        return _stored(self._checked(status, answer))

    def _edited(self, event: Mapping[str, Any], uuid: str) -> dict[str, Any] | None:
        """None: the server has no such event."""
        # "deleted": attributes that somebody, or an earlier version of the object, took away come back.
        body = {**event, "Attribute": [{**attribute, "deleted": False} for attribute in event["Attribute"]]}
        status, answer = self._change(f"events/edit/{uuid}", body)
        return None if status == 404 else _stored(self._checked(status, answer))

    def _read_back(self, uuid: str, stored: dict[str, Any]) -> dict[str, Any]:
        """The event as the server shows it, else as it answered."""
        status, answer = self._send("GET", f"events/view/{uuid}")
        shown = _event(answer) if status == 200 else None
        return shown if shown is not None and _ID.fullmatch(str(shown.get("id"))) else stored

    def _settle_attributes(self, number: str, stored: Mapping[str, Any], event: Mapping[str, Any], before: Before) -> tuple[list[str], int, int]:
        """Send what the server did not take with the event; returns the UUIDs that it has, how many it refuses, how many lack a tag."""
        wanted = {one["uuid"]: one for one in event["Attribute"]}
        if not isinstance(listed := stored.get("Attribute"), list):
            return list(wanted), 0, 0  # a server that acknowledges the event and lists nothing
        there = [one for one in listed if isinstance(one, dict)]
        by_uuid = {str(one.get("uuid", "")).lower(): one for one in there}
        by_others = {(str(one.get("type")), str(one.get("value"))) for one in there if not _is_true(one.get("deleted"))}
        kept: list[str] = []
        rejected = untagged = 0
        for uuid, attribute in wanted.items():
            held = by_uuid.get(uuid)
            if held is None and (attribute["type"], attribute["value"]) in by_others:
                kept.append(uuid)  # somebody's own: MISP takes a value once an event, and theirs stays as it is
                continue
            if held is None:
                status, answer = self._send("POST", f"attributes/add/{number}", attribute)
            elif _differs(held, attribute):
                status, answer = self._change(f"attributes/edit/{_place(held)}", {**attribute, "deleted": False})
            else:
                status, answer = 200, {"Attribute": held}
            if not self._took(status):
                rejected += 1
                continue
            kept.append(uuid)
            one = answer.get("Attribute") if isinstance(answer, dict) else None
            one = one if isinstance(one, dict) else {}
            shown = {**one, "Tag": one.get("Tag", held.get("Tag", []) if held else [])}
            if attribute.get("Tag") and self._settle_tags("attributes", _place(shown, uuid), shown, attribute):
                untagged += 1
        for uuid in before.attributes:
            if uuid not in wanted and uuid in by_uuid and not _is_true(by_uuid[uuid].get("deleted")):
                self._took(self._change(f"attributes/delete/{_place(by_uuid[uuid])}", None, other="DELETE")[0])
        return kept, rejected, untagged

    def _settle_tags(self, kind: str, place: str, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
        """Add the tags that the server did not take with the object; a sentence for each that it does not take now either."""
        if not isinstance(stored.get("Tag"), list):
            return []
        there = {one.get("name") for one in stored["Tag"] if isinstance(one, dict)}
        missing = []
        for name in (tag["name"] for tag in wanted["Tag"] if tag["name"] not in there):
            number = self._tag(name)
            if not number or not self._took(self._send("POST", f"{kind}/addTag/{place}/{number}/local:0")[0]):
                missing.append(f"MISP did not take the tag {name}; the key needs the right to make and set tags.")
        return missing

    def _tag(self, name: str) -> str:
        """The number of a tag, made if need be; "" when neither works."""
        if name not in self._tags:
            status, answer = self._send("POST", "tags/add", {"name": name, "colour": "#3b6ea5", "exportable": True})
            made = answer.get("Tag") if isinstance(answer, dict) and self._took(status) else None
            if isinstance(made, dict):
                self._tags |= _tags_in([made])
            else:
                _, answer = self._send("GET", f"tags/index/searchall:{quote(name, safe='')}")
                if not _tags_in(answer):
                    _, answer = self._send("GET", "tags")
                self._tags |= _tags_in(answer)
        return self._tags.get(name, "")

    def _took(self, status: int) -> bool:
        """Whether it was done. Raises PushFailed where it makes no sense to go on."""
        if status in (401, 429) or status >= 500:
            self._checked(status, None)
        return 200 <= status < 300

    def _change(self, path: str, body: object, *, other: str = "PUT") -> tuple[int, Any]:
        """POST, as MISP wants it, or the other method where the server does not know POST."""
        status, answer = (405, None) if self._puts else self._send("POST", path, body)
        if status == 405:
            self._puts = True
            status, answer = self._send(other, path, body)
        return status, answer

    def _taken(self, method: str, path: str) -> dict[str, Any]:
        answer = self._checked(*self._send(method, path))
        if not isinstance(answer, dict):
            raise PushFailed("The server answered something that is not a MISP's. Is MISP_URL the root of a MISP?")
        return answer

    def _checked(self, status: int, answer: object) -> object:
        """The answer to a request that went well; raises PushFailed with what to do about any other."""
        if 200 <= status < 300:
            return answer
        match status:
            case 401:
                raise PushFailed("MISP answered 401: it does not know the key. Check MISP_API_KEY.", away=True)
            case 403:
                raise PushFailed("MISP answered 403: the key may not do this, or MISP refuses this event.")
            case 404 | 405:
                raise PushFailed(f"The server answered {status}: there is no MISP at this address. Check MISP_URL.", away=True)
            case 429:
                raise PushFailed("MISP answered 429: too many requests.", away=True)
            case _ if 300 <= status < 400:
                raise PushFailed(f"The server answered {status}, a redirect. Set MISP_URL to the address that it redirects to.", away=True)
            case _ if status >= 500:
                raise PushFailed(f"MISP answered {status}: it has a fault of its own; see its log.", away=True)
        raise PushFailed(f"MISP answered {status}: it does not accept what was sent.")

    def _send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and, if there is one, the JSON of the answer."""
        if time.monotonic() > self._until:
            raise PushFailed("MISP is slow: the push ran out of time, and goes on later.", away=True)
        response = self._client.request(method, f"{self._url}/{path}", json=body, headers={"Accept": "application/json"})
        try:
            return response.status_code, json.loads(response.content)
        except (ValueError, RecursionError):
            return response.status_code, None


def host_of(url: str) -> str:
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""


def _event(answer: object) -> dict[str, Any] | None:
    event = answer.get("Event") if isinstance(answer, dict) else None
    return event if isinstance(event, dict) else None


def _stored(answer: object) -> dict[str, Any]:
    event = _event(answer)
    if event is None or not _ID.fullmatch(str(event.get("id"))):
        raise PushFailed("The server's answer names no event. Is MISP_URL the root of a MISP?", away=True)
    return event


def _place(attribute: Mapping[str, Any], uuid: str = "") -> str:
    """How a path names an attribute: by number where the server told it."""
    number, own = str(attribute.get("id", "")), str(attribute.get("uuid", "")).lower()
    return number if _ID.fullmatch(number) else (own if _UUID.fullmatch(own) else uuid)


def _differs(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return (
        any(str(held.get(name) or "") != str(wanted[name]) for name in ("category", "comment"))  # type and value are in its UUID
        or _is_true(held.get("to_ids")) is not wanted["to_ids"]
        or _is_true(held.get("deleted"))
    )


def _tags_in(answer: object) -> dict[str, str]:
    """Name and number of the tags, in any of the forms in which servers list them."""
    listed = answer.get("Tag", answer.get("response")) if isinstance(answer, dict) else answer
    tags = [one.get("Tag", one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {str(tag["name"]): number for tag in tags if isinstance(tag, dict) and "name" in tag and _ID.fullmatch(number := str(tag.get("id", "")))}


def _is_true(value: object) -> bool:
    return value in (True, 1, "1", "true")
