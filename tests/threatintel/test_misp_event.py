"""MISP events as indicators, and ours as MISP events: PyMISP, which others wrote, knows every type and accepts what is written."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymisp
import pytest

from tests.threatintel.misp_samples import STAMP, attribute, event, misp_uuid, tags
from tests.threatintel.stix_samples import AMBER_STRICT, bundle, indicator
from threatintel.misp_event import LEFT_OUT, TYPES, event_objects, events_in
from threatintel.posted import check_bundle, check_indicator
from threatintel.specs import Record, Tally, Tlp
from threatintel.stix_to_misp import TYPES as PUSHED
from threatintel.stix_to_misp import attribute_uuid, event_uuid, outgoing, threat_level

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DESCRIBED = pymisp.MISPEvent().describe_types


def read(*wrapped: dict[str, Any], tally: Tally | None = None, server: str = "") -> list[Record]:
    tally = tally or Tally()
    return [record for one in events_in(list(wrapped)) for unread in event_objects(one, tally, server=server) for record in unread.read()]


# ── What is read ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_type_of_misp_is_mapped_or_left_out_for_a_reason() -> None:
    known = set(DESCRIBED["types"])
    assert known - set(TYPES) - set(LEFT_OUT) == set()
    assert (set(TYPES) | set(LEFT_OUT)) - known == set()
    assert set(TYPES) & set(LEFT_OUT) == set()
    assert all(reason.strip() for reason in LEFT_OUT.values())


@pytest.mark.parametrize(
    ("type", "value", "stated"),
    [
        ("ip-dst", "192.0.2.7", [("ipv4-addr", "192.0.2.7")]),
        ("ip-src", "2001:DB8::7", [("ipv6-addr", "2001:db8::7")]),
        ("ip-dst", "192.0.2.0/24", [("ipv4-addr", "192.0.2.0/24")]),
        ("ip-dst|port", "192.0.2.7|443", [("ipv4-addr", "192.0.2.7")]),
        ("hostname|port", "evil.example|443", [("domain-name", "evil.example")]),
        ("domain|ip", "evil.example|192.0.2.7", [("domain-name", "evil.example"), ("ipv4-addr", "192.0.2.7")]),
        ("url", "HTTP://Evil.Example:80/a", [("url", "http://evil.example/a")]),
        ("email-src", "Mallory@Evil.Example", [("email-addr", "mallory@evil.example")]),
        ("md5", "D41D8CD98F00B204E9800998ECF8427E", [("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427e")]),
        ("filename|md5", "a|b|d41d8cd98f00b204e9800998ecf8427e", [("file-name", "a|b"), ("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427e")]),
        ("filename|md5", "a.exe|d41d8cd98f00b204e9800998ecf8427e", [("file-name", "a.exe"), ("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427e")]),
        ("malware-sample", "a.exe|d41d8cd98f00b204e9800998ecf8427e", [("file-name", "a.exe"), ("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427e")]),
        ("filename|pehash", "a.exe|ffb7a38174aab4744cc4a509e34800aee9be8e57", [("file-name", "a.exe")]),
        ("vulnerability", "cve-2021-44228", [("vulnerability", "CVE-2021-44228")]),
        ("AS", "64500", [("autonomous-system", "AS64500")]),
        ("regkey|value", "HKLM\\Software\\Evil|x", [("windows-registry-key", "hkey_local_machine\\software\\evil")]),
        ("link", "https://report.example/", []),
        ("target-email", "victim@own.example", []),
        ("no-such-type", "x", []),
        ("ip-dst", "999.1.1.1", []),
    ],
)
def test_a_type_becomes_what_it_states(type: str, value: str, stated: list[tuple[str, str]]) -> None:
    tally = Tally()
    records = read(event(attribute(value, type)), tally=tally)
    assert [(one.type, one.value) for one in records] == stated
    assert bool(tally.skipped) is (not stated or len(stated) < sum(kind is not None for kind in TYPES[type]))


@pytest.mark.parametrize("to_ids", [False, "0", 0, None, "false", []])
def test_what_asks_for_no_detection_is_context(to_ids: Any) -> None:
    (record,) = read(event(attribute(to_ids=to_ids)))
    assert record.context


@pytest.mark.parametrize("to_ids", [True, "1", 1])
def test_what_asks_for_detection_is_none(to_ids: Any) -> None:
    (record,) = read(event(attribute(to_ids=to_ids)))
    assert not record.context


@pytest.mark.parametrize(
    ("of_event", "of_attribute", "tlp"),
    [
        ((), (), Tlp.AMBER),
        (("tlp:green",), (), Tlp.GREEN),
        (("tlp:white",), (), Tlp.CLEAR),
        (("TLP:Red",), (), Tlp.RED),
        (("tlp:green",), ("tlp:red",), Tlp.RED),
        (("tlp:red",), ("tlp:green",), Tlp.RED),
        (("tlp:amber+strict",), ("tlp:amber",), Tlp.AMBER_STRICT),
        (("tlp:nonsense",), (), Tlp.RED),
        (("tlp:green",), ("tlp:amber-strict",), Tlp.RED),
        (("tlp:green",), (" TLP : Red ",), Tlp.RED),
        (("tlp:green",), ("tlp:unclear",), Tlp.AMBER),
        (("tlp:green",), ("tlp:ex:chr",), Tlp.GREEN),
        (("tlp:ex:chr",), (), Tlp.AMBER),
    ],
)
def test_the_stricter_tlp_of_event_and_attribute_counts(of_event: tuple[str, ...], of_attribute: tuple[str, ...], tlp: Tlp) -> None:
    (record,) = read(event(attribute(Tag=tags(*of_attribute)), Tag=tags(*of_event)))
    assert record.tlp is tlp


def test_attributes_of_objects_are_read_and_what_was_deleted_is_revoked() -> None:
    holder = {"name": "file", "Attribute": [attribute("a.exe", "filename")]}
    gone = {"name": "file", "deleted": True, "Attribute": [attribute("b.exe", "filename")]}
    records = read(event(attribute("c.example"), attribute("d.example", deleted="1"), Object=[holder, gone]))
    assert {one.value: one.revoked for one in records} == {"a.exe": False, "b.exe": True, "c.example": False, "d.example": True}


def test_what_an_attribute_says_is_kept() -> None:
    said = attribute(
        comment="C2", first_seen="2026-05-01T00:00:00+00:00", Tag=tags('admiralty-scale:source-reliability="a"'), warnings=[{"name": "Top 1000"}]
    )
    (record,) = read(event(said, Tag=tags("apt", 'misp:confidence-level="usually-confident"')), server="https://misp.corp/")
    assert (record.external_id, record.confidence, record.description) == (said["uuid"], 75, "Event 1: C2")
    assert record.url == f"https://misp.corp/events/view/{misp_uuid('event 1')}"
    assert {"apt", "warning-list:Top 1000"} <= set(record.labels)
    assert record.first_seen == datetime(2026, 5, 1, tzinfo=UTC)
    assert record.modified == datetime.fromtimestamp(STAMP, UTC)
    kept = json.loads(record.raw)
    assert (kept["value"], kept["Event"]["info"]) == ("evil.example", "Event 1")


@pytest.mark.parametrize(
    "odd",
    [
        {"Attribute": "x"},
        {"Attribute": [1, None, []]},
        {"Attribute": [{}]},
        {"Attribute": [{"uuid": []}]},
        {"Attribute": [attribute(type=["domain"])]},  # type: ignore[arg-type]
        {"Attribute": [attribute(value=None)]},  # type: ignore[arg-type]
        {"Object": [{"Attribute": {}}], "Attribute": []},
        {"Attribute": [attribute("a\0b.example\ud800")]},
    ],
)
def test_odd_events_give_nothing_and_break_nothing(odd: dict[str, Any]) -> None:
    assert read(event(**odd)) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"timestamp": "9" * 40},
        {"timestamp": []},
        {"comment": ["x"]},
        {"Tag": "tlp:red"},
        {"Tag": [1, {"name": 2}, {}]},
        {"first_seen": "soon", "last_seen": 5},
        {"warnings": {"a": 1}},
        {"x": "\0\ud800"},
    ],
)
def test_odd_properties_leave_the_value(odd: dict[str, Any]) -> None:
    (record,) = read(event(attribute(**odd)))
    assert record.value == "evil.example"
    record.raw.encode()
    assert "\0" not in record.raw


@pytest.mark.parametrize(
    "wrap", [lambda e: e, lambda e: e["Event"], lambda e: {"response": [e]}, lambda e: [e], lambda e: {"response": {"Event": e["Event"]}}]
)
def test_an_export_is_read_in_every_wrapping(wrap: Any) -> None:
    assert len(read(wrap(event(attribute())))) == 1


def test_a_real_event_is_read(shared_data: Path) -> None:
    tally = Tally()
    records = read(json.loads((shared_data / "misp_event_370.json").read_text()), tally=tally)
    assert len(records) > 300
    assert {one.tlp for one in records} == {Tlp.CLEAR}
    assert {one.type for one in records} >= {
        "file-hash:md5",
        "file-hash:sha1",
        "file-hash:sha256",
        "url",
        "domain-name",
        "ipv4-addr",
        "vulnerability",
    }
    unread = sum(tally.skipped.values())
    assert len({one.external_id for one in records}) + unread == 370
    assert sum(times for reason, times in tally.skipped.items() if reason.startswith("a value that is no")) <= 11


# ── What is written ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("confidence", "level"), [(100, 1), (80, 1), (79, 2), (50, 2), (49, 3), (20, 3), (19, 4), (0, 4), (None, 4), ("90", 4), (True, 4)]
)
def test_confidence_gives_the_threat_level(confidence: Any, level: int) -> None:
    assert threat_level(confidence) == level


MD5, SHA1, SHA256, SHA512 = "d" * 32, "a" * 40, "b" * 64, "c" * 128


@pytest.mark.parametrize(
    ("pattern", "type", "category", "value"),
    [
        ("[ipv4-addr:value = '192.0.2.7']", "ip-dst", "Network activity", "192.0.2.7"),
        ("[ipv4-addr:value = '192.0.2.0/24']", "ip-dst", "Network activity", "192.0.2.0/24"),
        ("[ipv6-addr:value = '2001:db8::7']", "ip-dst", "Network activity", "2001:db8::7"),
        ("[domain-name:value = 'evil.example']", "domain", "Network activity", "evil.example"),
        ("[url:value = 'http://evil.example/a']", "url", "Network activity", "http://evil.example/a"),
        ("[email-addr:value = 'm@evil.example']", "email-src", "Payload delivery", "m@evil.example"),
        (f"[file:hashes.MD5 = '{MD5}']", "md5", "Payload delivery", MD5),
        (f"[file:hashes.'SHA-1' = '{SHA1}']", "sha1", "Payload delivery", SHA1),
        (f"[file:hashes.'SHA-256' = '{SHA256}']", "sha256", "Payload delivery", SHA256),
        (f"[file:hashes.'SHA-512' = '{SHA512}']", "sha512", "Payload delivery", SHA512),
        ("[file:name = 'it\\'s \\\\ evil.exe']", "filename", "Payload delivery", "it's \\ evil.exe"),
    ],
)
def test_a_pattern_becomes_an_attribute(pattern: str, type: str, category: str, value: str) -> None:
    out = outgoing(check_indicator(indicator(pattern)), NOW)
    (one,) = out.attributes
    assert (one["type"], one["category"], one["value"], one["to_ids"], out.skipped) == (type, category, value, True, ())
    assert one["type"] in DESCRIBED["category_type_mappings"][one["category"]]


def test_the_table_of_what_is_pushed_is_known_to_misp() -> None:
    for type, category in PUSHED.values():
        assert type in DESCRIBED["category_type_mappings"][category]


@pytest.mark.parametrize(
    "pattern",
    [
        "[mutex:name = 'x']",
        "[process:name = 'x']",
        "[ipv4-addr:value != '192.0.2.7']",
        "[file:size > 5]",
        "[domain-name:value LIKE '%.example']",
        "[autonomous-system:number = 64500]",
    ],
)
def test_what_is_not_in_the_table_is_skipped_once(pattern: str) -> None:
    out = outgoing(check_indicator(indicator(pattern)), NOW)
    assert (out.attributes, len(out.skipped)) == ([], 1)


def test_a_label_list_is_left_out_when_there_is_none() -> None:
    (one,) = outgoing(indicator(), NOW).attributes
    assert "Tag" not in one


def test_what_expired_asks_for_no_detection() -> None:
    (one,) = outgoing(indicator(valid_until="2026-05-31T00:00:00Z"), NOW).attributes
    assert one["to_ids"] is False


def test_uuids_are_made_of_the_stix_id_alone() -> None:
    one, two = outgoing(indicator(), NOW), outgoing(indicator(name="x", modified="2026-05-09T00:00:00Z"), NOW)
    assert one.event["uuid"] == two.event["uuid"] == event_uuid("indicator--" + indicator()["id"].partition("--")[2])
    assert one.attributes[0]["uuid"] == two.attributes[0]["uuid"]
    assert event_uuid("indicator--00000000-0000-4000-8000-000000000000") == "f2db60f1-f5a2-55db-8b26-33f75dcb9710"  # never changes
    assert attribute_uuid("a", "ip-dst", "192.0.2.7") != attribute_uuid("b", "ip-dst", "192.0.2.7")


def test_the_same_value_twice_in_a_bundle_is_one_attribute() -> None:
    out = outgoing(check_bundle(bundle(indicator(), indicator(number="2"))), NOW)
    assert len(out.attributes) == 1


def test_pymisp_accepts_every_event_that_is_written() -> None:
    whole = bundle(
        *(
            indicator(pattern, number=str(number), labels=["c2", "apt ü"], description="text\n\x07 more", object_marking_refs=[AMBER_STRICT])
            for number, pattern in enumerate(
                (
                    "[ipv4-addr:value = '192.0.2.7' OR ipv6-addr:value = '2001:db8::7']",
                    "[domain-name:value = 'evil.example'] AND [url:value = 'http://evil.example/']",
                    f"[file:hashes.MD5 = '{MD5}' AND file:name = 'a.exe']",
                    f"[file:hashes.'SHA-512' = '{SHA512}']",
                    "[email-addr:value = 'm@evil.example']",
                )
            )
        )
    )
    for out in (outgoing(check_bundle(whole), NOW), outgoing(check_indicator(indicator()), NOW)):
        loaded = pymisp.MISPEvent(strict_validation=True)
        loaded.load({"Event": json.loads(json.dumps(out.event))})
        assert len(loaded.attributes) == len(out.attributes) > 0
        assert (loaded.uuid, loaded.info, int(loaded.threat_level_id), int(loaded.distribution)) == (out.event["uuid"], out.event["info"], 4, 0)
        assert {tag.name for tag in loaded.tags} == {tag["name"] for tag in out.event["Tag"]}
        for ours, theirs in zip(out.attributes, loaded.attributes, strict=True):
            assert (theirs.type, theirs.category, theirs.value, theirs.to_ids) == (ours["type"], ours["category"], ours["value"], True)


def test_what_is_written_is_read_back_as_what_it_was() -> None:
    out = outgoing(check_indicator(indicator("[ipv6-addr:value = '2001:db8::7']", object_marking_refs=[AMBER_STRICT])), NOW)
    (record,) = read({"Event": out.event})
    assert (record.type, record.value, record.tlp, record.context) == ("ipv6-addr", "2001:db8::7", Tlp.AMBER_STRICT, False)
