"""airgap_check and airgap_status: results on stdout and nothing else, exit statuses that a script can use, no database needed."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from airgap.policy import EgressPolicy
from tests.aisoc_admin.test_bad_configuration import run

Policy = Callable[..., EgressPolicy]


def check(*arguments: str, stdin: bytes = b"", monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[int, list[str]]:
    out = io.StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    try:
        call_command("airgap_check", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def test_all_allowed_is_status_zero_and_any_refused_is_one(airgapped: Policy) -> None:
    airgapped()
    assert check("http://ollama", "http://10.0.0.1")[0] == 0
    status, lines = check("http://ollama", "https://api.openai.com")
    assert status == 1
    assert lines == [
        "allowed  http://ollama  single_label: ollama is a single-label service name.",
        "REFUSED  https://api.openai.com  public: api.openai.com is a public name and not on AISOC_AIRGAP_ALLOWLIST.",
    ]


def test_json_is_one_line_a_url_in_input_order_also_for_malformed_ones(airgapped: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    airgapped()
    urls = b"https://api.openai.com/v1\r\nnot-a-url\n\n\xff\xfe\nhttp://[::1]:8000/\nlast"
    status, lines = check("http://ollama", "--stdin", "--json", stdin=urls, monkeypatch=monkeypatch)
    decisions = [json.loads(line) for line in lines]
    assert status == 1
    assert [list(decision) for decision in decisions] == [["url", "allowed", "rule", "reason", "host", "port"]] * 7
    assert [decision["url"] for decision in decisions] == [
        "http://ollama",
        "https://api.openai.com/v1",
        "not-a-url",
        "",
        "\\xff\\xfe",
        "http://[::1]:8000/",
        "last",
    ]
    assert [decision["rule"] for decision in decisions] == [
        "single_label",
        "public",
        "malformed",
        "malformed",
        "malformed",
        "private_address",
        "malformed",
    ]
    assert [decision["host"] for decision in decisions] == ["ollama", "api.openai.com", None, None, None, "::1", None]
    assert [decision["port"] for decision in decisions] == [80, 443, None, None, None, 8000, None]


def test_without_a_url_the_command_says_what_it_wants() -> None:
    with pytest.raises(CommandError, match="at least one URL") as caught:
        check()
    assert caught.value.returncode == 2


def test_nothing_is_recorded(airgapped: Policy, spool_dir: Path) -> None:
    airgapped()
    check("https://api.openai.com")
    assert not spool_dir.exists() or list(spool_dir.iterdir()) == []


def test_status_is_zero_only_when_air_gapped_and_guarded(tmp_path: Path) -> None:
    def status(**variables: str) -> "subprocess.CompletedProcess[str]":
        return run(("manage.py", "airgap_status", "--json"), tmp_path, **variables)

    on = status(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="intel.corp", DATABASE_URL="postgres://nobody@127.0.0.1:9/none")
    assert (on.returncode, on.stderr) == (0, "")
    snapshot = json.loads(on.stdout)
    assert list(snapshot) == ["enabled", "allowlist", "implicit_private_suffixes", "policy", "airgap_guard"]
    assert snapshot["airgap_guard"] == {"mode": "enforce", "active": True, "selftest": True}
    for variables, mode in (
        ({}, "inactive"),
        ({"AISOC_AIRGAPPED": "1", "AISOC_AIRGAP_GUARD": "report"}, "report"),
        ({"AISOC_AIRGAPPED": "1", "AISOC_AIRGAP_GUARD": "off"}, "off"),
    ):
        done = status(**variables)
        assert (done.returncode, json.loads(done.stdout)["airgap_guard"]["mode"]) == (1, mode)
