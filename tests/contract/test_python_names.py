"""The Python names that others import: each is called as the contract writes it, by position and by keyword."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airgap.policy import Decision, EgressPolicy, PolicyError, Rule
from llm.config import LLMConfig
from llm.resolver import resolve
from tests.conftest import ROOT
from threatintel.schedule import plan
from threatintel.specs import Cursor, FeedSpec, Page


def nothing(_client: object, _spec: FeedSpec, _cursor: Cursor) -> Iterator[Page]:
    yield from ()


def test_a_policy_is_made_of_two_texts_and_asked_by_keyword() -> None:
    policy = EgressPolicy.from_text(airgapped="on", allowlist="")
    assert policy.decide_host(host="ollama", port=None) == policy.decide_host("ollama", None)
    assert policy.decide_url(url="http://ollama/").rule is Rule.SINGLE_LABEL
    assert policy.classify(url_or_host="api.openai.com") is Rule.PUBLIC
    assert Decision(allowed=False, rule=Rule.PUBLIC, reason="x") == Decision(False, Rule.PUBLIC, "x")
    with pytest.raises(PolicyError):
        EgressPolicy.from_text("ture", "")


def test_a_feed_is_made_by_position_and_by_keyword() -> None:
    every = timedelta(days=1)
    by_position = FeedSpec("kev", "CISA KEV", "kev", "http://kev-mirror/feed.json", every, nothing)
    assert by_position == FeedSpec(name="kev", title="CISA KEV", kind="kev", url="http://kev-mirror/feed.json", every=every, fetch=nothing)
    public = FeedSpec("otx", "OTX", "otx", "https://otx.alienvault.com", every, nothing)
    planned = plan(feeds=[by_position, public], policy=EgressPolicy.from_text("1", ""))
    assert [feed.name for feed in planned.beat] == ["kev"]
    assert [(feed.name, feed.host, feed.rule) for feed in planned.refused] == [("otx", "otx.alienvault.com", Rule.PUBLIC)]


def test_the_pure_resolver_takes_environment_override_and_policy() -> None:
    resolved = resolve(environment=LLMConfig(), override=None, policy=EgressPolicy.from_text("1", ""))
    assert (resolved.allowed, resolved.source, resolved.base_url, resolved.rule) == (False, "none", "", None)
    assert resolved.reason


def test_the_guard_and_its_exception_need_no_django_settings(tmp_path: Path) -> None:
    """A program of its own: it installs the guard, and catches the exception under the name that the gate gives it."""
    code = f"""
import socket
from airgap.guard import install
from airgap.policy import EgressPolicy
from airgap.transport import AirgapBlocked, gated_client
install(EgressPolicy.from_text("1", ""), {str(tmp_path)!r})
for attempt in (
    lambda: socket.create_connection(("api.openai.com", 443)),
    lambda: socket.getaddrinfo("api.openai.com", 443),
    lambda: socket.socket().connect(("8.8.8.8", 443)),
):
    try:
        attempt()
    except AirgapBlocked as blocked:
        print(blocked.decision.rule)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line == "public"] == ["public"] * 3
    assert list(tmp_path.iterdir()), "each refusal is in the spool"
