"""A real model: behind the operator's configuration on loopback, and behind a tenant's row on a private address in a namespace of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airgap.policy import EgressPolicy
from llm.client import ChatClient, Message
from llm.config import LLMConfig, Secret
from llm.resolver import resolve
from tests.conftest import ROOT
from tests.egress.test_clients import NAMESPACE
from tests.llm.tenant_lab import HOSTILE, OPERATORS_KEY
from tests.plugins.llm_server import KEY, LLMServer, needs_model
from tests.plugins.required import is_required, lacking


@pytest.mark.django_db
def test_the_operators_model_on_loopback_answers_whole_and_as_a_stream(llm_server: LLMServer, airgapped: Callable[..., EgressPolicy]) -> None:
    policy = airgapped()
    resolved = resolve(LLMConfig.of(llm_server.url, Secret(llm_server.key), llm_server.model), None, policy)
    client = ChatClient(resolved, purpose="test", deadline=60)
    reply = client.complete([Message("user", "Say hello.")], max_tokens=6)
    assert (bool(reply.text), reply.model, reply.finish in ("stop", "length")) == (True, llm_server.model, True)
    assert "".join(client.stream([Message("user", "Say hello.")], max_tokens=6)) == reply.text


@pytest.mark.netns
def test_a_tenants_row_reaches_its_model_and_nothing_that_it_must_not(tmp_path: Path) -> None:
    needs_model()
    if subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode != 0:
        lacking("netns", "Network namespaces are not to be had here (unshare -rnm ip link set lo up).")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-W", "ignore", "-m", "tests.llm.tenant_lab", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["page"] is None:
        assert not is_required("browser"), "AISOC_TEST_REQUIRE names browser, but Chromium is not installed."
    else:
        assert "Test: ok." in seen["page"]["tested"]
        assert KEY not in seen["page"]["held"]
    assert seen["saved"] is True
    assert (seen["tested"]["outcome"], seen["tested"]["model"]) == ("ok", "smollm2")
    source, text, model, tokens = seen["whole"]
    assert (source, bool(text), model, tokens > 0) == ("tenant", True, "smollm2", True)
    assert "".join(seen["streamed"]) == text
    assert len(seen["streamed"]) > 1
    assert isinstance(json.loads(seen["schema"])["answer"], int)
    assert (seen["probe"], seen["wrong key"]) == ("ok", "rejected")
    assert seen["hostile"] == {f"{mode} {url}": "LLMBlocked" for mode in ("on", "off") for url in HOSTILE}
    assert seen["came"] == []
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"aisoc.sqlite3", "credential_key"} <= {path.name for path in written}
    for planted in (KEY, OPERATORS_KEY):
        assert planted not in done.stdout + done.stderr
        assert [path for path in written if planted.encode() in path.read_bytes()] == []
