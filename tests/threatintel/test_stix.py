"""STIX 2.0 and 2.1 objects become records: TLP by marking ids, patterns taken apart, what is left out counted."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.threatintel import stix_samples as samples
from tests.threatintel.stix_samples import indicator, stix_id
from threatintel.specs import Record, Tally, Tlp
from threatintel.stix import DEFAULT_CONFIDENCE, MAX_LABELS, TLP_MARKINGS, StixReader, stix_json

EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"


def read(*objects: Any, tlp: Tlp = Tlp.AMBER) -> tuple[list[Record], Tally]:
    reader, tally = StixReader(tlp), Tally()
    return [record for unread in reader.objects(objects, tally) for record in unread.read()], tally


def pairs(*objects: Any) -> list[tuple[str, str]]:
    return [(record.type, record.value) for record in read(*objects)[0]]


# ── TLP ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
TLP_IDS = [
    (samples.WHITE, "clear"),
    (samples.GREEN, "green"),
    (samples.AMBER, "amber"),
    (samples.RED, "red"),
    (samples.CLEAR_2, "clear"),
    (samples.GREEN_2, "green"),
    (samples.AMBER_2, "amber"),
    (samples.AMBER_STRICT, "amber+strict"),
    (samples.RED_2, "red"),
    (samples.AMBER_STRICT_OPENCTI, "amber+strict"),
]


@pytest.mark.parametrize(("marking", "tlp"), TLP_IDS)
def test_the_marking_ids_that_all_share_are_known_without_their_definition(marking: str, tlp: str) -> None:
    records, tally = read(indicator(object_marking_refs=[marking]))
    assert [record.tlp for record in records] == [tlp]
    assert tally.skipped == {}


def test_those_are_all_of_them() -> None:
    assert dict(TLP_IDS) == {marking: tlp.value for marking, tlp in TLP_MARKINGS.items()}


def marking(**said: Any) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": stix_id("marking-definition", str(said)),
        "created": "2026-01-01T00:00:00Z",
        **said,
    }


@pytest.mark.parametrize("word", ["clear", "green", "amber", "amber+strict", "red", "AMBER+STRICT", "white"])
def test_a_definition_by_the_tlp_2_extension_is_read(word: str) -> None:
    defined = marking(name=f"TLP:{word}", extensions={EXTENSION: {"extension_type": "property-extension", "tlp_2_0": word}})
    records, _ = read(defined, indicator(object_marking_refs=[defined["id"]]))
    assert records[0].tlp == (word.lower() if word != "white" else "clear")


@pytest.mark.parametrize("word", ["white", "green", "amber", "red"])
def test_a_definition_of_tlp_1_under_an_id_of_its_own_is_read(word: str) -> None:
    defined = marking(definition_type="tlp", definition={"tlp": word})
    records, _ = read(defined, indicator(object_marking_refs=[defined["id"]]))
    assert records[0].tlp == (word if word != "white" else "clear")


@pytest.mark.parametrize(
    ("said", "tlp"),
    [
        ({"definition_type": "tlp", "definition": {"tlp": " TLP:RED "}}, Tlp.RED),
        ({"definition_type": "TLP", "definition": {"tlp": "Green"}}, Tlp.GREEN),
        ({"definition_type": "tlp", "definition": {"tlp": "crimson"}}, Tlp.RED),
        ({"definition_type": "tlp", "definition": {"tlp": ["green"]}}, Tlp.RED),
        ({"definition_type": "tlp"}, Tlp.RED),
        ({"extensions": {EXTENSION: {"tlp_2_0": None}}}, Tlp.RED),
        ({"extensions": {EXTENSION: "green"}}, Tlp.RED),
        ({"name": "TLP:RED"}, Tlp.RED),
        ({"name": "TLP:AMBER+STRICT", "extensions": {EXTENSION: {"tlp_2_0": "green"}}}, Tlp.AMBER_STRICT),
        ({"definition_type": "tlp", "definition": {"tlp": "red"}, "extensions": {EXTENSION: {"tlp_2_0": "clear"}}}, Tlp.RED),
    ],
    ids=str,
)
def test_a_tlp_marking_that_says_two_things_or_nothing_readable_is_the_stricter(said: dict[str, Any], tlp: Tlp) -> None:
    defined = {**marking(), "id": stix_id("marking-definition", "one"), **said}
    assert read(defined, indicator(object_marking_refs=[defined["id"]]))[0][0].tlp == tlp


def test_a_second_definition_of_a_marking_takes_nothing_back() -> None:
    red = {**marking(definition_type="tlp", definition={"tlp": "red"}), "id": stix_id("marking-definition", "one")}
    for second in ({**red, "definition": {"tlp": "white"}}, {**red, "definition_type": "statement", "definition": {"statement": "©"}}):
        for order in ((red, second), (second, red)):
            assert read(*order, indicator(object_marking_refs=[red["id"]]))[0][0].tlp == Tlp.RED


def test_the_most_restrictive_marking_counts_granular_ones_too() -> None:
    both = [samples.WHITE, samples.AMBER_STRICT, samples.GREEN]
    assert read(indicator(object_marking_refs=both))[0][0].tlp == Tlp.AMBER_STRICT
    granular = [{"marking_ref": samples.RED, "selectors": ["description"]}, {"lang": "fr", "selectors": ["name"]}]
    records, tally = read(indicator(object_marking_refs=both, granular_markings=granular))
    assert records[0].tlp == Tlp.RED
    assert tally.skipped == {}


def test_nobody_redefines_a_marking_that_all_share() -> None:
    forged = {**marking(definition_type="tlp", definition={"tlp": "white"}), "id": samples.RED}
    assert read(forged, indicator(object_marking_refs=[samples.RED]))[0][0].tlp == Tlp.RED


def test_opencti_s_amber_strict_is_that_though_its_definition_is_a_statement() -> None:
    own = samples.AMBER_STRICT_OPENCTI
    defined = {**marking(definition_type="statement", definition={"statement": "custom"}, x_opencti_definition="TLP:AMBER+STRICT"), "id": own}
    assert read(defined, indicator(object_marking_refs=[own]))[0][0].tlp == Tlp.AMBER_STRICT


@pytest.mark.parametrize("own", list(Tlp))
def test_an_object_without_tlp_has_the_tlp_of_its_source(own: Tlp) -> None:
    statement = marking(definition_type="statement", definition={"statement": "Copyright"})
    assert read(indicator(object_marking_refs=None), tlp=own)[0][0].tlp == own
    records, tally = read(statement, indicator(object_marking_refs=[statement["id"]]), tlp=own)
    assert (records[0].tlp, tally.skipped) == (own, {})


@pytest.mark.parametrize("refs", [[stix_id("marking-definition", "elsewhere")], [7], [None], [{"a": "b"}]])
def test_a_marking_that_nobody_defined_is_counted(refs: list[Any]) -> None:
    records, tally = read(indicator(object_marking_refs=refs))
    assert records[0].tlp == Tlp.AMBER
    assert tally.skipped == {"a marking whose definition did not come with it": 1}


@pytest.mark.parametrize("refs", ["marking", {"a": 1}, 7, None, []])
def test_markings_that_are_no_list_are_none(refs: Any) -> None:
    assert read({**indicator(), "object_marking_refs": refs, "granular_markings": refs})[0][0].tlp == Tlp.AMBER


# ── Patterns ─────────────────────────────────────────────────────────────────────────────────────────────────────────
A, B = "domain-name:value = 'a.example'", "ipv4-addr:value = '192.0.2.1'"
SHA256 = "aa" * 32
PATTERNS = {
    "one": (f"[{A}]", ["a.example"], False, 0),
    "OR within": (f"[{A} OR {B}]", ["a.example", "192.0.2.1"], False, 0),
    "OR of observations": (f"[{A}] OR [{B}]", ["a.example", "192.0.2.1"], False, 0),
    "AND within": (f"[{A} AND {B}]", ["a.example", "192.0.2.1"], True, 0),
    "AND of observations": (f"[{A}] AND [{B}]", ["a.example", "192.0.2.1"], True, 0),
    "FOLLOWEDBY": (f"[{A}] FOLLOWEDBY [{B}]", ["a.example", "192.0.2.1"], True, 0),
    "WITHIN": (f"([{A}] AND [{B}]) WITHIN 600 SECONDS", ["a.example", "192.0.2.1"], True, 0),
    "IN": ("[domain-name:value IN ('a.example', 'b.example')]", ["a.example", "b.example"], False, 0),
    "two hashes": (f"[file:hashes.MD5 = '{'bb' * 16}' OR file:hashes.'SHA-256' = '{SHA256}']", ["bb" * 16, SHA256], False, 0),
    "name beside a hash": (f"[file:name = 'x.exe' AND file:hashes.'SHA-256' = '{SHA256}']", [SHA256], True, 1),
    "a network": ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", ["198.51.100.0/24"], False, 0),
    "LIKE": ("[url:value LIKE 'http://a.example/%']", [], True, 1),
    "NOT": ("[domain-name:value != 'a.example']", [], True, 1),
    "a port": (f"[{B} AND network-traffic:dst_port = 443]", ["192.0.2.1"], True, 1),
    "the same twice": (f"[{A}] OR [{A}]", ["a.example"], False, 0),
}


@pytest.mark.parametrize("case", PATTERNS)
def test_each_comparison_that_stands_alone_is_a_record_and_the_rest_is_kept_and_counted(case: str) -> None:
    pattern, values, kept, skipped = PATTERNS[case]
    records, tally = read(indicator(pattern))
    parts = [record for record in records if record.type != "stix-pattern"]
    whole = [record.value for record in records if record.type == "stix-pattern"]
    assert sorted(record.value for record in parts) == sorted(values)
    assert whole == ([pattern] if kept else [])
    assert sum(tally.skipped.values()) == skipped
    assert all(("part-of-pattern" in record.labels) == (kept or len(values) > 1) for record in parts)
    assert len({record.external_id for record in records}) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pattern": "[ipv4-addr:value = "}, "indicator: The text is no STIX pattern."),
        ({"pattern": "alert tcp any any -> any any", "pattern_type": "snort"}, "indicator with a pattern in snort"),
        ({"pattern": "x", "pattern_type": "<script>"}, "indicator with a pattern in an object of unknown type"),
        ({"pattern": None}, "indicator without a pattern"),
        ({"pattern": 7}, "indicator without a pattern"),
        ({"id": None}, "indicator without a STIX id"),
        ({"id": "indicator--1"}, "indicator without a STIX id"),
        ({"id": ["x"]}, "indicator without a STIX id"),
    ],
)
def test_an_indicator_that_cannot_be_read_is_counted_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert read(indicator(**changes)) == ([], Tally({reason: 1}))


def test_a_stix_20_indicator_needs_no_pattern_type_and_no_spec_version() -> None:
    old = indicator(spec_version=None, pattern_type=None, indicator_types=None, labels=["malicious-activity"])
    records, tally = read(old)
    assert [(record.type, record.labels) for record in records] == [("ipv4-addr", ("malicious-activity",))]
    assert tally.skipped == {}


# ── What an object says beside its value ─────────────────────────────────────────────────────────────────────────────
def test_every_property_of_an_indicator_has_its_place() -> None:
    link = "https://vendor.example/report"
    records, _ = read(
        indicator(
            confidence=85,
            description="Seen\0 in the wild. ",
            labels=["apt", "apt", 7, ""],
            valid_until="2026-06-01T00:00:00Z",
            revoked=True,
            modified="2026-05-02T00:00:00.123456Z",
            object_marking_refs=[samples.RED],
            external_references=[{"source_name": "x", "url": link}, {"source_name": "y"}, {"url": "javascript:alert(1)"}, {"url": link}, 7],
        )
    )
    (record,) = records
    assert (record.type, record.value, record.confidence, record.tlp) == ("ipv4-addr", "192.0.2.7", 85, "red")
    assert (record.description, record.labels) == ("Seen in the wild.", ("apt", "malicious-activity"))
    assert (record.url, record.references) == (link, (link,))
    assert record.valid_until == datetime(2026, 6, 1, tzinfo=UTC)
    assert record.modified == record.last_seen == datetime(2026, 5, 2, 0, 0, 0, 123456, tzinfo=UTC)
    assert record.first_seen == datetime(2026, 5, 1, tzinfo=UTC)
    assert (record.revoked, record.context) == (True, False)
    assert json.loads(record.raw)["confidence"] == 85


@pytest.mark.parametrize("confidence", [-1, 101, "80", None, True, 79.5, [80]])
def test_a_confidence_that_is_none_is_the_default(confidence: Any) -> None:
    assert read({**indicator(), "confidence": confidence})[0][0].confidence == DEFAULT_CONFIDENCE


@pytest.mark.parametrize("confidence", [0, 1, 100])
def test_a_confidence_from_0_to_100_is_kept(confidence: int) -> None:
    assert read(indicator(confidence=confidence))[0][0].confidence == confidence


@pytest.mark.parametrize("revoked", [False, None, "true", 1])
def test_only_true_revokes(revoked: Any) -> None:
    assert not read({**indicator(), "revoked": revoked})[0][0].revoked


@pytest.mark.parametrize("date", ["", "soon", 7, None, "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "2026-13-01T00:00:00Z"])
def test_a_date_that_is_none_is_left_out(date: Any) -> None:
    (record,) = read({**indicator(), "valid_until": date, "valid_from": date, "modified": date, "created": date})[0]
    assert (record.valid_until, record.first_seen, record.modified, record.last_seen) == (None, None, None, None)


def test_another_version_of_an_object_is_another_text() -> None:
    reader, tally = StixReader(), Tally()
    versions = [indicator(), indicator(modified="2026-05-02T00:00:00.000Z"), indicator(), indicator(object_marking_refs=[samples.RED])]
    raws = [unread.raw for unread in reader.objects(versions, tally)]
    assert raws[0] == raws[2]
    assert len(set(raws)) == 3


def test_a_marking_that_is_learned_later_makes_another_text() -> None:
    """What is stored under the old TLP is then written anew."""
    reader, tally = StixReader(), Tally()
    defined = marking(definition_type="tlp", definition={"tlp": "red"})
    marked = indicator(object_marking_refs=[defined["id"]])
    before, after = (unread.raw for unread in reader.objects([marked, defined, marked], tally))
    assert before != after


def test_an_object_that_comes_with_its_text_states_the_same_and_keeps_the_text() -> None:
    defined = marking(definition_type="tlp", definition={"tlp": "red"})
    objects: list[Any] = [
        defined,
        indicator(object_marking_refs=[defined["id"]], description="“quotes” \\ \ud800"),
        indicator("[ipv4-addr:value = '192.0.2.1'] AND [ipv4-addr:value = '192.0.2.2']", number="2", object_marking_refs=None),
        indicator("nothing", number="3"),
        observable("file", name="x.exe", hashes={"MD5": "d41d8cd98f00b204e9800998ecf8427e"}),
        {"type": "malware", "id": "malware--1"},
        {"type": "indicator", "id": 7},
        7,
    ]
    expected, counted = read(*objects)
    reader, tally = StixReader(), Tally()
    texts = [json.dumps(one, indent=1) for one in objects]
    unread = [one for obj, text in zip(objects, texts, strict=True) if (one := reader.written(obj, text, tally)) is not None]
    got = [record for one in unread for record in one.read()]
    assert [replace(record, raw="") for record in got] == [replace(record, raw="") for record in expected]
    assert {record.external_id: record.raw for record in got} == {obj["id"]: texts[place] for place, obj in enumerate(objects) if place in (1, 2, 4)}
    assert tally == counted


# ── Observables and vulnerabilities ──────────────────────────────────────────────────────────────────────────────────
def observable(kind: str, **said: Any) -> dict[str, Any]:
    return {"type": kind, "spec_version": "2.1", "id": stix_id(kind, str(said)), **said}


OBSERVABLES = [
    (observable("ipv4-addr", value="198.51.100.7/32"), [("ipv4-addr", "198.51.100.7")]),
    (observable("ipv6-addr", value="2001:DB8::7"), [("ipv6-addr", "2001:db8::7")]),
    (observable("domain-name", value="Evil.Example."), [("domain-name", "evil.example")]),
    (observable("url", value="HTTP://Evil.Example"), [("url", "http://evil.example/")]),
    (observable("email-addr", value="M@Evil.Example"), [("email-addr", "m@evil.example")]),
    (observable("mac-addr", value="00-1B-44-11-3A-B7"), [("mac-addr", "00:1b:44:11:3a:b7")]),
    (observable("mutex", name="Global\\Evil"), [("mutex", "Global\\Evil")]),
    (observable("windows-registry-key", key="HKLM\\Software\\Evil"), [("windows-registry-key", "hkey_local_machine\\software\\evil")]),
    (observable("autonomous-system", number=64500), [("autonomous-system", "AS64500")]),
    (
        observable("file", name="x.exe", hashes={"MD5": "AA" * 16, "SHA-256": SHA256, "X-OTHER": "1"}),
        [("file-hash:md5", "aa" * 16), ("file-hash:sha256", SHA256), ("file-name", "x.exe")],
    ),
]


@pytest.mark.parametrize(("obj", "expected"), OBSERVABLES, ids=lambda value: value["type"] if isinstance(value, dict) else "")
def test_an_observable_is_context_and_matches_nothing(obj: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    records, tally = read(obj)
    assert [(record.type, record.value) for record in records] == expected
    assert all(record.context for record in records)
    assert tally.skipped == {}


def test_the_observables_of_stix_20_observed_data_are_read() -> None:
    inner: dict[str, Any] = {
        "4": {"type": ["file"]},
        "0": {"type": "ipv4-addr", "value": "192.0.2.9"},
        "1": {"type": "process", "pid": 7},
        "2": {"type": "file", "name": "x"},
        "3": 7,
    }
    observed = observable(
        "observed-data", objects=inner, first_observed="2026-01-01T00:00:00Z", last_observed="2026-01-02T00:00:00Z", number_observed=3
    )
    records, _ = read(observed)
    assert [(record.type, record.context) for record in records] == [("ipv4-addr", True), ("file-name", True)]
    assert records[0].last_seen == datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "said",
    [
        {"name": "CVE-2021-44228"},
        {"name": "Log4Shell (cve-2021-44228)"},
        {"name": "Log4Shell", "external_references": [{"source_name": "cve", "external_id": "CVE-2021-44228"}]},
    ],
)
def test_a_vulnerability_is_its_cve_and_counts(said: dict[str, Any]) -> None:
    (record,) = read(observable("vulnerability", **said))[0]
    assert (record.type, record.value, record.context) == ("vulnerability", "CVE-2021-44228", False)


@pytest.mark.parametrize(
    "obj",
    [
        observable("vulnerability", name="One without a number"),
        observable("ipv4-addr", value="not an address"),
        observable("ipv4-addr", value=["192.0.2.1"]),
        observable("ipv4-addr"),
        observable("file", hashes={"MD5": "short"}),
        observable("file", hashes=7, name=7.5),
        observable("observed-data", object_refs=[stix_id("ipv4-addr", "x")]),
        observable("autonomous-system", number=True),
    ],
)
def test_an_object_without_a_value_that_is_read_is_counted(obj: dict[str, Any]) -> None:
    records, tally = read(obj)
    assert records == []
    assert tally.skipped[f"{obj['type']} without a value that is read"] == 1


KINDS = ["sighting", "relationship", "malware", "report", "identity", "note", "x-ours", "grouping", "bundle"]


def test_objects_of_other_types_are_counted_by_type() -> None:
    records, tally = read(*(observable(kind) for kind in KINDS), observable("sighting", count=2))
    assert records == []
    assert tally.skipped == {f"{kind} is no indicator": 2 if kind == "sighting" else 1 for kind in KINDS}


@pytest.mark.parametrize("thing", [None, 7, "x", [], [{}], True])
def test_something_that_is_no_object_is_counted(thing: Any) -> None:
    assert read(thing) == ([], Tally({"something that is no STIX object": 1}))


@pytest.mark.parametrize("kind", [None, 7, "<script>", "a b", "x" * 100, ["indicator"], {"a": 1}])
def test_a_type_that_is_no_word_is_not_repeated(kind: Any) -> None:
    assert read({"type": kind, "id": stix_id("indicator", "1")}) == ([], Tally({"an object of unknown type is no indicator": 1}))


# ── Hostile text ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_text_that_no_database_takes_is_cleaned_and_the_rest_kept() -> None:
    hostile = indicator(
        name="\ud800x\0",
        description="\0\ud800y",
        labels=["\0", "a\0b", "\ud800", "x" * 500],
        external_references=[{"url": "https://a.example/\0"}, {"url": "https://a.example/\u202e"}, {"url": f"https://a.example/{'x' * 3000}"}],
        **{"x\0": "\0\ud800", "deep": [[["\0"]]]},
    )
    (record,) = read(hostile)[0]
    for text in (record.raw, record.description, record.url, *record.labels, *record.references):
        assert "\0" not in text
        assert "\\u0000" not in text
        text.encode()
    assert (record.description, record.references) == ("?y", ())
    assert all(len(label) <= 120 for label in record.labels)
    assert json.loads(record.raw)["x"] == "?"


def test_a_value_with_a_backslash_and_u0000_as_text_stays() -> None:
    """Those are six characters, not a NUL."""
    assert json.loads(stix_json({"a": "\\u0000"})) == {"a": "\\u0000"}


def test_labels_are_bounded() -> None:
    assert len(read(indicator(labels=[f"label {number}" for number in range(500)]))[0][0].labels) == MAX_LABELS


def test_the_real_report_is_read_and_everything_is_accounted_for(shared_data: Path) -> None:
    objects = json.loads((shared_data / "stix_apt1.json").read_text())["objects"]
    records, tally = read(*objects)
    stated = {record.external_id for record in records}
    indicators = {obj["id"] for obj in objects if obj["type"] == "indicator"}
    assert stated == indicators
    assert sum(times for reason, times in tally.skipped.items() if reason.endswith("is no indicator")) >= len(objects) - len(indicators)
    assert Counter(record.type for record in records) == {"ipv4-addr": 4, "domain-name": 3, "file-hash:md5": 3, "stix-pattern": 2}
    assert tally.skipped["x509-certificate:issuer is no indicator by itself"] == 2
    assert all(record.tlp == Tlp.AMBER for record in records), "it carries no marking"
