"""The firewall probe: what the script finds on loopback, and that no half of an output is taken for a whole one."""

import io
import socket
import subprocess

import pytest
from django.core.management import call_command

from airgap.probe import HEAD, SCRIPT, TARGETS, ProbeError, read_probe


def test_the_command_prints_the_script_and_runs_nothing() -> None:
    out = io.StringIO()
    call_command("airgap_probe", stdout=out)
    assert out.getvalue() == SCRIPT
    assert all(target in SCRIPT for target in TARGETS)


def test_the_script_tells_a_door_that_is_open_from_one_that_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_door, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        opened, shut = f"127.0.0.1:{open_door.getsockname()[1]}", f"127.0.0.1:{closed.getsockname()[1]}"
        both = subprocess.run(["sh", "-s", shut, opened], input=SCRIPT, capture_output=True, text=True, timeout=30, check=False)
        none = subprocess.run(["sh", "-s", shut], input=SCRIPT, capture_output=True, text=True, timeout=30, check=False)
    assert (both.returncode, none.returncode, both.stderr + none.stderr) == (1, 0, "")
    probe = read_probe(both.stdout)
    assert (probe.reached, probe.targets, probe.host) == ((opened,), 2, socket.gethostname())
    assert read_probe(none.stdout).reached == ()


GOOD = [
    HEAD,
    "at 2026-11-26T00:00:00Z",
    "host soc-1",
    "target 1.1.1.1:443 denied TimeoutError",
    "target example.com:443 unresolved",
    "result denied 2 of 2",
]


def test_a_whole_output_is_read() -> None:
    assert read_probe("\n".join(GOOD)).sentence == "The probe on soc-1 at 2026-11-26T00:00:00Z reached none of 2 targets."


@pytest.mark.parametrize(
    "lines",
    [
        [],
        GOOD[1:],
        GOOD[:-1],
        [*GOOD[:3], GOOD[-1]],
        [*GOOD[:4], GOOD[-1]],
        [*GOOD[:-1], "result reached 1 of 2"],
        [*GOOD[:3], "target 1.1.1.1:443 reached", GOOD[4], "result denied 2 of 2"],
        [*GOOD[:-1], "it was fine", GOOD[-1]],
        [HEAD, GOOD[2], GOOD[2], *GOOD[3:]],
    ],
)
def test_what_is_cut_or_contradicts_itself_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProbeError):
        read_probe("\n".join(lines))
