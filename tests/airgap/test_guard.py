"""The process guard's modes and tripwires. A hook cannot be removed, so each runs in a process of its own; tests/egress proves what it stops."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airgap.answers import KEPT_FOR, MAX_ADDRESSES, MAX_NAMES, AnswerMemory
from airgap.guard import Guard
from airgap.policy import EgressPolicy, Rule
from tests.conftest import ROOT

START = """
import json, socket, sys, tempfile
import _socket
from pathlib import Path
from airgap import guard
from airgap.blocked import AirgapBlocked
from airgap.policy import EgressPolicy
before = (_socket.getaddrinfo, socket.socket.connect, socket.gethostbyname)
folder = Path(tempfile.mkdtemp())
"""


def run(code: str, tmp_path: Path, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), **variables}
    done = subprocess.run([sys.executable, "-c", START + code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("on", "mode"), [("0", "enforce"), ("1", "off")])
def test_switched_off_nothing_is_patched(on: str, mode: str, tmp_path: Path) -> None:
    code = f"""
made = guard.install(EgressPolicy.from_text({on!r}, ""), folder, mode={mode!r})
print(made is None and guard.current() is None and before == (_socket.getaddrinfo, socket.socket.connect, socket.gethostbyname))
"""
    assert run(code, tmp_path) == "True"


def test_installing_twice_replaces_the_policy_and_wraps_once(tmp_path: Path) -> None:
    code = """
first = guard.install(EgressPolicy.from_text("1", ""), folder)
wrapped = socket.socket.connect
second = guard.install(EgressPolicy.from_text("1", "intel.example.com"), folder)
print(first is second and wrapped is socket.socket.connect and second.policy.decide_host("intel.example.com").allowed and second.selftest())
"""
    assert run(code, tmp_path) == "True"


def test_report_mode_counts_and_logs_and_lets_pass(tmp_path: Path) -> None:
    code = """
made = guard.install(EgressPolicy.from_text("1", ""), folder, mode="report")
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    made._on_connect(udp, ("192.0.2.1", 9))
    outcome = "passed"
except AirgapBlocked:
    outcome = "refused"
from airgap import events
from airgap.spool import waiting_segments
events.recorder().spool.seal()
print(json.dumps([outcome, [record.key[0] for waiting in waiting_segments(folder) for record in waiting.read().records]]))
"""
    assert json.loads(run(code, tmp_path)) == ["passed", ["192.0.2.1"]]


def test_an_event_loop_in_c_is_refused(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("", encoding="utf-8")
    code = """
guard.install(EgressPolicy.from_text("1", ""), folder)
try:
    import uvloop
    print("imported")
except guard.GuardError as error:
    print("refused" if "uvloop" in str(error) else error)
"""
    assert run(code, tmp_path, PYTHONPATH=str(tmp_path)) == "refused"


def test_a_client_in_c_and_a_network_command_are_told(tmp_path: Path) -> None:
    (tmp_path / "pycurl.py").write_text("", encoding="utf-8")
    code = """
import subprocess
made = guard.install(EgressPolicy.from_text("1", ""), folder)
import pycurl
try:
    subprocess.run(["curl", "--version"], capture_output=True)
except FileNotFoundError:
    pass
print(json.dumps(made.unguarded()))
"""
    assert json.loads(run(code, tmp_path, PYTHONPATH=str(tmp_path))) == ["pycurl", "subprocess curl"]


def test_a_hook_that_the_interpreter_does_not_take_is_noticed(tmp_path: Path) -> None:
    """An earlier hook that raises makes adding one a silent no-op; the self-test must not be fooled."""
    code = """
def veto(event, args):
    if event == "sys.addaudithook":
        raise RuntimeError("no more hooks")
sys.addaudithook(veto)
try:
    guard.install(EgressPolicy.from_text("1", ""), folder)
    print("installed")
except guard.GuardError:
    print("refused")
"""
    assert run(code, tmp_path) == "refused"


def test_what_is_no_egress_goes_on_working(tmp_path: Path) -> None:
    code = """
guard.install(EgressPolicy.from_text("1", ""), folder)
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
socket.create_connection(("localhost", server.getsockname()[1])).close()
left, right = socket.socketpair()
left.sendmsg([b"x"])
socket.socket(socket.AF_UNIX).close()
socket.getaddrinfo(None, 80)
socket.getaddrinfo("8.8.8.8", 80)
socket.getfqdn()
print("ok")
"""
    assert run(code, tmp_path) == "ok"


# ── The judgements, without a hook ───────────────────────────────────────────────────────────────────────────────────
def test_a_public_address_is_dialled_only_for_an_allowlisted_name_that_answered_it() -> None:
    made = Guard(EgressPolicy.from_text("1", "intel.example.com:443"), "enforce")
    assert not made.judge_address("93.184.216.34", 443).allowed
    made.answers.record("intel.example.com", {"93.184.216.34"})
    assert made.judge_address("93.184.216.34", 443).allowed
    assert not made.judge_address("93.184.216.34", 80).allowed, "the entry's port holds at connect"
    made.answers.record("x.internal", {"93.184.216.35"})
    assert made.judge_address("93.184.216.35", 443).rule is Rule.PRIVATE_NAME_PUBLIC_ANSWER


def test_the_memory_of_answers_is_bounded_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = AnswerMemory()
    for number in range(MAX_ADDRESSES + 100):
        memory.record(f"h{number}", {f"a{number}"})
    for number in range(MAX_NAMES + 5):
        memory.record(f"n{number}", {"shared"})
    assert len(memory._names) <= MAX_ADDRESSES
    assert len(memory.names_of("shared")) == MAX_NAMES
    assert memory.names_of("a0") == []
    from airgap import answers

    now = answers.time.monotonic()
    monkeypatch.setattr(answers.time, "monotonic", lambda: now + KEPT_FOR + 1)
    assert memory.names_of("shared") == []
