"""The whole product walked through with planted keys: no trace of them anywhere, and nothing for a hostile tenant admin."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.egress.test_clients import NAMESPACE
from tests.llm.walk_lab import forms_of
from tests.plugins.required import lacking

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode != 0:
        lacking("netns", "Network namespaces are not to be had here (unshare -rnm ip link set lo up).")
    folder = tmp_path_factory.mktemp("walk")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-W", "ignore", "-m", "tests.llm.walk_lab", str(folder)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "DJANGO_SETTINGS_MODULE": "aisoc_admin.settings"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_walk_went_through_every_state(seen: dict[str, Any]) -> None:
    assert seen["walk"] == {
        "preview": 200,
        "wrong": 422,
        "save": 200,
        "conflict": 422,
        "test": "ok",
        "rejected": "rejected",
        "rubbish": "rejected",
        "down": "rejected",
        "explain": [200, "live", "Local LLM in use; air-gap policy is satisfied."],
        "rotate": "200 live",
        "rotated test": "ok",
        "mistyped": ["422 unknown_provider", "422 malformed", "422 invalid"],
    }


def test_no_planted_key_is_in_any_file_log_broker_argument_or_answer(seen: dict[str, Any]) -> None:
    assert seen["leaks"] == []
    assert {"output.log", "broker", "spool", "answers", "var/aisoc.sqlite3", "var/aisoc.sqlite3-wal"} <= set(seen["places"])
    assert any(place.endswith(".incr.aof") for place in seen["places"]), seen["places"]
    assert seen["spooled"] > 0
    assert {"answers", "var/aisoc.sqlite3"} <= {place.removesuffix("-wal") for place in seen["control"]}  # what is no secret is found there


def test_the_search_knows_each_form_that_it_looks_for(seen: dict[str, Any]) -> None:
    assert seen["forms"] == sorted(f"acme, {form} in a" for form in forms_of("x"))


def test_each_model_was_sent_its_own_tenants_key_and_no_other(seen: dict[str, Any]) -> None:
    assert (seen["sent to acme"], seen["sent to globex"]) == (["acme", "rotated"], ["", "globex"])
    assert seen["sent elsewhere"] == [0, 0]


def test_a_hostile_tenant_admin_gets_nothing(seen: dict[str, Any]) -> None:
    assert seen["attacks"] == {
        "another tenant's row": "404",
        "another tenant's page": "404",
        "another tenant's test": "404",
        "own URL, no key": "200 live",
        "… asked": "ok",
        "… as another provider": "200 live",
        "… asked again": "ok",
        "own key": "200 live",
        "key moved to another port": "422 key_required",
        "key moved by the page": "422",
        "provider switched": "422 key_required",
        "metadata": "422 tenant_metadata",
        "metadata, mapped": "422 tenant_metadata",
        "this machine": "422 tenant_loopback",
        "the broker": "200 live, blocked",
        "a file": "422 malformed",
        "a name of the broker": "200 live, blocked",
        "a name of metadata": "200 live, blocked",
        "a name of this machine": "200 live, blocked",
        "redirect to metadata": "blocked",
        "redirect to its neighbour": "rejected",
        "probe as an oracle": "False",
        "too many tests": "429",
    }
    assert seen["came"] == []
