"""Pushing to MISP: an object is stored whatever MISP does, goes to one event however often it is pushed, and TLP:RED goes nowhere."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from structlog.testing import capture_logs

from airgap.drain import drain
from airgap.models import EgressEvent
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.plugins.misp_double import KEY, Answer, MispDouble, answer
from tests.plugins.misp_server import MispServer
from tests.threatintel.stix_samples import (
    AMBER,
    AMBER_2,
    AMBER_STRICT,
    CLEAR_2,
    GREEN,
    GREEN_2,
    RED,
    RED_2,
    WHITE,
    bundle,
    indicator,
    marking,
    stix_id,
)
from threatintel import push
from threatintel.models import Indicator, IndicatorSource, MispPush
from threatintel.posted import MAX_BYTES, MAX_OBJECTS
from threatintel.tasks import retry_misp_pushes

pytestmark = pytest.mark.django_db(transaction=True)
Environment = Callable[..., object]
Post = Callable[..., Any]
BLOCK = ["pushed", "misp_event_id", "misp_event_uuid", "url", "pushed_attributes", "skipped_attributes", "error"]


@pytest.fixture
def call() -> Callable[..., Any]:
    """call("POST", "stix/indicators", {…}, role=…) is the answer of the API below /api/v1/threatintel/."""
    tokens: dict[Role, str] = {}

    def send(method: str, path: str, body: Any = None, *, role: Role | None = Role.OPERATOR, raw: bytes | None = None, **options: Any) -> Any:
        headers = {}
        if role is not None:
            tokens[role] = tokens.get(role) or issue_token(f"user-{role}", role, 1)
            headers = {"Authorization": f"Token {tokens[role]}"}
        content = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        given = {"content_type": "application/json", "headers": headers, **options}
        return Client().generic(method, f"/api/v1/threatintel/{path}", content, **given)

    return send


@pytest.fixture
def post(call: Callable[..., Any]) -> Post:
    """post({…}) posts an indicator or a bundle, to be pushed unless `query` says otherwise; the answer's JSON, which must be 201."""

    def send(obj: dict[str, Any], query: str = "?push_to_misp=true") -> Any:
        given = call("POST", f"stix/{obj['type']}s{query}", obj)
        assert given.status_code == 201, given.content
        return given.json()

    return send


@pytest.fixture
def misp(environment: Environment, misp_double: MispDouble) -> MispDouble:
    """A MISP on loopback that this process is set to, under air gap."""
    environment(AISOC_AIRGAPPED="1", MISP_URL=misp_double.url, MISP_API_KEY=KEY)
    return misp_double


def due() -> None:
    """Everything in the queue is due now."""
    MispPush.objects.filter(state="queued").update(not_before=timezone.now() - timedelta(seconds=1))


# ── What is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_indicator_becomes_an_event(post: Post, misp: MispDouble) -> None:
    obj = indicator(confidence=85, description="Beacon", labels=["c2", "apt"])
    given = post(obj)
    assert given["id"] == obj["id"]
    assert (given["stored"]["added"], given["stored"]["skipped"]) == (1, {})
    block = given["misp"]
    assert list(block)[:7] == BLOCK
    (event,) = misp.events.values()
    assert block == {
        "pushed": True,
        "misp_event_id": "1",
        "misp_event_uuid": event["uuid"],
        "url": f"{misp.url}/events/view/1",
        "pushed_attributes": 1,
        "skipped_attributes": 0,
        "error": None,
        "queued": False,
    }
    assert (event["info"], event["threat_level_id"], event["analysis"], event["distribution"]) == ("Indicator 1", 1, 0, 0)
    assert {tag["name"] for tag in event["Tag"]} == {"aisoc:source=stix", f"aisoc:indicator={obj['id']}", "tlp:green"}
    (attribute,) = event["Attribute"]
    assert (attribute["type"], attribute["category"], attribute["value"]) == ("ip-dst", "Network activity", "192.0.2.7")
    assert (attribute["to_ids"], attribute["distribution"], attribute["comment"]) == (True, 5, "Beacon")
    assert [tag["name"] for tag in attribute["Tag"]] == ["aisoc:c2", "aisoc:apt"]
    assert [one.path for one in misp.requests] == ["/events/add"]


def test_a_bundle_becomes_one_event_with_the_first_three_names(post: Post, misp: MispDouble) -> None:
    obj = bundle(*(indicator(f"[domain-name:value = 'd{n}.example']", number=str(n), confidence=90) for n in range(5)))
    block = post(obj)["misp"]
    assert (block["pushed"], block["pushed_attributes"]) == (True, 5)
    (event,) = misp.events.values()
    assert event["info"] == f"STIX {obj['id']}: Indicator 0, Indicator 1, Indicator 2"
    assert event["threat_level_id"] == 4
    assert f"aisoc:bundle={obj['id']}" in {tag["name"] for tag in event["Tag"]}


def test_an_unsupported_pattern_is_skipped_and_counted(post: Post, misp: MispDouble) -> None:
    odd = indicator("[process:command_line = 'evil.exe -x']", number="odd")
    block = post(bundle(indicator(), odd))["misp"]
    assert (block["pushed"], block["pushed_attributes"], block["skipped_attributes"]) == (True, 1, 1)
    alone = post(odd)["misp"]
    assert (alone["pushed"], alone["skipped_attributes"], alone["error"], alone["queued"]) == (False, 1, push.NOTHING, False)
    assert IndicatorSource.objects.filter(external_id=odd["id"]).exists()


def test_every_part_of_a_compound_pattern_is_pushed_and_says_so(post: Post, misp: MispDouble) -> None:
    block = post(indicator("[domain-name:value = 'a.example' OR url:value = 'http://x.example/it\\'s' OR process:name = 'x']"))["misp"]
    assert (block["pushed_attributes"], block["skipped_attributes"]) == (2, 1)
    (event,) = misp.events.values()
    assert {one["value"] for one in event["Attribute"]} == {"a.example", "http://x.example/it's"}
    assert all({"name": "aisoc:part-of-pattern"} in one["Tag"] for one in event["Attribute"])


# ── Once, and updated ────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_same_indicator_pushed_twice_is_one_event_and_an_update(post: Post, misp: MispDouble) -> None:
    first = post(indicator(confidence=85))["misp"]
    again = post(indicator(confidence=30, modified="2026-05-02T00:00:00.000Z", name="Renamed"))["misp"]
    assert again["pushed"]
    assert (again["misp_event_id"], again["misp_event_uuid"]) == (first["misp_event_id"], first["misp_event_uuid"])
    (event,) = misp.events.values()
    assert (event["info"], event["threat_level_id"], len(event["Attribute"])) == ("Renamed", 3, 1)
    assert [one.path for one in misp.requests] == ["/events/add", f"/events/edit/{event['uuid']}"]


def test_what_the_object_no_longer_states_is_taken_off_and_the_tlp_follows(post: Post, misp: MispDouble) -> None:
    post(indicator("[domain-name:value = 'a.example' OR domain-name:value = 'b.example']"))
    (event,) = misp.events.values()
    event["Attribute"].append({"id": "77", "uuid": "11111111-1111-4111-8111-111111111111", "type": "domain", "value": "analyst.example"})
    later = {"modified": "2026-05-02T00:00:00.000Z", "object_marking_refs": [AMBER]}
    assert post(indicator("[domain-name:value = 'b.example']", **later))["misp"]["pushed"]
    (event,) = misp.events.values()
    assert {one["value"] for one in event["Attribute"]} == {"b.example", "analyst.example"}  # what others added stays
    assert {tag["name"] for tag in event["Tag"] if tag["name"].startswith("tlp:")} == {"tlp:amber"}


def test_an_event_that_somebody_else_pushed_is_updated(post: Post, misp: MispDouble) -> None:
    post(indicator())
    MispPush.objects.all().delete()  # another deployment, or a lost database
    assert post(indicator(name="Again"))["misp"]["pushed"]
    assert [event["info"] for event in misp.events.values()] == ["Again"]


def test_an_event_that_was_deleted_in_misp_is_made_again(post: Post, misp: MispDouble) -> None:
    post(indicator())
    misp.events.clear()
    assert post(indicator())["misp"]["pushed"]
    assert len(misp.events) == 1


def test_an_older_version_never_replaces_a_newer_one_in_misp(post: Post, misp: MispDouble) -> None:
    post(indicator(modified="2026-05-02T00:00:00.000Z", name="Newer"))
    block = post(indicator(name="Older"))["misp"]
    assert (block["pushed"], block["error"]) == (False, push.OLDER)
    assert [event["info"] for event in misp.events.values()] == ["Newer"]


def test_a_revoked_indicator_asks_for_no_detection(post: Post, misp: MispDouble) -> None:
    post(indicator())
    post(indicator(revoked=True, modified="2026-05-02T00:00:00.000Z"))
    (event,) = misp.events.values()
    assert [one["to_ids"] for one in event["Attribute"]] == [False]


# ── When it is pushed ────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("auto", "query", "pushed"),
    [
        ("true", "?push_to_misp=false", False),
        ("true", "", True),
        ("true", "?push_to_misp=true", True),
        ("false", "", False),
        ("false", "?push_to_misp=1", True),
        ("false", "?push_to_misp=no", False),
    ],
)
def test_the_query_beats_the_setting(auto: str, query: str, pushed: bool, post: Post, misp_double: MispDouble, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", MISP_URL=misp_double.url, MISP_API_KEY=KEY, MISP_PUSH_AUTO=auto)
    given = post(indicator(), query)
    assert (given["misp"] is not None) is pushed
    assert len(misp_double.events) == pushed
    assert MispPush.objects.count() == pushed
    assert Indicator.objects.count() == 1


@pytest.mark.parametrize("query", ["?push_to_misp=", "?push_to_misp=perhaps"])
def test_a_query_that_is_neither_is_400(query: str, call: Callable[..., Any], misp: MispDouble) -> None:
    given = call("POST", f"stix/indicators{query}", indicator())
    assert (given.status_code, given.json()["field"]) == (400, "push_to_misp")
    assert Indicator.objects.count() == 0


# ── What is never pushed ─────────────────────────────────────────────────────────────────────────────────────────────
OWN_RED = marking("own red", definition_type="tlp", definition={"tlp": "red"})
EXTENDED_RED = marking("extended", extensions={"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {"tlp_2_0": "red"}})


@pytest.mark.parametrize(
    "obj",
    [
        indicator(object_marking_refs=[RED]),
        indicator(object_marking_refs=[RED_2]),
        indicator(object_marking_refs=[GREEN, RED]),
        indicator(granular_markings=[{"marking_ref": RED, "selectors": ["pattern"]}]),
        indicator(object_marking_refs=[stix_id("marking-definition", "of nobody")]),
        bundle(indicator(), indicator(number="2", object_marking_refs=[RED_2])),
        bundle(indicator(), object_marking_refs=[RED]),
        bundle(indicator(object_marking_refs=[OWN_RED["id"]]), OWN_RED),
        bundle(indicator(object_marking_refs=[EXTENDED_RED["id"]]), EXTENDED_RED),
        bundle(indicator(), {"type": "report", "id": stix_id("report", "1"), "object_marking_refs": [RED]}),
    ],
    ids=["1.x", "2.0", "beside green", "granular", "undefined", "one of a bundle", "the bundle", "own definition", "extension", "neighbour"],
)
def test_tlp_red_is_stored_and_never_pushed(obj: dict[str, Any], post: Post, misp: MispDouble) -> None:
    block = post(obj)["misp"]
    assert (block["pushed"], block["queued"], block["misp_event_id"]) == (False, False, None)
    assert "marked" in block["error"]
    assert MispPush.objects.get().state == "refused"
    assert IndicatorSource.objects.exists()
    retry_misp_pushes()
    assert misp.requests == []


@pytest.mark.parametrize(
    "definition",
    [
        {"definition_type": "tlp", "definition": {"tlp": "TLP:RED"}},
        {"definition_type": "tlp", "definition": {"tlp": "scarlet"}},
        {"definition_type": "statement", "definition": {"statement": "TLP:RED"}, "name": "TLP:RED"},
    ],
    ids=str,
)
def test_tlp_red_in_any_spelling_is_never_pushed(definition: dict[str, Any], post: Post, misp: MispDouble) -> None:
    defined = {**marking("ours"), **definition}
    harmless = {**defined, "definition_type": "tlp", "definition": {"tlp": "green"}, "name": "TLP:GREEN"}
    for objects in ((defined,), (defined, harmless), (harmless, defined)):
        block = post(bundle(*objects, indicator(object_marking_refs=[defined["id"]])))["misp"]
        assert not block["pushed"]
        assert "TLP:RED" in block["error"]
    assert misp.requests == []


@pytest.mark.parametrize(
    ("marks", "tag"),
    [
        ([WHITE], "tlp:clear"),
        ([CLEAR_2], "tlp:clear"),
        ([GREEN], "tlp:green"),
        ([GREEN_2], "tlp:green"),
        ([AMBER], "tlp:amber"),
        ([AMBER_2], "tlp:amber"),
        ([AMBER_STRICT], "tlp:amber+strict"),
        ([AMBER_2, AMBER_STRICT], "tlp:amber+strict"),
        (None, "tlp:amber"),
    ],
)
def test_every_other_tlp_is_a_tag_and_stays_in_the_organisation(marks: list[str] | None, tag: str, post: Post, misp: MispDouble) -> None:
    assert post(indicator(object_marking_refs=marks))["misp"]["pushed"]
    (event,) = misp.events.values()
    assert [one["name"] for one in event["Tag"] if one["name"].startswith("tlp:")] == [tag]
    assert event["distribution"] == 0
    assert "published" not in event


# ── When MISP fails ──────────────────────────────────────────────────────────────────────────────────────────────────
HTML = Answer(200, b"<html>log in</html>", "text/html")


@pytest.mark.parametrize(
    "given",
    [
        answer({"message": f"bad {KEY}"}, 401),
        answer({"message": f"fault {KEY}"}, 500),
        answer({}, 503),
        answer({}, 429),
        answer({}, 302, headers={"Location": "/users/login"}),
        HTML,
        answer([]),
        answer({"Event": {"id": "x'; --"}}),
        Answer(200, b'{"Event": '),
        Answer(200, b"[" * 100_000),
    ],
    ids=["401", "500", "503", "429", "302", "a page", "no event", "no number", "cut off", "deep"],
)
def test_a_failure_of_misp_loses_nothing_and_is_tried_again(given: Answer, post: Post, misp: MispDouble, settings: Any) -> None:
    misp.always(given)
    with capture_logs() as logs:
        answered = post(indicator())
    block = answered["misp"]
    assert (answered["stored"]["added"], block["pushed"], block["queued"], block["misp_event_id"]) == (1, False, True, None)
    assert block["error"]
    assert KEY not in json.dumps(answered)
    assert [(one["log_level"], one["final"]) for one in logs if one["event"] == "misp.push_failed"] == [("warning", False)]
    misp.rules.clear()
    retry_misp_pushes()
    assert misp.events == {}  # not due yet
    due()
    with capture_logs() as logs:
        retry_misp_pushes()
    assert [one["attempt"] for one in logs if one["event"] == "misp.pushed"] == [2]
    row = MispPush.objects.get()
    assert (row.state, row.attempt, row.pushed_attributes, row.body, row.reason) == ("pushed", 2, 1, "", "")
    assert len(misp.events) == 1


def test_a_time_out_is_a_reason_and_is_tried_again(post: Post, misp: MispDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "WAIT", 0.2)
    misp.always(answer({}, after=1.0))
    block = post(indicator())["misp"]
    assert (block["pushed"], block["queued"]) == (False, True)
    assert "ReadTimeout" in block["error"]


def test_a_misp_that_is_down_is_a_reason_and_is_tried_again(post: Post, misp: MispDouble) -> None:
    misp.close()
    block = post(indicator())["misp"]
    assert (block["pushed"], block["queued"]) == (False, True)


def test_a_refusal_by_the_gate_is_on_the_trail_and_final(post: Post, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", MISP_URL="https://misp.example.com", MISP_API_KEY=KEY)
    block = post(indicator())["misp"]
    assert (block["pushed"], block["queued"]) == (False, False)
    row = MispPush.objects.get()
    assert (row.state, row.rule, row.reason) == ("refused", "public", block["error"])
    drain()
    assert EgressEvent.objects.get().purpose == "misp.push"
    retry_misp_pushes()
    assert MispPush.objects.get().claims == 1


def test_a_redirect_to_a_public_host_does_not_carry_the_key_there(post: Post, misp: MispDouble) -> None:
    misp.always(answer({}, 302, headers={"Location": "https://misp.example.com/events/add"}))
    assert not post(indicator())["misp"]["pushed"]


@pytest.mark.parametrize("variables", [{}, {"MISP_URL": "http://127.0.0.1:9"}, {"MISP_API_KEY": KEY}])
def test_without_a_misp_the_block_says_so(variables: dict[str, str], post: Post, environment: Environment) -> None:
    environment(MISP_PUSH_AUTO="true", **variables)
    block = post(indicator(), "")["misp"]
    assert (block["pushed"], block["queued"], block["error"]) == (False, False, push.NOT_CONFIGURED)


def test_the_key_never_goes_in_clear_to_a_public_host(post: Post, environment: Environment) -> None:
    environment(MISP_URL="http://misp.example.com", MISP_API_KEY=KEY)
    block = post(indicator())["misp"]
    assert (block["pushed"], block["queued"]) == (False, False)
    assert "https" in block["error"]


def test_a_key_that_no_header_takes_is_a_reason(post: Post, call: Callable[..., Any], misp_double: MispDouble, environment: Environment) -> None:
    environment(MISP_URL=misp_double.url, MISP_API_KEY="schlüssel")
    with capture_logs() as logs:
        block = post(indicator())["misp"]
    assert (block["pushed"], block["queued"]) == (False, False)
    assert call("GET", "misp/health").json()["state"] == "REFUSED"
    assert "schl" not in json.dumps([block, str(logs), str(vars(MispPush.objects.get()))])


def test_retries_are_bounded_and_spaced(post: Post, misp: MispDouble) -> None:
    misp.always(answer({}, 500))
    post(indicator())
    assert MispPush.objects.get().not_before > timezone.now() + timedelta(seconds=50)
    for _ in range(push.MAX_ATTEMPTS + 3):
        due()
        retry_misp_pushes()
    row = MispPush.objects.get()
    assert (row.state, row.attempt) == ("failed", push.MAX_ATTEMPTS)
    assert len(misp.requests) == push.MAX_ATTEMPTS
    misp.rules.clear()
    assert post(indicator())["misp"]["pushed"]  # posted again: a new start


def test_a_round_ends_when_misp_is_away_and_leaves_the_others_their_attempts(post: Post, misp: MispDouble) -> None:
    misp.always(answer({}, 500))
    for number in range(4):
        post(indicator(number=str(number)))
    due()
    retry_misp_pushes()
    assert sorted(MispPush.objects.values_list("attempt", flat=True)) == [1, 1, 1, 2]


def test_a_push_that_died_is_taken_over_after_its_lease(post: Post, misp: MispDouble) -> None:
    misp.always(answer({}, 500))
    post(indicator())
    misp.rules.clear()
    MispPush.objects.update(state="running", lease_until=timezone.now() + timedelta(seconds=30), not_before=timezone.now())
    retry_misp_pushes()
    assert misp.events == {}
    MispPush.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    retry_misp_pushes()
    assert len(misp.events) == 1


def test_two_workers_do_not_push_the_same(post: Post, misp: MispDouble) -> None:
    from django.db import connections

    misp.always(answer({}, 500))
    for number in range(5):
        post(indicator(number=str(number)))
    misp.rules.clear()
    misp.requests.clear()
    due()

    def work() -> None:
        try:
            retry_misp_pushes()
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert sorted(one.path for one in misp.requests) == ["/events/add"] * 5
    assert set(MispPush.objects.values_list("state", "claims")) == {("pushed", 2)}


def test_a_version_that_is_posted_during_a_push_follows_it(post: Post, misp: MispDouble) -> None:
    blocks = []

    def meanwhile(_asked: Any) -> Answer | None:
        misp.rules.clear()
        from django.db import connections

        def second() -> None:
            try:
                blocks.append(post(indicator(name="Second", modified="2026-05-02T00:00:00.000Z"))["misp"])
            finally:
                connections.close_all()

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=20)
        return None

    misp.rules.append(meanwhile)
    post(indicator(name="First"))
    assert [(one["pushed"], one["error"], one["queued"]) for one in blocks] == [(False, push.BUSY, True)]
    due()
    retry_misp_pushes()
    assert [event["info"] for event in misp.events.values()] == ["Second"]


def test_a_refused_attribute_is_told(post: Post, misp: MispDouble) -> None:
    def drops(asked: Any) -> Answer | None:
        if asked.path != "/events/add":
            return answer({"errors": "similar"}, 403) if asked.path.startswith("/attributes/add") else None
        kept = [{**one, "id": "5"} for one in asked.body["Attribute"][:1]]
        return answer({"Event": {**asked.body, "id": "9", "Attribute": kept}})

    misp.rules.append(drops)
    block = post(indicator("[domain-name:value = 'a.example' OR domain-name:value = 'b.example']"))["misp"]
    assert (block["pushed"], block["pushed_attributes"]) == (True, 1)
    assert "1 of 2" in block["error"]


# ── What is stored ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_posted_object_is_stored_with_its_raw_text_and_again_writes_nothing(post: Post) -> None:
    obj = indicator(name="Ünïcode", confidence=77)
    assert post(obj, "")["stored"] == {"read": 1, "added": 1, "changed": 0, "retired": 0, "skipped": {}}
    source = IndicatorSource.objects.get()
    assert (source.feed, source.external_id, source.confidence, source.tlp) == ("posted", obj["id"], 77, "green")
    assert json.loads(source.raw) == obj
    assert post(obj, "")["stored"] == {"read": 1, "added": 0, "changed": 0, "retired": 0, "skipped": {}}


def test_a_marking_definition_counts_wherever_it_stands(post: Post) -> None:
    post(bundle(indicator(object_marking_refs=[OWN_RED["id"]]), OWN_RED), "")
    assert IndicatorSource.objects.get().tlp == "red"


WRONG = [
    ("type", {"type": "malware"}),
    ("id", {"id": "indicator--1"}),
    ("id", {"id": None}),
    ("id", {"id": stix_id("malware", "1")}),
    ("id", {"id": 7}),
    ("created", {"created": None}),
    ("created", {"created": "yesterday"}),
    ("modified", {"modified": "2026-05-01T00:00:00"}),
    ("modified", {"modified": "2025-05-01T00:00:00Z"}),
    ("pattern", {"pattern": None}),
    ("pattern", {"pattern": ""}),
    ("pattern", {"pattern": ["x"]}),
    ("pattern", {"pattern": "ipv4-addr = 1"}),
    ("pattern", {"pattern": "[ipv4-addr:value = '192.0.2.7'"}),
    ("pattern", {"pattern": f"[file:name = '{'x' * 30_000}']"}),
    ("pattern_type", {"pattern_type": None}),
    ("pattern_type", {"pattern_type": "sigma"}),
    ("valid_from", {"valid_from": None}),
    ("valid_until", {"valid_until": "2026-04-01T00:00:00Z"}),
    ("confidence", {"confidence": 101}),
    ("confidence", {"confidence": "high"}),
    ("confidence", {"confidence": True}),
    ("revoked", {"revoked": "no"}),
    ("labels", {"labels": "c2"}),
    ("labels", {"labels": [1]}),
    ("name", {"name": "x" * 2000}),
    ("description", {"description": {"a": 1}}),
    ("spec_version", {"spec_version": "3.0"}),
    ("object_marking_refs", {"object_marking_refs": ["tlp:red"]}),
    ("object_marking_refs", {"object_marking_refs": [{}]}),
    ("granular_markings", {"granular_markings": "red"}),
    ("external_references", {"external_references": [1]}),
]


@pytest.mark.parametrize(("field", "change"), WRONG)
def test_a_wrong_property_is_named_and_nothing_is_stored(field: str, change: dict[str, Any], call: Callable[..., Any], misp: MispDouble) -> None:
    wrong = {**indicator(), **change}
    wrong = {name: value for name, value in wrong.items() if value is not None}
    given = call("POST", "stix/indicators?push_to_misp=true", wrong)
    assert (given.status_code, given.json()["field"]) == (400, field)
    if field not in ("type", "pattern_type"):
        inner = call("POST", "stix/bundles?push_to_misp=true", bundle(indicator(number="2"), wrong))
        assert (inner.status_code, inner.json()["field"]) == (400, f"objects.1.{field}")
    assert Indicator.objects.count() == MispPush.objects.count() == len(misp.requests) == 0


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("objects", {"objects": []}),
        ("objects", {"objects": None}),
        ("objects", {"objects": [{}] * (MAX_OBJECTS + 1)}),
        ("objects", {"objects": [indicator(f"[a:b = '{'x' * 19_000}']", number=str(n)) for n in range(30)]}),
        ("objects.0", {"objects": ["x"]}),
        ("objects.0.type", {"objects": [{}]}),
        ("objects.0.type", {"objects": [bundle()]}),
        ("objects.0.id", {"objects": [{"type": "malware"}]}),
        ("id", {"id": "bundle--x"}),
        ("type", {"type": "indicator"}),
    ],
)
def test_a_wrong_bundle_is_named(field: str, wrong: dict[str, Any], call: Callable[..., Any]) -> None:
    given = call("POST", "stix/bundles", {**bundle(indicator()), **wrong})
    assert (given.status_code, given.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b"[" * 200_000, b'{"a":' * 5000, b"\xff\xfe", b'{"type": NaN}', b'{"type": 1e999}', b'{"n": ' + b"9" * 10_000 + b"}"],
)
def test_a_body_that_is_no_json_object_is_400(raw: bytes, call: Callable[..., Any]) -> None:
    for path in ("stix/indicators", "stix/bundles", "misp/dry-run"):
        assert call("POST", path, raw=raw).status_code == 400


def test_a_body_that_is_too_long_is_413(call: Callable[..., Any]) -> None:
    given = call("POST", "stix/bundles", raw=b'{"a":"' + b"x" * MAX_BYTES + b'"}')
    assert (given.status_code, given.json()["code"]) == (413, "too_large")


def test_text_that_no_database_takes_is_stored_without_it(post: Post, misp: MispDouble) -> None:
    assert post(indicator(name="a\0b\ud800c", x_custom="\0\udfff"))["misp"]["pushed"]
    (event,) = misp.events.values()
    assert event["info"] == "ab?c"


def test_a_bundle_stores_all_that_it_states_and_counts_the_rest(post: Post) -> None:
    sigma = indicator("title: x", number="s", pattern_type="sigma")
    given = post(bundle(indicator(), sigma, {"type": "malware", "id": stix_id("malware", "1"), "is_family": False}), "")
    assert (given["stored"]["added"], sum(given["stored"]["skipped"].values())) == (1, 2)


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        (None, "stix/indicators", 401),
        (None, "stix/bundles", 401),
        (None, "misp/dry-run", 401),
        (Role.AUDITOR, "stix/indicators", 403),
        (Role.AUDITOR, "stix/bundles", 403),
        (Role.AUDITOR, "misp/dry-run", 400),
        (Role.OPERATOR, "stix/indicators", 400),
    ],
)
def test_only_an_operator_posts(role: Role | None, path: str, status: int, call: Callable[..., Any]) -> None:
    assert call("POST", path, {}, role=role).status_code == status


# ── Dry run and health ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_dry_run_gives_the_event_and_sends_and_stores_nothing(call: Callable[..., Any], post: Post, misp: MispDouble) -> None:
    obj = indicator(confidence=50, labels=["c2"])
    given = call("POST", "misp/dry-run", {"indicator": obj}, role=Role.AUDITOR)
    told = given.json()
    assert (given.status_code, told["gate"]["allowed"], told["would_refuse"], told["reason"]) == (200, True, False, None)
    assert (misp.requests, Indicator.objects.count(), MispPush.objects.count()) == ([], 0, 0)
    post(obj)
    sent = misp.requests[0].body
    assert told["event"] == sent


@pytest.mark.parametrize("body", [{}, {"indicator": indicator(), "bundle": bundle(indicator())}, {"other": 1}, {"indicator": None}])
def test_a_dry_run_takes_exactly_one(body: dict[str, Any], call: Callable[..., Any], misp: MispDouble) -> None:
    assert call("POST", "misp/dry-run", body).status_code == 400


def test_a_dry_run_names_a_wrong_field(call: Callable[..., Any], misp: MispDouble) -> None:
    given = call("POST", "misp/dry-run", {"bundle": bundle(indicator(confidence=-1))})
    assert (given.status_code, given.json()["field"]) == (400, "bundle.objects.0.confidence")


def test_a_dry_run_of_what_has_no_attribute_is_422(call: Callable[..., Any], misp: MispDouble) -> None:
    odd = indicator("[process:name = 'x']")
    for body in ({"indicator": odd}, {"bundle": bundle(odd)}):
        given = call("POST", "misp/dry-run", body)
        assert (given.status_code, given.json()["code"]) == (422, "unmappable")


def test_a_dry_run_says_what_would_be_refused(call: Callable[..., Any], environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", MISP_URL="https://misp.example.com", MISP_API_KEY=KEY)
    told = call("POST", "misp/dry-run", {"bundle": bundle(indicator())}).json()
    assert (told["gate"]["allowed"], told["gate"]["rule"], told["would_refuse"]) == (False, "public", True)
    told = call("POST", "misp/dry-run", {"indicator": indicator(object_marking_refs=[RED])}).json()
    assert (told["would_refuse"], told["tlp"]) == (True, "red")
    environment(AISOC_AIRGAPPED="1")
    told = call("POST", "misp/dry-run", {"indicator": indicator()}).json()
    assert (told["gate"]["allowed"], told["would_refuse"], told["reason"]) == (False, True, push.NOT_CONFIGURED)


def test_health_tells_state_and_never_the_key(call: Callable[..., Any], misp: MispDouble) -> None:
    given = call("GET", "misp/health", role=Role.AUDITOR)
    told = given.json()
    assert (told["state"], told["version"], told["key_set"], told["auto"], told["host"]) == ("OK", "2.4.199", True, False, "127.0.0.1")
    assert KEY not in given.content.decode()
    assert misp.requests[0].headers["authorization"] == KEY


@pytest.mark.parametrize(
    ("given", "state"),
    [(answer({"message": KEY}, 401), "FAILING"), (answer({}, 500), "FAILING"), (HTML, "FAILING"), (answer({"version": KEY}), "OK")],
)
def test_health_quotes_nothing_that_the_server_says(given: Answer, state: str, call: Callable[..., Any], misp: MispDouble) -> None:
    misp.always(given)
    told = call("GET", "misp/health")
    assert (told.json()["state"], told.json()["version"]) == (state, None)
    assert KEY not in told.content.decode()


def test_health_without_misp_and_with_a_refused_one(call: Callable[..., Any], environment: Environment) -> None:
    environment()
    assert call("GET", "misp/health").json()["state"] == "OFF"
    environment(AISOC_AIRGAPPED="1", MISP_URL="https://misp.example.com", MISP_API_KEY=KEY)
    told = call("GET", "misp/health").json()
    assert (told["state"], told["rule"]) == ("REFUSED", "public")
    environment(AISOC_AIRGAPPED="1", MISP_URL="https://user:pass-word@misp.corp", MISP_API_KEY=KEY)
    assert "pass-word" not in call("GET", "misp/health").content.decode()


def test_the_key_is_in_no_row_log_or_answer(post: Post, misp: MispDouble, caplog: pytest.LogCaptureFixture) -> None:
    echo = answer({"message": KEY, "errors": [KEY]}, 500, headers={"X-Key": KEY})
    misp.always(echo)
    with capture_logs() as logs:
        first = post(indicator())
    misp.rules.clear()
    due()
    with capture_logs() as more:
        retry_misp_pushes()
    rows = [str(vars(row)) for row in (*MispPush.objects.all(), *IndicatorSource.objects.all())]
    assert KEY not in json.dumps([first, rows, str(logs), str(more), caplog.text])


# ── A real server ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def real(environment: Environment, misp_server: MispServer) -> MispServer:
    environment(AISOC_AIRGAPPED="1", MISP_URL=misp_server.url, MISP_API_KEY=misp_server.key)
    return misp_server


def live(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["value"]: one for one in event["Attribute"] if not one["deleted"]}


def test_a_real_server_gets_one_event_however_often_it_is_pushed(post: Post, real: MispServer) -> None:
    obj = indicator("[domain-name:value = 'a.example' OR file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']", labels=["c2"], confidence=90)
    block = post(obj)["misp"]
    assert (block["pushed"], block["pushed_attributes"], block["error"]) == (True, 2, None)
    event = real.event(block["misp_event_uuid"])
    assert str(event["id"]) == block["misp_event_id"]
    assert (event["threat_level_id"], event["published"], event["distribution"]) == (1, False, 0)
    assert {tag["name"] for tag in event["Tag"]} == {"aisoc:source=stix", f"aisoc:indicator={obj['id']}", "tlp:green"}
    attributes = live(event)
    assert set(attributes) == {"a.example", "d41d8cd98f00b204e9800998ecf8427e"}
    assert all({tag["name"] for tag in one["Tag"]} == {"aisoc:c2", "aisoc:part-of-pattern"} for one in attributes.values())
    before = {value: (one["id"], one["uuid"]) for value, one in attributes.items()}

    again = post(obj)["misp"]
    assert (again["pushed"], again["misp_event_id"]) == (True, block["misp_event_id"])
    event = real.event(block["misp_event_uuid"])
    assert {value: (one["id"], one["uuid"]) for value, one in live(event).items()} == before
    assert len(event["Tag"]) == 3
    assert len(real.events()) == 1


def test_a_real_server_follows_an_update(post: Post, real: MispServer) -> None:
    """Of attributes without a tag: this server fails at an edit of one that has some; and it takes another tag off than the one that is named."""

    def stated(*names: str, **changes: Any) -> dict[str, Any]:
        return bundle(*(indicator(f"[domain-name:value = '{name}.example']", number=name, **changes) for name in names))

    post(stated("a", "b", description="one"))
    later = {"modified": "2026-05-02T00:00:00.000Z", "object_marking_refs": [AMBER_STRICT]}
    block = post(stated("b", "c", description="two", **later))["misp"]
    assert (block["pushed"], block["pushed_attributes"]) == (True, 2)
    assert "tlp:green" in block["error"]
    event = real.event(block["misp_event_uuid"])
    assert {value: one["comment"] for value, one in live(event).items()} == {"b.example": "two", "c.example": "two"}
    assert {tag["name"] for tag in event["Tag"]} >= {"tlp:amber+strict", "aisoc:source=stix"}
    assert post(stated("a", description="three", **later))["misp"]["pushed"]
    assert set(live(real.event(block["misp_event_uuid"]))) == {"a.example"}


def test_a_real_server_knows_an_event_that_a_lost_database_pushed(post: Post, real: MispServer) -> None:
    first = post(indicator())["misp"]
    MispPush.objects.all().delete()
    again = post(indicator(name="Again"))["misp"]
    assert (again["pushed"], again["misp_event_id"]) == (True, first["misp_event_id"])
    assert real.event(first["misp_event_uuid"])["info"] == "Again"


def test_a_real_server_that_does_not_know_the_key(post: Post, call: Callable[..., Any], real: MispServer, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", MISP_URL=real.url, MISP_API_KEY="x" * 40)
    block = post(indicator())["misp"]
    assert (block["pushed"], block["queued"]) == (False, True)
    assert "401" in block["error"]
    assert call("GET", "misp/health").json()["state"] == "FAILING"


def test_a_real_server_is_healthy(call: Callable[..., Any], real: MispServer) -> None:
    told = call("GET", "misp/health")
    assert told.json()["state"] == "OK"
    assert real.key not in told.content.decode()


def test_a_real_server_takes_a_real_report(post: Post, real: MispServer, shared_data: Path) -> None:
    apt1 = json.loads((shared_data / "stix_apt1.json").read_text())
    block = post(apt1)["misp"]
    assert block["pushed"], block
    event = real.event(block["misp_event_uuid"])
    assert len(live(event)) == block["pushed_attributes"] >= 10
