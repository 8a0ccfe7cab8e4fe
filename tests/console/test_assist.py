"""The pages below /assist/ without a script: a plain form, an answer with its path and reason, and clear refusals."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import escape

from llm import limits
from tenants.models import Membership, Tenant
from tenants.roles import Role
from tests.plugins.model_server import ModelServer

pytestmark = pytest.mark.django_db
Text = Callable[[Any], str]
RULE = "title: T\nlogsource: {product: windows, service: security}\ndetection:\n  sel: {a: x}\n  condition: sel\n"
ALERT = json.dumps(
    {"title": "Odd <b>log-in</b>", "source": "okta", "severity": "high", "tags": ["T1078"], "raw": {"actor": {"alternateId": "kim@acme.example"}}}
)


@pytest.fixture
def analyst(db: None) -> Client:
    user = User.objects.create_user("kim", password="correct-horse-9")
    Membership.objects.create(user=user, role=Role.ANALYST, tenant=Tenant.objects.create(slug="acme", name="Acme"))
    client = Client()
    client.force_login(user)
    return client


def test_an_alert_is_explained_with_path_and_reason(analyst: Client, environment: Callable[..., object], text: Text) -> None:
    environment()
    response = analyst.post("/assist/", {"alert": ALERT})
    assert response.status_code == 200
    said = text(response)
    for words in (
        "Authentication 3002",
        "T1078 Valid Accounts",
        "kim@acme.example",
        "Identity: confirm the log-in",
        "Fallback: by rule",
        "No LLM is configured",
    ):
        assert words in said, words
    assert "<b>log-in</b>" not in response.content.decode()
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("pasted", "words"),
    [
        ("powershell.exe started by winword.exe\non WS-1", "T1059.001 PowerShell"),
        (json.dumps([{"name": "Port scan", "product": "fortigate", "srcip": "10.1.1.1"}]), "Network Activity 4001"),
        (json.dumps({"alert": {"title": "Odd thing", "source": "splunk"}}), "Detection Finding 2004"),
        ("[1, 2, 3]", "Detection Finding 2004"),
        ("[" * 100_000, "Detection Finding 2004"),
    ],
)
def test_what_is_pasted_is_read_in_any_form(operator: Client, environment: Callable[..., object], text: Text, pasted: str, words: str) -> None:
    environment()
    assert words in text(operator.post("/assist/", {"alert": pasted}))


CUT = json.dumps({"title": "Beacon", "host": {"name": "WS-042"}, "user": {"name": "kim"}}, indent=1)[:-6]


@pytest.mark.parametrize(
    ("pasted", "problem"),
    [
        (CUT, "This begins as JSON and is none: line 7, column "),
        (f"[{CUT}", "This begins as JSON and is none: line 7, column "),
        ('[{"title": "One"}, {"title": "Two"}]', "These are 2 alerts. Paste one of them."),
        ('{"title": "One"}\n{"title": "Two"}', "These are several alerts, one after another. Paste one of them."),
    ],
)
def test_json_that_is_cut_off_or_several_alerts_is_refused_and_kept(
    operator: Client, environment: Callable[..., object], text: Text, pasted: str, problem: str
) -> None:
    environment()
    for page in ("", "investigate/"):
        answer = operator.post(f"/assist/{page}", {"alert": pasted})
        assert answer.status_code == 400
        assert problem in text(answer)
        assert escape(pasted) in answer.content.decode()
    rule = "title: x\nlogsource: {category: process_creation}\ndetection: {s: {CommandLine|contains: -enc}, condition: s}\n"
    answer = operator.post("/assist/tuning/", {"rule": rule, "alert": pasted})
    assert answer.status_code == 400
    assert f"False positive: {problem}" in text(answer)


def test_half_a_character_in_what_is_pasted_is_no_error(analyst: Client, environment: Callable[..., object]) -> None:
    environment()
    half = '{"title": "\\ud800 log-in", "raw": {"Image": "\\udfff", "CommandLine": "a -enc b", "ip": "\\ud800"}}'
    for page in ("", "investigate/"):
        assert analyst.post(f"/assist/{page}", {"alert": half}).status_code == 200
    rule = "title: x\nlogsource: {category: process_creation}\ndetection: {s: {CommandLine|contains: -enc}, condition: s}\n"
    for events in (half, f"{half}\n{half}"):
        assert analyst.post("/assist/tuning/", {"rule": rule, "alert": half, "true_positives": events}).status_code == 200


def test_a_live_answer_says_so(analyst: Client, environment: Callable[..., object], model_server: ModelServer, text: Text) -> None:
    environment(LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    model_server.say = "The account EMAIL_1 had an odd log-in that the identity provider reported as T1078."
    said = text(analyst.post("/assist/", {"alert": ALERT}))
    assert "Live: by the model" in said
    assert "The account kim@acme.example had an odd log-in" in said


@pytest.mark.parametrize(
    ("pasted", "status", "words"),
    [
        ("", 400, "Paste an alert"),
        ('{"title": 7}', 400, "title is a text"),
        ('{"raw": {}, "title": ""}', 400, "The alert is empty"),
        ("x" * 200_001, 400, "longer than 200,000"),
    ],
)
def test_what_cannot_be_read_is_said_and_kept_in_the_form(analyst: Client, text: Text, pasted: str, status: int, words: str) -> None:
    response = analyst.post("/assist/", {"alert": pasted})
    assert response.status_code == status
    assert words in text(response)
    for_a_script = analyst.post("/assist/", {"alert": pasted}, headers={"Accept": "application/x-ndjson"})
    assert for_a_script.status_code == status
    assert words in for_a_script.json()["detail"]


def test_a_full_window_is_429_on_the_page_too(analyst: Client, environment: Callable[..., object], text: Text) -> None:
    environment()
    for _ in range(limits.BURST):
        limits.take("explain", "tenant:acme")
    response = analyst.post("/assist/", {"alert": ALERT})
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert "At most 20 answers" in text(response)


def test_a_script_gets_the_answer_line_by_line(analyst: Client, environment: Callable[..., object]) -> None:
    environment()
    response = analyst.post("/assist/", {"alert": ALERT}, headers={"Accept": "application/x-ndjson"})
    assert response.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    assert lines[-1]["type"] == "done"


def test_an_auditor_reads_the_page_and_asks_nothing(auditor: Client, text: Text) -> None:
    page = auditor.get("/assist/")
    assert page.status_code == 200
    assert "Your role reads." in text(page)
    assert b"<textarea" not in page.content
    assert auditor.post("/assist/", {"alert": ALERT}).status_code == 403


def test_a_form_of_another_site_is_refused(analyst: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = analyst.cookies
    assert strict.post("/assist/", {"alert": ALERT}).status_code == 403


def test_the_deployment_page_shows_how_each_capability_answered(
    auditor: Client, operator: Client, environment: Callable[..., object], model_server: ModelServer, text: Text
) -> None:
    assert "none has been asked yet" in text(auditor.get("/settings/deployment/"))
    environment(LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    model_server.fault = "error"
    operator.post("/assist/", {"alert": ALERT})
    said = text(auditor.get("/settings/deployment/"))
    assert "explain fallback the model's server refused" in said
    assert "0 live, 1 fallback in all" in said
    [shown] = auditor.get("/settings/deployment/deployment.json").json()["capabilities"]
    assert (shown["capability"], shown["path"], shown["cause"], shown["live"], shown["fallback"]) == ("explain", "fallback", "rejected", 0, 1)
    told = auditor.get("/settings/deployment/deployment.md").content.decode()
    assert "| explain, latest of all tenants | fallback: the model's server refused; 0 live, 1 fallback |" in told


@pytest.mark.parametrize(
    ("page", "typed", "words"),
    [
        ("query", {"question": "failed logins for user <b>x</b> today", "dialect": "kql"}, "DeviceLogonEvents | where Timestamp >= startofday(now())"),
        ("detection", {"description": "Encoded PowerShell", "mitre_techniques": "T1027, T1059"}, "T1027, T1059"),
        ("tuning", {"rule": RULE, "alert": '{"a": "x", "User": "svc_x"}', "analyst_note": "svc_x", "true_positives": '{"a": "x", "User": "eve"}'}, "Still match"),
        ("phishing", {"kind": "domain", "content": "paypa1.com"}, "link_lookalike"),
        ("translation", {"rule": RULE, "targets": ["spl", "esql"]}, "pySigma translated the rule"),
    ],
)  # fmt: skip
def test_a_question_is_answered_below_its_form(
    analyst: Client, environment: Callable[..., object], text: Text, page: str, typed: dict[str, Any], words: str
) -> None:
    environment()
    response = analyst.post(f"/assist/{page}/", typed)
    assert response.status_code == 200, text(response)
    assert words in text(response)
    assert "Fallback: by rule" in text(response)
    assert "<b>x</b>" not in response.content.decode()


@pytest.mark.parametrize(
    ("page", "typed", "words"),
    [
        ("query", {"question": "", "dialect": "kql"}, "Question:"),
        ("detection", {"description": "x", "mitre_techniques": "T1"}, "written T1059"),
        ("tuning", {"rule": RULE, "alert": "", "analyst_note": ""}, "Paste an alert"),
        ("tuning", {"rule": RULE, "alert": '{"a": "x"}', "true_positives": "{"}, "raw events in JSON"),
        ("translation", {"rule": RULE}, "Languages:"),
        ("phishing", {"kind": "url", "content": "no url"}, "This is no URL"),
        ("phishing", {"kind": "email", "content": "x" * 400_001}, "longer than 400,000"),
    ],
)
def test_what_cannot_be_asked_is_said_with_its_field(
    analyst: Client, environment: Callable[..., object], text: Text, page: str, typed: dict[str, Any], words: str
) -> None:
    environment()
    response = analyst.post(f"/assist/{page}/", typed)
    assert response.status_code == 400
    assert words in text(response)


def test_questions_over_the_limit_say_when_to_come_back(analyst: Client, environment: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    environment()
    monkeypatch.setattr(limits, "BURST", 1)
    typed = {"kind": "domain", "content": "example.org"}
    assert analyst.post("/assist/phishing/", typed).status_code == 200
    response = analyst.post("/assist/phishing/", typed)
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
