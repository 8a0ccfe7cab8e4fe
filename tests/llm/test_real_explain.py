"""Explain and investigate on a real small model: it is weak, so what it says must stand up to the alert or give way to the rules."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path as FilePath

import pytest

from llm.alerts import Alert
from llm.capabilities import explain, investigate
from llm.grounding import ungrounded
from llm.resolver import Path
from tests.plugins.llm_server import LLMServer, needs_model, serving
from tests.plugins.processes import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_lists")]
ALERT = Alert.read(
    {
        "title": "Suspicious log-in of jdoe",
        "description": "A log-in from 10.1.2.3 by CORP\\jdoe from a new country.",
        "severity": "high",
        "source": "okta",
        "tags": ["attack.t1078"],
    }
)


PATIENCE = 100.0  # seconds: a busy machine is no failure


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability in (explain, investigate):
        monkeypatch.setattr(capability, "MODEL_SECONDS", PATIENCE)
    monkeypatch.setattr(explain, "MAX_TOKENS", 40)
    monkeypatch.setattr(investigate, "PLAN_TOKENS", 40)
    monkeypatch.setattr(investigate, "REPORT_TOKENS", 60)


def use(environment: Callable[..., object], server: LLMServer) -> None:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL=server.url, LLM_MODEL=server.model, LLM_API_KEY=server.key)


def test_a_real_models_words_stand_or_give_way(llm_server: LLMServer, environment: Callable[..., object]) -> None:
    use(environment, llm_server)
    answer = explain.explain(ALERT, None)
    if answer.path is Path.LIVE:
        assert not ungrounded(answer.narrative, json.dumps(answer.explanation.told_to_model(), ensure_ascii=False))
    else:
        assert "invalid" in answer.reason
        assert answer.narrative.startswith("Suspicious log-in of jdoe.")

    frames = list(investigate.Investigating(ALERT, None))
    steps = [frame["tool"] for frame in frames if frame["type"] == "step"]
    assert steps[0] == "explain"
    assert len(steps) == len(set(steps))
    [report] = [frame for frame in frames if frame["type"] == "report"]
    evidence = {frame["id"] for frame in frames if frame["type"] == "evidence"}
    assert all(sentence["evidence"] and set(sentence["evidence"]) <= evidence for sentence in report["sentences"])
    assert frames[-1]["type"] == "done"


def test_a_real_model_that_is_stopped_in_mid_answer_is_reset(
    environment: Callable[..., object], tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_model()
    monkeypatch.setattr(explain, "MAX_TOKENS", 400)
    with ExitStack() as stack:
        use(environment, stack.enter_context(serving("127.0.0.1", free_port(), tmp_path)))
        frames = iter(explain.Explaining(ALERT, None))
        assert next((frame for frame in frames if frame["type"] == "delta"), None)
    rest = list(frames)
    kinds = [frame["type"] for frame in rest]
    assert "reset" in kinds
    assert "".join(frame["text"] for frame in rest[kinds.index("reset") :] if frame["type"] == "delta").startswith("Suspicious log-in of jdoe.")
    assert (rest[-1]["type"], rest[-1]["path"]) == ("done", "fallback")
