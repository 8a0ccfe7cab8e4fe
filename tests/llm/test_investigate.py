"""POST /api/v1/investigate: the plan, its bounds, the evidence of each sentence, and a model that chooses from the list only."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from structlog.testing import capture_logs

from airgap.drain import drain
from llm import outcome
from llm import tools as registry
from llm.alerts import Alert
from llm.capabilities import investigate
from llm.tools import Finding, Tool, tools
from llm.uses import uses
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.plugins.model_server import ModelServer
from tests.threatintel.records import page, record
from threatintel.specs import Tlp
from threatintel.store import store
from threatintel.tools import related

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_lists")]
Environment = Callable[..., object]
PLAN = ["explain", "technique_data", "indicator_lookup", "enrichment", "related_observables"]
ALERT = {
    "title": "Beacon from a workstation",
    "source": "edr",
    "severity": "high",
    "tags": ["T1071.001"],
    "raw": {"process": {"name": "rundll32.exe"}, "dest_ip": "198.51.100.7", "host": "WS-0042", "user": "jdoe"},
}
Frames = list[dict[str, Any]]


def send(alert: Any = ALERT) -> Any:
    headers = {"Authorization": f"Token {issue_token('ana', Role.ANALYST, 1, 'acme')}"}
    return Client().post("/api/v1/investigate", data=json.dumps({"alert": alert}), content_type="application/json", headers=headers)


def told(response: Any) -> Frames:
    assert response.status_code == 200, response.content
    frames = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    response.close()
    return frames


def of_type(frames: Frames, kind: str) -> Frames:
    return [frame for frame in frames if frame["type"] == kind]


def report(frames: Frames) -> Frames:
    [one] = of_type(frames, "report")
    sentences: Frames = one["sentences"]
    return sentences


@pytest.fixture
def live(environment: Environment, model_server: ModelServer) -> ModelServer:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    return model_server


def scripted(plan: Any, sentences: Any) -> Callable[[dict[str, Any]], str]:
    """Answers the plan, then the report."""

    def say(body: dict[str, Any]) -> str:
        asks_for_a_plan = "plan the investigation" in body["messages"][0]["content"]
        return json.dumps({"steps": plan} if asks_for_a_plan else {"sentences": sentences})

    return say


@pytest.fixture
def intel() -> None:
    with transaction.atomic():
        store("misp", page(record("198.51.100.7", type="ipv4-addr", external_id="event-1"), record("evil.example", external_id="event-1")), run=1)


def test_without_a_model_every_tool_runs_in_its_order_and_each_sentence_has_evidence(environment: Environment, intel: None) -> None:
    environment()
    frames = told(send())
    steps = of_type(frames, "step")
    assert [step["tool"] for step in steps] == PLAN
    assert {(step["state"], step["chosen_by"]) for step in steps} == {("done", "plan")}
    evidence = {frame["id"]: frame for frame in of_type(frames, "evidence")}
    assert {frame["step"] for frame in evidence.values()} == {step["id"] for step in steps}
    assert all(sentence["evidence"] and set(sentence["evidence"]) <= set(evidence) for sentence in report(frames))
    said = " ".join(sentence["text"] for sentence in report(frames))
    for words in ("Process Activity", "T1071.001", "198.51.100.7 is known to misp", "Feeds know 1 of"):
        assert words in said, words
    assert "evil.example" in [frame["value"] for frame in evidence.values()]
    assert (frames[-1]["type"], frames[-1]["path"]) == ("done", "fallback")
    assert "".join(frame["text"] for frame in of_type(frames, "delta")).strip() == said


def test_a_model_chooses_from_the_list_and_writes_from_the_evidence(live: ModelServer) -> None:
    live.say = scripted(
        ["indicator_lookup", "indicator_lookup"],
        [
            {"text": "The alert is classed as Process Activity by its class.", "evidence": ["E1"]},
            {"text": "The user USER_1 was involved.", "evidence": ["E2"]},
        ],
    )
    frames = told(send())
    assert [(step["tool"], step["chosen_by"]) for step in of_type(frames, "step")] == [("explain", "model"), ("indicator_lookup", "model")]
    assert report(frames)[1]["text"] == "The user jdoe was involved."
    assert frames[-1] == {"type": "done", "path": "live", "reason": "Local LLM in use; air-gap policy is satisfied."}
    for sent in live.raw:
        assert "jdoe" not in sent
        assert "WS-0042" not in sent


@pytest.mark.parametrize("outside", [True, False])
def test_a_model_outside_is_not_shown_what_a_feed_restricts(outside: bool, live: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that a feed names a value of the alert, nor, above all, what else that feed names."""
    marked = {"external_id": "event-1", "tlp": Tlp.RED}
    with transaction.atomic():
        store("sealed", page(record("198.51.100.7", type="ipv4-addr", **marked), record("red.example", **marked)))
    monkeypatch.setattr(outcome.Model, "outside", outside)
    live.say = scripted(PLAN, GOOD)
    frames = told(send())
    assert frames[-1]["path"] == "live"
    said = " ".join(sentence["text"] for sentence in report(frames))
    for hidden in ("red.example", "sealed"):
        assert (hidden in " ".join(live.raw)) is not outside
        assert (hidden in said) is outside


def test_what_stands_beside_a_known_value_is_restricted_when_any_source_says_so() -> None:
    with transaction.atomic():
        store("open", page(*(record(value, type=type, external_id="event-1", tlp=Tlp.CLEAR) for value, type in BESIDE)))
        store("sealed", page(record("red.example", external_id="event-2", tlp=Tlp.RED)))
    told = {one.value: one.restricted for one in related({"raw": {"src": {"ip": "198.51.100.7"}}})}
    assert (told["red.example"], told["clear.example"]) == (True, False)


BESIDE = [("198.51.100.7", "ipv4-addr"), ("red.example", "domain-name"), ("clear.example", "domain-name")]


@pytest.mark.parametrize(("url", "outside"), [("https://llm.example.com/v1", True), ("http://ollama:11434/v1", False)])
def test_a_model_is_outside_when_its_host_is_public_allowed_or_not(url: str, outside: bool, environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="llm.example.com", LLM_BASE_URL=url, LLM_API_KEY="sk-planted", LLM_MODEL="m")
    with outcome.Chance("investigate", None) as chance:
        assert chance.model is not None
        assert chance.model.outside is outside


GOOD = [{"text": "The alert is classed as Process Activity by its class.", "evidence": ["E1"]}]


@pytest.mark.parametrize(
    ("plan", "sentences"),
    [
        (["explain", "delete_everything"], GOOD),
        ([], GOOD),
        ("explain", GOOD),
        (["explain"] * 7, GOOD),
        (["explain"], [{"text": "The alert is classed as Process Activity by its class.", "evidence": []}]),
        (["explain"], [{"text": "The alert is classed as Process Activity by its class.", "evidence": ["E99"]}]),
        (["explain"], [{"text": "The class is bad and 203.0.113.200 did it.", "evidence": ["E1"]}]),
        (["explain"], [{"text": "The alert is a false positive of its class.", "evidence": ["E1"]}]),
        (["explain"], []),
        (["explain"], "text"),
    ],
)
def test_a_model_that_leaves_the_list_or_the_evidence_ends_in_the_report_by_rule(live: ModelServer, plan: Any, sentences: Any) -> None:
    live.say = scripted(plan, sentences)
    with capture_logs() as logs:
        frames = told(send())
    assert [step["tool"] for step in of_type(frames, "step")] == PLAN
    assert "The alert is classed as Process Activity (System Activity)" in report(frames)[0]["text"]
    assert (frames[-1]["type"], frames[-1]["path"]) == ("done", "fallback")
    assert "invalid" in frames[-1]["reason"]
    assert [line["cause"] for line in logs if line["event"] == "llm.fallback"] == ["invalid"]
    assert outcome._slots._value == outcome.MAX_CALLS


@pytest.mark.parametrize("fault", ["error", "rubbish", "rejected"])
def test_a_model_that_fails_is_asked_once(live: ModelServer, fault: str) -> None:
    live.fault = fault
    frames = told(send())
    assert len(live.asked) == 1
    assert [step["tool"] for step in of_type(frames, "step")] == PLAN
    assert frames[-1]["path"] == "fallback"


def test_an_evaluation_by_rule_resolves_records_and_counts_nothing(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL="https://api.openai.com/v1", LLM_API_KEY="sk-planted")
    frames = list(investigate.Investigating(Alert.read(ALERT), None, by_rule=True))
    assert (frames[-1]["type"], frames[-1]["path"]) == ("done", "fallback")
    assert drain() == 0
    assert uses() == []


def test_a_tool_that_breaks_fails_its_own_step_only(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment()

    def broken(_alert: Alert) -> list[Finding]:
        raise RuntimeError("canary")

    monkeypatch.setattr(investigate, "tools", lambda: (Tool("broken", "Broken", "", broken), *tools()[:1]))
    with capture_logs() as logs:
        frames = told(send())
    assert [step["state"] for step in of_type(frames, "step")] == ["failed", "done"]
    assert "canary" not in json.dumps(frames)
    assert "llm.tool_failed" in [line["event"] for line in logs]


def test_steps_time_and_evidence_are_bounded(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment()
    many = [Tool(f"t{number}", "T", "", lambda _alert: [Finding("a", str(place), "s", "says") for place in range(40)]) for number in range(9)]
    monkeypatch.setattr(investigate, "tools", lambda: tuple(many))
    frames = told(send())
    assert len(of_type(frames, "step")) == investigate.MAX_STEPS
    assert len(of_type(frames, "evidence")) == investigate.MAX_EVIDENCE
    assert "left out" in of_type(frames, "step")[1]["summary"]
    assert len(report(frames)) == investigate.MAX_SENTENCES
    monkeypatch.setattr(investigate, "MAX_SECONDS", -1.0)
    frames = told(send())
    assert {step["state"] for step in of_type(frames, "step")} == {"skipped"}
    assert report(frames) == [{"text": "No step of the investigation came to a finding.", "evidence": []}]


def test_two_tools_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tools", {})
    monkeypatch.setattr(registry, "_providers", [])
    one, other = (Tool("a", title, "", lambda _alert: []) for title in ("One", "Other"))
    registry.provide(lambda: [one])
    registry.provide(lambda: [other])
    with pytest.raises(ValueError, match="'a'"):
        registry.tools()


def test_the_limit_is_its_own_and_names_the_wait(environment: Environment) -> None:
    from llm import limits

    environment()
    for _ in range(limits.BURST):
        limits.take("investigate", "tenant:acme")
    refused = send()
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    limits.take("explain", "tenant:acme")
