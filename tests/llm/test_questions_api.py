"""The capabilities that are answered in one piece, over HTTP: with no model, with a model that does and one that does not, roles, bounds, limits."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from django.test import Client
from structlog.testing import capture_logs

from aisoc_admin import tools
from llm import limits, lookups, outcome
from llm.capabilities.sigma.rules import read_rule
from llm.uses import uses
from tenants.accounts import issue_token
from tenants.models import Tenant
from tenants.roles import Role
from tests.console.intel import record, stored
from tests.plugins.model_server import ModelServer

pytestmark = pytest.mark.django_db
Environment = Callable[..., object]
RULE = """title: Encoded PowerShell
logsource: {category: process_creation, product: windows}
detection:
  selection:
    Image|endswith: '\\powershell.exe'
    CommandLine|contains: ' -enc'
  condition: selection
"""
RAW = {
    "Image": "C:\\Windows\\powershell.exe",
    "CommandLine": "powershell -enc AAAA",
    "ParentImage": "C:\\Windows\\CCM\\CcmExec.exe",
    "User": "CORP\\svc_sccm",
    "Computer": "WKS-01",
}
MAIL = 'From: "PayPal" <service@paypa1-secure.com>\nTo: anna@corp.example\nSubject: Account limited\n\nVerify your account: http://paypa1-secure.com/login\n'
BODIES: dict[str, dict[str, Any]] = {
    "nl-query/translate": {"question": "failed logins for user alice in the last 24 hours", "dialect": "esql"},
    "nl-detection/translate": {"description": "Detect PowerShell running an encoded command", "severity": "high", "mitre_techniques": ["T1027"]},
    "detection-loop/suggest": {"rule": RULE, "alert": {"title": "x", "raw": RAW}, "analyst_note": "ccmexec.exe is the agent"},
    "phishing/submit": {"kind": "email", "content": MAIL},
    "translation/translate": {"rule": RULE, "source": "sigma", "targets": ["spl", "esql", "kql"]},
}
KEYS = {
    "nl-query/translate": {"query", "engine", "validated"},
    "nl-detection/translate": {"sigma", "spl", "esql", "kql", "techniques"},
    "detection-loop/suggest": {"rule", "rationale", "still_matches", "drops_false_positive"},
    "phishing/submit": {"verdict", "confidence", "reasons"},
    "translation/translate": {"results"},
}
ASKED = {name: body for name, body in BODIES.items() if name not in ("nl-query/translate", "translation/translate")} | {
    "nl-query/translate": {"question": "powershell.exe executions with encoded commands by 10.1.2.3", "dialect": "kql"},
    "translation/translate": {"rule": RULE.replace("CommandLine|contains: ' -enc'", "User|expand: '%admins%'"), "targets": ["spl", "kql"]},
}


@pytest.fixture(autouse=True)
def no_indicators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_lookups", [])


@pytest.fixture
def token() -> dict[str, str]:
    return headers_of()


def headers_of(role: Role = Role.OPERATOR, tenant: Tenant | None = None) -> dict[str, str]:
    return {"Authorization": f"Token {issue_token(f'a-{role}-{tenant}', role, 1, tenant)}"}


def send(name: str, body: Any, headers: dict[str, str]) -> Any:
    return Client().post(f"/api/v1/{name}", data=json.dumps(body), content_type="application/json", headers=headers)


@pytest.fixture
def live(environment: Environment, model_server: ModelServer) -> Iterator[ModelServer]:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    return model_server


def test_an_event_that_stands_in_the_alert_itself_is_its_raw_event(environment: Environment, token: dict[str, str]) -> None:
    """The alert of this request has no shape that is written down: the event that the rule met is one too, with a title or without."""
    environment()
    name = "detection-loop/suggest"
    nested = send(name, BODIES[name], token).json()
    for alert in (RAW, {"title": "x", **RAW}):
        assert send(name, BODIES[name] | {"alert": alert}, token).json() == nested
    assert nested["drops_false_positive"] is True
    both = send(name, BODIES[name] | {"alert": {"title": "x", "raw": RAW, "User": "CORP\\other"}}, token).json()
    assert both == nested, "beside a raw event nothing else is read"


@pytest.mark.parametrize("name", BODIES)
def test_every_capability_works_without_a_model(environment: Environment, token: dict[str, str], name: str) -> None:
    environment()
    response = send(name, BODIES[name], token)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert set(answer) == KEYS[name] | {"path", "reason"}
    assert answer["path"] == "fallback"
    assert answer["reason"]


def test_the_answers_without_a_model_are_of_use(environment: Environment, token: dict[str, str]) -> None:
    environment()
    answers = {name: send(name, body, token).json() for name, body in BODIES.items()}
    query = answers["nl-query/translate"]
    assert (query["engine"], query["validated"]) == ("deterministic", True)
    assert 'event.outcome == "failure" AND user.name == "alice"' in query["query"]
    detection = answers["nl-detection/translate"]
    rule = yaml.safe_load(detection["sigma"])
    assert rule["level"] == "high"
    assert detection["techniques"][0] == "T1027"
    assert "DeviceProcessEvents" in detection["kql"]
    assert detection["spl"]
    assert detection["esql"]
    tuned = answers["detection-loop/suggest"]
    assert (tuned["still_matches"], tuned["drops_false_positive"]) == (True, True)
    assert "CcmExec.exe" in yaml.safe_load(tuned["rule"])["detection"]["filter_tuned_1"]["ParentImage"]
    assert answers["phishing/submit"]["verdict"] == "phishing"
    assert {"sender_lookalike"} <= {one["name"] for one in answers["phishing/submit"]["reasons"]}
    assert [one["target"] for one in answers["translation/translate"]["results"]] == ["spl", "esql", "kql"]


@pytest.mark.parametrize("name", [*BODIES, "explain", "investigate"])
@pytest.mark.parametrize("text", ["\ud800 x\udfff", "²", "\0", "٣"])
def test_text_that_is_no_text_is_read_or_refused_wherever_it_stands(
    environment: Environment, token: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """Products cut UTF-16 in the middle of a character, and JSON says the half; a superscript is a digit to Python, and no number."""
    environment()
    monkeypatch.setattr("llm.capabilities_api.take", lambda *_: None)
    alert = {"title": "x", "description": "y", "source": "edr", "severity": "low", "tags": ["z"], "raw": {**RAW, "host": {"ip": "10.1.2.3"}}}
    for body in _with(BODIES.get(name, {"alert": alert}), text):
        response = send(name, body, token)
        assert response.status_code in (200, 400), body
        lines = b"".join(response.streaming_content).splitlines() if response.streaming else [response.content]
        assert "error" not in {json.loads(line).get("type") for line in lines}, body


@pytest.mark.parametrize("time", ["on 9999-12-31", "since 0001-01-01T00:00:00+14:00", "between 2026-01-01 and 9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_is_not_understood(environment: Environment, token: dict[str, str], time: str) -> None:
    environment()
    for dialect in ("esql", "spl", "kql"):
        answer = send("nl-query/translate", {"question": f"failed logins of alice {time}", "dialect": dialect}, token)
        assert answer.status_code == 200
        assert time.split()[0] in answer.json()["reason"]


def _with(body: Any, text: str) -> Iterator[Any]:
    """The body with the text in one place at a time, names of members too."""
    if isinstance(body, dict):
        for key, value in body.items():
            yield from ({**body, key: changed} for changed in _with(value, text))
        yield {**body, text: text}
    elif isinstance(body, list):
        yield from ([*body[:at], changed, *body[at + 1 :]] for at, value in enumerate(body) for changed in _with(value, text))
    else:
        yield text


def test_half_a_character_of_a_model_is_no_error(live: ModelServer, token: dict[str, str]) -> None:
    live.say = lambda asked: (
        "Review the log-in of the account on \ud800 the host wks-01 at once, as it is unusual." if asked["stream"] else "[\ud800]"
    )
    for name in ("explain", "investigate"):
        response = send(name, {"alert": {"title": "Log-in on wks-01", "raw": {"host": "wks-01"}}}, token)
        frames = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
        assert frames[-1]["type"] == "done"


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(("fault", "cause"), [("error", "unreachable"), ("rejected", "rejected"), ("rubbish", "invalid"), ("babble", "invalid")])
def test_a_model_that_fails_gives_the_fallback_with_the_cause(live: ModelServer, token: dict[str, str], name: str, fault: str, cause: str) -> None:
    live.fault, live.say = fault if fault != "babble" else "", "I cannot help with that."
    with capture_logs() as logs:
        response = send(name, ASKED[name], token)
    assert response.status_code == 200
    answer = response.json()
    assert answer["path"] == "fallback"
    assert answer["reason"]
    assert "canary-of-the-server" not in response.content.decode()
    said = [line for line in logs if line["event"] == "llm.fallback"]
    assert len(live.asked) == 1
    assert len(said) == 1
    if fault != "error":
        assert said[0]["cause"] == cause


def test_a_sigma_rule_of_the_model_that_does_not_parse_is_invalid(live: ModelServer, token: dict[str, str]) -> None:
    good = "title: Odd\nlogsource: {category: process_creation, product: windows}\ndetection:\n  selection:\n    Image|endswith: \\\\x.exe\n  condition: selection\n"
    for text in (
        "title: [",
        "title: X\nlogsource: {product: windows}\ndetection: {sel: {a: b}, condition: nothing}",
        good.replace("\\\\x.exe", "<KEYWORD>"),
        good.replace("logsource", "logsorce"),
        good + "---\n" + good,
        "a: &a [*a]",
    ):
        live.say = text
        answer = send("nl-detection/translate", BODIES["nl-detection/translate"], token).json()
        assert answer["path"] == "fallback", text
        assert "invalid" in answer["reason"]
        read_rule(answer["sigma"])
    live.say = f"```yaml\n{good}```"
    answer = send("nl-detection/translate", BODIES["nl-detection/translate"], token).json()
    assert answer["path"] == "live", answer["reason"]
    assert yaml.safe_load(answer["sigma"])["detection"]["selection"] == {"Image|endswith": "\\\\x.exe"}


def test_a_live_query_is_written_here_and_holds_what_was_asked(live: ModelServer, token: dict[str, str]) -> None:
    body = ASKED["nl-query/translate"]
    answer = {
        "category": "process",
        "tests": [
            {"field": "process", "op": "is", "values": ["powershell.exe"]},
            {"field": "command", "op": "contains", "values": ['-enc" | evaluate python']},
            {"field": "source_ip", "op": "is", "values": ["IP_1"]},
        ],
    }
    live.say = json.dumps(answer)
    found = send("nl-query/translate", body, token).json()
    assert (found["path"], found["engine"], found["validated"]) == ("live", "llm", True), found
    assert "10.1.2.3" not in live.raw[-1]
    assert '=~ "10.1.2.3"' in found["query"]
    assert 'contains "-enc\\" | evaluate python"' in found["query"]  # the quote is escaped: no command of its own
    answer["tests"] = answer["tests"][:2]
    live.say = json.dumps(answer)
    found = send("nl-query/translate", body, token).json()
    assert (found["path"], found["engine"]) == ("fallback", "deterministic")
    assert "encoded" in found["reason"]


@pytest.mark.parametrize(
    ("tests", "path"),
    [
        ([{"field": "user", "op": "is", "values": ["carol"]}, {"field": "host", "op": "is", "values": ["web-12"]}], "live"),
        ([{"field": "user", "op": "is", "values": ["carol@corp.example"]}], "live"),
        ([{"field": "user", "op": "is", "values": ["carol"]}, {"field": "source_ip", "op": "within", "values": ["10.0.0.0/8"]}], "live"),
        ([{"field": "process", "op": "is", "values": ["winlogon.exe"]}], "live"),  # knowledge of the trade
        ([{"field": "user", "op": "is", "values": ["bob"]}], "fallback"),  # from the instructions' example
        ([{"field": "host", "op": "is", "values": ["web-1"]}], "fallback"),  # web-12 is another host
        ([{"field": "source_ip", "op": "is", "values": ["203.0.113.9"]}], "fallback"),
        ([{"field": "user", "op": "is", "values": ["carol", "mallory"]}], "fallback"),
    ],
)
def test_a_live_query_asks_for_nobody_whom_the_question_does_not_name(live: ModelServer, token: dict[str, str], tests: Any, path: str) -> None:
    live.say = json.dumps({"category": "authentication", "tests": tests * 2})
    asked = {"question": "weird logins of carol at web-12", "dialect": "kql"}
    answer = send("nl-query/translate", asked, token).json()
    assert (answer["path"], len(live.asked)) == (path, 1), answer
    if path == "live":
        assert answer["query"].count(tests[0]["values"][0]) == 1  # said twice, asked once
    else:
        assert "invalid" in answer["reason"]


@pytest.mark.parametrize("name", ["phishing/submit", "detection-loop/suggest"])
def test_a_model_that_repeats_itself_is_invalid(live: ModelServer, token: dict[str, str], name: str) -> None:
    babble = "The rule is that an attacker may do that. " * 4
    for text, path in ((babble, "fallback"), (babble[:42], "live")):
        reasons = [{"evidence": "Verify your account", "detail": text, "weight": 0.1}]
        live.say = json.dumps({"reasons": reasons} if name == "phishing/submit" else {"fields": ["ParentImage"], "rationale": text})
        answer = send(name, BODIES[name], token).json()
        assert answer["path"] == path, answer


def test_a_question_that_the_grammar_reads_whole_asks_no_model(live: ModelServer, token: dict[str, str]) -> None:
    answer = send("nl-query/translate", BODIES["nl-query/translate"], token).json()
    assert answer["path"] == "fallback"
    assert "no model was asked" in answer["reason"]
    assert not live.asked


@pytest.mark.parametrize(
    ("question", "test"),
    [
        ("odd logins of bob not from 203.0.113.9", {"field": "source_ip", "op": "is", "values": ["203.0.113.9"]}),
        ("odd logins of bob on port 3389", {"field": "user", "op": "is", "values": ["bob"]}),
    ],
)
def test_a_models_query_that_leaves_out_a_not_or_a_number_is_none(
    live: ModelServer, token: dict[str, str], question: str, test: dict[str, Any]
) -> None:
    live.say = json.dumps({"category": "authentication", "tests": [test]})
    answer = send("nl-query/translate", {"question": question, "dialect": "esql"}, token).json()
    assert (answer["path"], answer["engine"]) == ("fallback", "deterministic"), answer


def test_a_models_query_has_the_time_that_the_grammar_read(live: ModelServer, token: dict[str, str]) -> None:
    live.say = json.dumps({"category": "authentication", "tests": [{"field": "user", "op": "is", "values": ["bob"]}], "last_hours": 1})
    answer = send("nl-query/translate", {"question": "odd logins of bob in the last 7 days", "dialect": "esql"}, token).json()
    assert (answer["path"], answer["engine"]) == ("live", "llm"), answer
    assert "NOW() - 7 days" in answer["query"]


def test_what_is_no_question_about_events_gives_no_query(environment: Environment, token: dict[str, str]) -> None:
    environment()
    answer = send("nl-query/translate", {"question": "what is the weather in Paris", "dialect": "spl"}, token).json()
    assert (answer["query"], answer["validated"]) == (None, False)
    assert "does not read as a question" in answer["reason"]


def test_a_model_adds_reasons_within_bounds_and_overrules_no_known_bad_indicator(
    live: ModelServer, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"kind": "email", "content": "From: Bo <bo@corp.example>\nTo: a@corp.example\nSubject: Hi\n\nCall my new number today.\n"}
    live.say = json.dumps({"reasons": [{"evidence": "my new number", "detail": "A new number is a common pretext.", "weight": 0.35}] * 4})
    answer = send("phishing/submit", body, token).json()
    assert answer["path"] == "live", answer
    assert sum(one["weight"] for one in answer["reasons"] if one["name"].startswith("model")) == pytest.approx(0.35)
    assert answer["verdict"] == "suspicious"
    live.say = json.dumps({"reasons": [{"evidence": "he wants money", "detail": "It asks for money at once.", "weight": 0.35}]})
    assert send("phishing/submit", body, token).json()["path"] == "fallback"  # quotes what is not there

    monkeypatch.setattr(lookups, "_lookups", [lambda values: {value: f"{value} is known." for value in values if value == "corp.example"}])
    live.say = json.dumps({"reasons": [{"evidence": "Call my", "detail": "An ordinary note of a colleague.", "weight": -0.15}]})
    answer = send("phishing/submit", body, token).json()
    assert (answer["path"], answer["verdict"], answer["reasons"][0]["name"]) == ("live", "phishing", "known_bad_indicator")


@pytest.mark.parametrize("outside", [True, False])
def test_a_model_outside_is_not_told_what_a_feed_says(
    outside: bool, live: ModelServer, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome.Model, "outside", outside)
    monkeypatch.setattr(lookups, "_lookups", [tools._known_bad])
    stored(record(type="ipv4-addr", value="198.51.100.0/24"))
    live.say = json.dumps({"reasons": []})
    answer = send("phishing/submit", {"kind": "url", "content": "http://198.51.100.7/login"}, token).json()
    assert (answer["path"], answer["reasons"][0]["name"]) == ("live", "known_bad_indicator")
    assert ("198.51.100.0/24" in " ".join(live.raw)) is not outside


def test_a_stored_indicator_decides(environment: Environment, token: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment()
    monkeypatch.setattr(lookups, "_lookups", [tools._known_bad])
    stored(record(value="quiet.example"))
    answer = send("phishing/submit", {"kind": "domain", "content": "quiet[.]example"}, token).json()
    assert answer["verdict"] == "phishing"
    assert answer["reasons"][0]["name"] == "known_bad_indicator"


def test_a_filter_of_the_model_is_proposed_only_if_it_holds_up(live: ModelServer, token: dict[str, str]) -> None:
    body = BODIES["detection-loop/suggest"] | {"true_positives": [RAW | {"ParentImage": "C:\\\\x\\\\winword.exe"}]}
    why = "Only the management agent starts it as this parent."
    live.say = json.dumps({"fields": ["ParentImage"], "rationale": why})
    answer = send("detection-loop/suggest", body, token).json()
    assert answer["path"] == "live", answer
    assert answer["rationale"].startswith(why)
    live.say = json.dumps({"fields": ["User"], "rationale": why})  # the true positive has the same user
    answer = send("detection-loop/suggest", body, token).json()
    assert (answer["path"], answer["still_matches"], answer["drops_false_positive"]) == ("fallback", True, True)


def test_a_filter_has_the_field_names_that_the_rule_has(environment: Environment, token: dict[str, str]) -> None:
    environment()
    raw = {"process": {"executable": "C:\\x\\a.exe", "parent": {"executable": "C:\\v\\u.exe"}}, "user": {"name": "bob"}}
    for field, wanted in (("process.executable", {"process.parent.executable", "user.name"}), ("Image", {"ParentImage", "User"})):
        rule = f"title: t\nlogsource: {{category: process_creation}}\ndetection:\n  sel:\n    {field}|endswith: a.exe\n  condition: sel\n"
        body = {"rule": rule, "alert": {"title": "x", "raw": raw}, "analyst_note": ""}
        answer = send("detection-loop/suggest", body, token).json()
        assert answer["drops_false_positive"]
        assert set(yaml.safe_load(answer["rule"])["detection"]["filter_tuned_1"]) == wanted


@pytest.mark.parametrize("note", ["x\nfilter:\n  a: '*'", "'\"{}[]&*!|>%@`", "*alias", "- evil: 1", "\u2028\u0085condition: x", "#"])
def test_an_analysts_note_stays_a_text(environment: Environment, token: dict[str, str], note: str) -> None:
    environment()
    answer = send("detection-loop/suggest", BODIES["detection-loop/suggest"] | {"analyst_note": note}, token).json()
    rule = yaml.safe_load(answer["rule"])
    assert set(rule) == {"title", "logsource", "detection", "falsepositives", "modified"}
    assert set(rule["detection"]) == {"selection", "filter_tuned_1", "condition"}
    assert rule["detection"]["condition"] == "selection and not filter_tuned_1"
    assert all(isinstance(one, str) for one in rule["falsepositives"])


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("nl-query/translate", {"question": ""}, "question"),
        ("nl-query/translate", {"question": "x" * 1001}, "question"),
        ("nl-query/translate", {"dialect": "sql"}, "dialect"),
        ("nl-detection/translate", {"description": None}, "description"),
        ("nl-detection/translate", {"severity": "fatal"}, "severity"),
        ("nl-detection/translate", {"mitre_techniques": ["T1"]}, "mitre_techniques"),
        ("detection-loop/suggest", {"rule": "title: ["}, "rule"),
        ("detection-loop/suggest", {"rule": RULE.replace("CommandLine|contains: ' -enc'", "CommandLine|re: '(?=a)'")}, "rule"),
        ("detection-loop/suggest", {"alert": {}}, "alert"),
        ("detection-loop/suggest", {"alert": {"title": "x", "raw": []}}, "alert"),
        ("detection-loop/suggest", {"true_positives": [{}] * 21}, "true_positives"),
        ("phishing/submit", {"kind": "fax"}, "kind"),
        ("phishing/submit", {"kind": "url", "content": "not a url"}, "content"),
        ("phishing/submit", {"kind": "domain", "content": "nodots"}, "content"),
        ("translation/translate", {"rule": "x"}, "rule"),
        ("translation/translate", {"targets": []}, "targets"),
        ("translation/translate", {"targets": ["yara"]}, "targets"),
        ("translation/translate", {"source": "spl"}, "source"),
    ],
)
def test_bad_input_names_its_field(environment: Environment, token: dict[str, str], name: str, change: dict[str, Any], field: str) -> None:
    environment()
    response = send(name, BODIES[name] | change, token)
    assert response.status_code == 400, response.content
    answer = response.json()
    assert answer["code"] == "invalid" or answer["code"]
    assert answer["field"].split(".")[0] == field
    assert answer["detail"]


@pytest.mark.parametrize("name", BODIES)
def test_who_may_ask(environment: Environment, name: str) -> None:
    environment()
    acme = Tenant.objects.create(slug="acme", name="Acme")
    assert Client().post(f"/api/v1/{name}", data="{}", content_type="application/json").status_code == 401
    assert send(name, BODIES[name], headers_of(Role.AUDITOR)).status_code == 403
    for role in (Role.TENANT_ADMIN, Role.ANALYST):
        assert send(name, BODIES[name], headers_of(role, acme)).status_code == 200


def test_the_formats_are_for_every_reader(environment: Environment) -> None:
    environment()
    answer = Client().get("/api/v1/translation/formats", headers=headers_of(Role.AUDITOR)).json()
    assert [one["target"] for one in answer["results"]] == ["spl", "esql", "kql"]
    assert Client().get("/api/v1/translation/formats").status_code == 401


def test_the_tenant_of_the_body_is_ignored(environment: Environment) -> None:
    environment()
    acme, other = Tenant.objects.create(slug="acme", name="Acme"), Tenant.objects.create(slug="other", name="Other")
    with capture_logs() as logs:
        send("phishing/submit", BODIES["phishing/submit"] | {"tenant": other.slug, "tenant_id": other.pk}, headers_of(Role.ANALYST, acme))
    assert [line["tenant"] for line in logs if line["event"] == "llm.fallback"] == ["acme"]


def test_each_capability_has_a_limit_of_its_own_for_each_tenant(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment()
    monkeypatch.setattr(limits, "BURST", 2)
    acme, other = Tenant.objects.create(slug="acme", name="Acme"), Tenant.objects.create(slug="other", name="Other")
    mine, theirs = headers_of(Role.ANALYST, acme), headers_of(Role.ANALYST, other)
    name, body = "phishing/submit", {"kind": "domain", "content": "example.org"}
    assert [send(name, body, mine).status_code for _ in range(3)] == [200, 200, 429]
    assert "Retry-After" in send(name, body, mine).headers
    assert send(name, body, theirs).status_code == 200
    assert send("nl-query/translate", BODIES["nl-query/translate"], mine).status_code == 200


def test_beyond_the_cap_the_answer_is_by_rule_and_busy(live: ModelServer, token: dict[str, str]) -> None:
    held = [outcome._slots.acquire(blocking=False) for _ in range(outcome.MAX_CALLS)]
    try:
        answer = send("phishing/submit", BODIES["phishing/submit"], token).json()
    finally:
        for _ in filter(None, held):
            outcome._slots.release()
    assert (answer["path"], answer["reason"], answer["verdict"]) == ("fallback", "busy", "phishing")
    assert not live.asked
    assert "phishing" in {one.capability for one in uses()}


def test_what_goes_to_the_model_holds_no_names_and_addresses(live: ModelServer, token: dict[str, str]) -> None:
    live.say = "no"
    send("detection-loop/suggest", BODIES["detection-loop/suggest"], token)
    send("phishing/submit", {"kind": "email", "content": MAIL.replace("Verify", "jane.doe@corp.example at 10.1.2.3: verify")}, token)
    sent = "".join(live.raw)
    for secret in ("svc_sccm", "WKS-01", "jane.doe", "10.1.2.3"):
        assert secret not in sent, secret


@pytest.mark.parametrize("name", ["phishing/submit", "nl-query/translate"])
def test_a_long_body_is_refused(environment: Environment, token: dict[str, str], name: str) -> None:
    environment()
    response = send(name, BODIES[name] | {"padding": "x" * (5 << 20)}, token)
    assert response.status_code == 413
