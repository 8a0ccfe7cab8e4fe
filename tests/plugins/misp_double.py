"""A double of MISP on loopback that takes events as MISP does, attributes and tags at once, and fails as a test decides."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "k3y-that-nobody-may-see-0123456789"


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0  # seconds


Rule = Callable[[Asked], Answer | None]


def answer(value: Any, status: int = 200, **options: Any) -> Answer:
    return Answer(status, json.dumps(value).encode(), **options)


class MispDouble:
    """`rules` are asked first, in order, and may answer anything; `searched` is what restSearch finds; `requests` keeps what came."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.searched: list[Any] = []
        self.rules: list[Rule] = []
        self.requests: list[Asked] = []
        self._lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(
                    self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(raw) if raw else None
                )
                with double._lock:
                    double.requests.append(asked)
                    given = next((found for rule in double.rules if (found := rule(asked)) is not None), None) or double._answer(asked)
                time.sleep(given.after)
                try:
                    self.send_response_only(given.status)
                    for name, value in {
                        "Date": self.date_time_string(),
                        "Content-Type": given.content_type,
                        "Content-Length": str(len(given.body)),
                        **given.headers,
                    }.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(given.body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.handle_error = lambda *_args: None  # type: ignore[method-assign,assignment]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def always(self, given: Answer, *, path: str = "/") -> None:
        self.rules.append(lambda asked: given if asked.path.startswith(path) else None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, *prefixes: str) -> list[Asked]:
        return [one for one in self.requests if one.path.startswith(prefixes)]

    def _answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != KEY:
            return answer({"message": "Authentication failed."}, 403)
        match asked.path.strip("/").split("/"):
            case ["servers", "getVersion"]:
                return answer({"version": "2.4.199", "perm_sync": False})
            case ["events", "restSearch"]:
                page, limit = asked.body["page"], asked.body["limit"]
                return answer({"response": self.searched[(page - 1) * limit : page * limit]})
            case ["events", "add"]:
                if asked.body["uuid"] in self.events:
                    return answer({"name": "Event already exists"}, 403)
                return self._save({"id": str(len(self.events) + 1), "Attribute": []}, asked.body)
            case ["events", "edit", uuid]:
                return self._save(self.events[uuid], asked.body) if uuid in self.events else answer({"name": "Invalid event"}, 404)
            case ["events", "view", uuid]:
                return answer({"Event": self.events[uuid]}) if uuid in self.events else answer({"name": "Invalid event"}, 404)
            case ["attributes", "delete", number]:
                for event in self.events.values():
                    event["Attribute"] = [one for one in event["Attribute"] if one["id"] != number]
                return answer({"message": "Attribute deleted."})
            case ["events", "removeTag", number, tag]:
                for event in self.events.values():
                    if event["id"] == number:
                        event["Tag"] = [one for one in event["Tag"] if one["id"] != tag]
                return answer({"saved": True})
        return answer({"name": "Not found"}, 404)

    def _save(self, stored: dict[str, Any], sent: dict[str, Any]) -> Answer:
        held = {one["uuid"]: one for one in stored["Attribute"]}
        for attribute in sent["Attribute"]:
            number = str(abs(hash(attribute["uuid"])) % 10**9)
            held[attribute["uuid"]] = {"id": number, **held.get(attribute["uuid"], {}), **attribute, "deleted": False}
        tags = {one["name"]: one for one in stored.get("Tag", [])}
        for tag in sent["Tag"]:
            tags.setdefault(tag["name"], {"id": str(len(tags) + 1), "name": tag["name"]})
        event = {**stored, **sent, "Attribute": list(held.values()), "Tag": list(tags.values())}
        self.events[sent["uuid"]] = event
        return answer({"Event": event})


@pytest.fixture
def misp_double() -> Iterator[MispDouble]:
    double = MispDouble()
    yield double
    double.close()
