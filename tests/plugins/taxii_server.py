"""The `taxii_server` fixture: a real TAXII 2.1 server (medallion) on loopback, from .venv-peers (bin/peers makes it).

One a module. It ends with the module, and with the test process even when that is killed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx
import pytest

from tests.plugins.processes import free_port, serving, soon
from tests.plugins.required import lacking

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / ".venv-peers"
APT1 = ROOT.parent / "shared" / "data" / "stix_apt1.json"
SECONDS = 60  # to start in, on a busy machine
TAXII = "application/taxii+json;version=2.1"
USERNAME, PASSWORD = "aisoc", "planted-password"
LARGEST_PAGE = 20  # of this server, whatever is asked for
REPORT, GROWS, LOCKED = "report", "grows", "locked"  # collections
FIRST_ADDED = datetime(2026, 1, 5, 8, tzinfo=UTC)


@dataclass(frozen=True)
class TaxiiServer:
    """`url` is that of its discovery; its one API root is `intel`. objects: those of the collection REPORT, in the order in which they were added."""

    url: str
    objects: list[dict[str, Any]] = field(repr=False)

    @property
    def root(self) -> str:
        return self.url.replace("/taxii2/", "/intel/")

    @property
    def indicators(self) -> list[dict[str, Any]]:
        return [one for one in self.objects if one["type"] == "indicator"]

    def add(self, *objects: dict[str, Any], collection: str = GROWS) -> None:
        """Add objects past the product."""
        with httpx.Client(timeout=30, trust_env=False, auth=(USERNAME, PASSWORD)) as client:
            answer = client.post(
                f"{self.root}collections/{collection}/objects/", json={"objects": objects}, headers={"Accept": TAXII, "Content-Type": TAXII}
            )
        answer.raise_for_status()
        assert answer.json()["success_count"] == len(objects)


def stix_id(kind: str, name: object) -> str:
    return f"{kind}--{uuid5(NAMESPACE_URL, str(name))}"


def stix_indicator(name: object, pattern: str = "", **changes: Any) -> dict[str, Any]:
    """An indicator as a producer writes it; without a pattern it is about a domain of its own."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": stix_id("indicator", name),
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "name": f"Indicator {name}",
        "pattern": pattern or f"[domain-name:value = 'host-{name}.evil.example']",
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
        **changes,
    }


def peer(program: str) -> Path:
    """A program of .venv-peers. Skips the test by name where it is missing; fails it when AISOC_TEST_REQUIRE names `peers`."""
    path = PEERS / "bin" / program
    if not path.exists():
        lacking("peers", f"The peer {program} is not installed ({PEERS.name}; bin/peers makes it).")
    return path


@pytest.fixture(scope="module")
def taxii_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaxiiServer]:
    program = peer("medallion")
    folder = tmp_path_factory.mktemp("taxii")
    port = free_port()
    server = TaxiiServer(f"http://127.0.0.1:{port}/taxii2/", _report())
    (folder / "data.json").write_text(json.dumps(_data(server)))
    backend = {"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend", "filename": str(folder / "data.json")}
    config = {"backend": backend, "users": {USERNAME: PASSWORD}, "taxii": {"max_page_size": LARGEST_PAGE}}
    (folder / "config.json").write_text(json.dumps(config))
    command = [PEERS / "bin" / "python", program, "--host", "127.0.0.1", "--port", str(port), folder / "config.json"]
    with serving(command, folder) as process:
        if not soon(lambda: process.poll() is not None or _answers(server), SECONDS) or process.poll() is not None:
            pytest.fail(f"The TAXII server does not start:\n{(folder / 'log').read_text()[-2000:]}")
        yield server


def _answers(server: TaxiiServer) -> bool:
    try:
        return httpx.get(server.url, headers={"Accept": TAXII}, auth=(USERNAME, PASSWORD), timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _report() -> list[dict[str, Any]]:
    """The APT1 report where the shared data is; else one of our own, as large."""
    if APT1.is_file():
        return list(json.loads(APT1.read_text())["objects"])
    words = ("relationship", "tool", "malware", "identity", "threat-actor", "report", "attack-pattern", "intrusion-set")
    head = {"spec_version": "2.1", "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z"}
    others = [{"type": words[n % len(words)], "id": stix_id(words[n % len(words)], n), "name": f"Thing {n}", **head} for n in range(60)]
    return [*others[:30], *(stix_indicator(f"report-{n}") for n in range(16)), *others[30:]]


def _data(server: TaxiiServer) -> dict[str, Any]:
    """What the memory backend serves. Four objects at a time were added at one moment."""
    manifest = [
        {
            "id": obj["id"],
            "date_added": (FIRST_ADDED + timedelta(minutes=number // 4)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "version": obj.get("modified", obj.get("created")),
            "media_type": "application/stix+json;version=2.1",
        }
        for number, obj in enumerate(server.objects)
    ]
    head = {"description": "", "can_read": True, "can_write": True, "media_types": ["application/stix+json;version=2.1"]}
    return {
        "/discovery": {"title": "A server of this test", "default": server.root, "api_roots": [server.root]},
        "intel": {
            "information": {"title": "Intel", "versions": [TAXII], "max_content_length": 1_000_000},
            "status": [],
            "collections": [
                {**head, "id": REPORT, "title": "A report", "objects": server.objects, "manifest": manifest},
                {**head, "id": GROWS, "title": "One that grows", "objects": [], "manifest": []},
                {**head, "id": LOCKED, "title": "One of others", "can_read": False, "objects": [], "manifest": []},
            ],
        },
    }
