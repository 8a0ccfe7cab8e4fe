"""Every capability on a real small model, through its endpoint: what the model says stands up or gives way to the rules; and the model dies in mid-answer.

SmolLM2-135M is weak, and that is the point. It fills a form that it is given: a query in words it has seen, a choice of fields. It does not come to a usable
report, Sigma rule, quotation of an e-mail or query of its own making (investigate, nl_detection, phishing, translation): there the
degradation is what is shown. A narrative (explain) stands when it is short.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import pytest
import yaml
from django.test import Client

from llm import outcome
from llm.alerts import Alert
from llm.capabilities import detection_loop, explain, investigate, translation
from llm.capabilities.nl_detection import capability as nl_detection
from llm.capabilities.nl_query import capability as nl_query
from llm.capabilities.nl_query.query import from_answer
from llm.capabilities.nl_query.render import Dialect, render
from llm.capabilities.phishing import capability as phishing
from llm.grounding import ungrounded
from llm.privacy_tables import TOKEN
from llm.uses import uses
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.evals.test_run_evals import report, script
from tests.plugins.llm_server import LLMServer, needs_model, serving
from tests.plugins.passing import Call, Passing, passing_to
from tests.plugins.processes import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database, pytest.mark.usefixtures("small_lists")]
Environment = Callable[..., object]
Answer = dict[str, Any]

PATIENCE = 100.0  # seconds: a busy machine is no failure
ALERT = {
    "title": "Suspicious log-in of jdoe",
    "description": "A log-in from 10.1.2.3 by CORP\\jdoe from a new country.",
    "severity": "high",
    "source": "okta",
    "tags": ["attack.t1078"],
}
RULE = """title: Remote shell
logsource: {category: network_connection, product: windows}
detection:
  selection: {DestinationPort: 22}
  condition: selection
"""
UNTRANSLATABLE = """title: Log-ons of administrators
logsource: {category: process_creation, product: windows}
detection:
  selection: {User|expand: '%admins%'}
  condition: selection
"""
NOTES = (
    "The nightly backup runs on this host.",
    "The monitoring service checks it every night.",
    "The administrators work from this jump host every day.",
    "This host updates its packages from the mirror.",
    "The scanner logs in to each host on Mondays.",
    "The database copies its files to this host.",
)
MAIL = 'From: "PayPal" <service@paypa1-secure.com>\nTo: anna@corp.example\nSubject: Account limited\n\nVerify your account: http://paypa1-secure.com/login\n'


def tuning(note: str) -> Answer:
    return {"rule": RULE, "alert": {"title": "x", "raw": {"DestinationPort": 22, "Computer": "JUMP-1"}}, "analyst_note": note}


# ── What the answer has to have of the model's, when it says that it is live ─────────────────────────────────────────
def the_narrative(answer: Answer, calls: list[Call]) -> None:
    words = answer["narrative"].split()
    assert [word for word in calls[0].text.split() if not TOKEN.search(word)] == [word for word in words if word in calls[0].text.split()]
    told = explain.Explanation(Alert.read(ALERT)).told_to_model()
    assert not ungrounded(answer["narrative"], json.dumps(told, ensure_ascii=False))


def the_report(answer: Answer, calls: list[Call]) -> None:
    assert len(calls) == 2
    assert [len(one["evidence"]) for one in answer["sentences"]] == [len(one["evidence"]) for one in json.loads(calls[1].text)["sentences"]]
    assert all(sentence["evidence"] for sentence in answer["sentences"])


def the_query(answer: Answer, calls: list[Call]) -> None:
    assert (answer["engine"], answer["validated"]) == ("llm", True)
    assert answer["query"].split(" and ", 1)[1] == render(from_answer(json.loads(calls[0].text)), Dialect.KQL).split(" and ", 1)[1]


def the_rule(answer: Answer, calls: list[Call]) -> None:
    assert yaml.safe_load(answer["sigma"])["detection"]["condition"] in calls[0].text


def the_filter(answer: Answer, calls: list[Call]) -> None:
    said = json.loads(calls[0].text)
    assert list(yaml.safe_load(answer["rule"])["detection"]["filter_tuned_1"]) == said["fields"]
    assert (answer["still_matches"], answer["drops_false_positive"]) == (True, True)


def the_reasons(answer: Answer, calls: list[Call]) -> None:
    assert len([one for one in answer["reasons"] if one["name"].startswith("model")]) == len(json.loads(calls[0].text)["reasons"])


def the_queries(answer: Answer, calls: list[Call]) -> None:
    said = json.loads(calls[0].text)
    assert {one["target"]: one["query"] for one in answer["results"]} == said


@dataclass(frozen=True)
class Capability:
    """bodies: what is asked, one after the other until an answer is live. tokens: how long the model may talk. shows: checks a live answer.

    able: whether the model is known to come to a live answer on one of them.
    """

    path: str
    bodies: tuple[Answer, ...]
    tokens: dict[Any, dict[str, int]]
    shows: Callable[[Answer, list[Call]], None] = field(repr=False)
    able: bool = False
    most_calls: int = 1


CAPABILITIES = {
    "explain": Capability("explain", ({"alert": ALERT},), {explain: {"MAX_TOKENS": 40}}, the_narrative),
    "investigate": Capability("investigate", ({"alert": ALERT},), {investigate: {"REPORT_TOKENS": 200}}, the_report, most_calls=2),
    "nl_query": Capability(
        "nl-query/translate",
        tuple(
            {"question": f"{how} failed logins of bob on {host}", "dialect": "kql"}
            for how in ("strange", "unusual")
            for host in ("web-3", "web-7", "web-1")
        ),
        {nl_query: {"MAX_TOKENS": 200}},
        the_query,
        able=True,
    ),
    "nl_detection": Capability(
        "nl-detection/translate",
        ({"description": "Detect PowerShell running an encoded command"},),
        {nl_detection: {"MAX_TOKENS": 60}},
        the_rule,
    ),
    "detection_loop": Capability("detection-loop/suggest", tuple(map(tuning, NOTES)), {detection_loop: {"MAX_TOKENS": 200}}, the_filter, able=True),
    "phishing": Capability("phishing/submit", ({"kind": "email", "content": MAIL},), {phishing: {"MAX_TOKENS": 240}}, the_reasons),
    "translation": Capability(
        "translation/translate", ({"rule": UNTRANSLATABLE, "targets": ["kql"]},), {translation: {"MAX_TOKENS": 60}}, the_queries
    ),
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability in (explain, investigate):
        monkeypatch.setattr(capability, "MODEL_SECONDS", PATIENCE)
    monkeypatch.setitem(outcome.live_or_fallback.__kwdefaults__, "budget", PATIENCE)


@pytest.fixture
def passing(llm_server: LLMServer, environment: Environment) -> Iterator[Passing]:
    with passing_to(llm_server.url) as one:
        use(environment, one.url, llm_server)
        yield one


def use(environment: Environment, url: str, server: LLMServer) -> None:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=url, LLM_MODEL=server.model, LLM_API_KEY=server.key)


@pytest.fixture
def headers() -> dict[str, str]:
    return {"Authorization": f"Token {issue_token('ana', Role.ANALYST, 1, 'acme')}"}


def send(path: str, body: Answer, headers: dict[str, str]) -> Answer:
    """The answer in one object; of one that is told in frames, what stands in the end."""
    response = Client().post(f"/api/v1/{path}", data=json.dumps(body), content_type="application/json", headers=headers)
    assert response.status_code == 200, response.content
    if not response.streaming:
        return dict(response.json())
    frames = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    response.close()
    assert frames[-1]["type"] == "done"
    answer: Answer = {"path": frames[-1]["path"], "reason": frames[-1]["reason"], "narrative": "", "sentences": [], "found": []}
    for frame in frames:
        if frame["type"] in ("delta", "reset"):
            answer["narrative"] = answer["narrative"] + frame["text"] if frame["type"] == "delta" else ""
        elif frame["type"] == "report":
            answer["sentences"] = frame["sentences"]
        elif frame["type"] in ("ocsf", "mitre", "evidence", "next_step"):
            answer["found"].append({key: value for key, value in frame.items() if key not in ("id", "step") or frame["type"] == "mitre"})
    return answer


def by_rule(answer: Answer) -> Answer:
    """What of an answer by rule is the same whatever the model did: all but the reason, and the order in which an investigation came to it."""
    same = {key: value for key, value in answer.items() if key != "reason"}
    if same.get("sentences"):
        same |= {"sentences": sorted(one["text"] for one in same["sentences"]), "narrative": "", "found": sorted(map(str, same["found"]))}
    return same


@pytest.mark.parametrize("name", CAPABILITIES)
def test_what_the_real_model_says_stands_or_gives_way(
    passing: Passing, llm_server: LLMServer, environment: Environment, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    capability = CAPABILITIES[name]
    for module, tokens in capability.tokens.items():
        for constant, most in tokens.items():
            monkeypatch.setattr(module, constant, most)
    paths = []
    for body in capability.bodies:
        answer = send(capability.path, body, headers)
        paths.append(answer["path"])
        calls = passing.passed()
        assert 1 <= len(calls) <= capability.most_calls
        for call in calls:
            assert (call.path, call.status, call.asked["model"]) == ("/v1/chat/completions", 200, llm_server.model)
            assert call.text
        if answer["path"] == "live":
            assert answer["reason"] == "Local LLM in use; air-gap policy is satisfied."
            capability.shows(answer, calls)
            break
        assert answer["path"] == "fallback"
        assert answer["reason"].startswith("The model's answer is invalid: ")
        environment()
        assert by_rule(answer) == by_rule(send(capability.path, body, headers))
        use(environment, passing.url, llm_server)
    assert paths[-1] == "live" or not capability.able, paths
    assert [(one.capability, one.live, one.fallback) for one in uses()] == [(name, paths.count("live"), 2 * paths.count("fallback"))]


@pytest.mark.parametrize("name", CAPABILITIES)
def test_a_real_model_that_is_killed_in_mid_answer_gives_way(
    environment: Environment, headers: dict[str, str], tmp_path: FilePath, name: str
) -> None:
    needs_model()
    capability = CAPABILITIES[name]
    killed: list[float] = []

    def kill(server: LLMServer) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if server.decoded() >= 2:
                os.kill(server.pid, signal.SIGKILL)
                killed.append(time.monotonic())
                return
            time.sleep(0.05)

    with serving("127.0.0.1", free_port(), tmp_path) as server:
        use(environment, server.url, server)
        killer = threading.Thread(target=kill, args=[server])
        killer.start()
        answer = send(capability.path, capability.bodies[0], headers)
        took = time.monotonic()
        killer.join()
    assert killed, "The answer was there before the model was killed."
    assert took - killed[0] < outcome.BUDGET / 2
    assert answer["path"] == "fallback"
    assert any(
        words in answer["reason"] for words in ("There is no connection to 127.0.0.1.", "127.0.0.1 breaks off", "The connection to 127.0.0.1 broke.")
    )
    environment()
    assert by_rule(answer) == by_rule(send(capability.path, capability.bodies[0], headers))


def test_the_evaluation_fails_the_real_model(
    llm_server: LLMServer, environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(environment, llm_server.url, llm_server)
    monkeypatch.setattr(phishing, "MAX_TOKENS", 100)
    assert script().main(["--json", "--suite", "nl_query", "--suite", "phishing", "--limit", "2"]) == 1
    found = report(capsys)
    assert (found["verdict"], found["llm"]["model"], found["llm"]["live"]) == ("failed", llm_server.model, True)
    for suite in found["suites"]:
        assert suite["asked"] == 2
        assert suite["live"] < suite["fallback"], suite
        assert any("could not be used" in fault for fault in suite["faults"])
        assert all("invalid" in why for why in suite["why"])
