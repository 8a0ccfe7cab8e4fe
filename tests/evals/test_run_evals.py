"""scripts/run_evals.py: a broken model fails it, a good one passes, no model is exit 3; against a real server on loopback."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.scoring import cases
from tests.plugins.model_server import ModelServer

ROOT = Path(__file__).resolve().parents[2]
Environment = Callable[..., object]
pytestmark = pytest.mark.django_db
FEW = ("--suite", "nl_query", "--suite", "nl_detection", "--suite", "phishing", "--suite", "detection_loop", "--suite", "translation", "--limit", "8")


def script() -> Any:
    spec = importlib.util.spec_from_file_location("run_evals", ROOT / "scripts" / "run_evals.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


QUERIES = {
    "encoded": ("process", [("process", "is", "powershell.exe"), ("command", "contains", "-enc")]),
    "logging on": ("authentication", [("user", "is", "administrator"), ("source_ip", "is", "203.0.113.80")]),
    "dump lsass": ("process", [("process", "is", "procdump.exe"), ("command", "contains", "lsass")]),
    "schtasks": ("process", [("process", "is", "schtasks.exe")]),
    "evil-c2": ("dns", [("domain", "is", "evil-c2.example")]),
    "invoice.zip": ("email", [("sender", "is", "boss@corp.example"), ("subject", "contains", "invoice.zip")]),
    "smb towards": ("network", [("destination_ip", "is", "10.2.2.2"), ("destination_port", "is", "445")]),
    "rundll32": ("process", [("process", "is", "rundll32.exe")]),
}


FIELDS = {"process_creation": "Image", "registry_set": "TargetObject", "network_connection": "DestinationPort", "dns_query": "QueryName"}


def knowing(body: dict[str, Any]) -> str:
    """A model that knows its trade: it tells the task by its instructions and answers each as asked."""
    task, evidence = body["messages"][0]["content"], body["messages"][-1]["content"]
    if "search" in task.splitlines()[0]:
        category, tests = next(answer for words, answer in QUERIES.items() if words in evidence)
        return json.dumps({"category": category, "tests": [{"field": f, "op": op, "values": [seen(v, evidence)]} for f, op, v in tests]})
    if "Sigma detection rule" in task:
        case = next(case for case in cases("nl_detection") if json.dumps(case["description"])[1:40] in evidence)
        source = "\n".join(f"  {key}: {text}" for key, text in case["expect"]["logsource"].items())
        field = FIELDS[case["expect"]["logsource"]["category"]]
        tag = case["expect"]["any_technique"][0].lower()
        return (
            f"```yaml\ntitle: X\ntags: [attack.{tag}]\nlogsource:\n{source}\ndetection:\n  selection:\n    {field}: '1'\n  condition: selection\n```"
        )
    if "signs of phishing" in task:
        return json.dumps({"reasons": []})
    if "false positive" in task:
        names = body["response_format"]["json_schema"]["schema"]["properties"]["fields"]["items"]["enum"]
        return json.dumps({"fields": names[:2], "rationale": "An attack would come from another parent or account."})
    wanted = body["response_format"]["json_schema"]["schema"]["required"]
    queries = {"esql": 'FROM logs-* | WHERE user.name == "x"', "spl": 'index=* user="x"', "kql": 'SecurityEvent | where Account =~ "x"'}
    return json.dumps({target: queries[target] for target in wanted})


def seen(value: str, evidence: str) -> str:
    """As the model sees it: what must not leave comes as a token, which it copies."""
    token = next((word.strip('",') for word in evidence.split() if word.strip('",').startswith(("IP_", "EMAIL_", "HOST_"))), value)
    return value if value in evidence or not {"@", "."} & set(value) else token


def test_no_live_llm_is_exit_3_with_the_fallback_scored(environment: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    environment()
    assert script().main(["--json", *FEW]) == 3
    found = report(capsys)
    assert found["verdict"] == "no live LLM"
    assert all(one["live"] is None and one["fallback"] > 0 for one in found["suites"])


def test_a_refused_llm_is_exit_3(environment: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    environment(AISOC_AIRGAPPED="1", LLM_BASE_URL="https://llm.example.com/v1", LLM_API_KEY="k", LLM_MODEL="m")
    assert script().main(["--json", "--suite", "phishing", "--limit", "2"]) == 3
    assert report(capsys)["llm"]["live"] is False


@pytest.mark.parametrize("fault", ["rubbish", "error", "babble"])
def test_a_broken_model_fails(environment: Environment, model_server: ModelServer, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    environment(LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    model_server.fault, model_server.say = fault if fault != "babble" else "", "I am a teapot, short and stout."
    assert script().main(["--json", *FEW]) == 1
    found = report(capsys)
    assert found["verdict"] == "failed"
    for one in found["suites"]:
        assert one["asked"] > 0
        assert one["broken"] == one["asked"]
        assert one["faults"], one
    assert "canary-of-the-server" not in json.dumps(found)


def test_a_better_model_passes(environment: Environment, model_server: ModelServer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    environment(LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    model_server.say = knowing
    assert script().main(["--json", *FEW]) == 0
    printed = capsys.readouterr().out
    found = json.loads(printed)
    by_name = {one["name"]: one for one in found["suites"]}
    assert by_name["nl_query"]["live"] > by_name["nl_query"]["fallback"]
    assert all(one["broken"] == 0 and one["asked"] for one in found["suites"])

    earlier = tmp_path / "earlier.json"
    earlier.write_text(printed)
    model_server.say = lambda body: json.dumps({"reasons": []}) if "phishing" in body["messages"][0]["content"] else knowing(body)
    assert script().main(["--json", "--baseline", str(earlier), "--suite", "phishing", "--limit", "8"]) == 0
    better = json.loads(printed)
    next(one for one in better["suites"] if one["name"] == "phishing")["live"] = 1.1
    earlier.write_text(json.dumps(better))
    assert script().main(["--baseline", str(earlier), "--suite", "phishing", "--limit", "8"]) == 1
    assert "worse than the baseline: phishing.live" in capsys.readouterr().out


def test_a_floor_that_no_model_reaches_fails(environment: Environment, model_server: ModelServer, capsys: pytest.CaptureFixture[str]) -> None:
    environment(LLM_BASE_URL=model_server.url, LLM_MODEL="m")
    model_server.say = json.dumps({"reasons": []})
    assert script().main(["--suite", "phishing", "--min-score", "1"]) == 1
    assert "below the floor" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--min-score", "2"], ["--baseline", "/nonexistent"], ["--suite", "nothing"]], ids=["score", "baseline", "suite"]
)
def test_bad_use_is_exit_2(environment: Environment, arguments: list[str]) -> None:
    environment()
    with pytest.raises(SystemExit) as stopped:
        script().main(arguments)
    assert stopped.value.code == 2


def test_the_script_runs_by_itself_and_prints_nothing_else_on_stdout(tmp_path: Path) -> None:
    env = {**os.environ, "AISOC_DATA_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path}/no-tables.sqlite3"}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run_evals.py"), "--json", "--suite", "translation", "--limit", "2"],
        capture_output=True, text=True, timeout=60, check=False, env=env, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 3, ran.stderr
    assert json.loads(ran.stdout)["suites"][0]["name"] == "translation"
