"""The probe of the egress firewall: a script that an operator runs on a host of the SOC subnet, and the reading of what it printed.

The product never runs it. It is bounded: a few targets, three seconds each, one packet's worth of a handshake, nothing sent.
"""

import re
from dataclasses import dataclass
from typing import Final

HEAD: Final = "aisoc-probe 1"
TARGETS: Final = ("1.1.1.1:443", "8.8.8.8:53", "9.9.9.9:853", "[2606:4700:4700::1111]:443", "example.com:443", "example.com:80")
_LINE = re.compile(r"target (\S{1,255}) (reached|denied|unresolved)(?: .*)?")
_RESULT = re.compile(r"result (reached|denied) ([0-9]{1,4}) of ([0-9]{1,4})")

SCRIPT: Final = """#!/bin/sh
# Tries to leave: one TCP handshake to each target, 3 s each, nothing sent. Run it on a host of the SOC subnet that has Python 3, as
#     sh probe.sh | tee probe.txt
# and file what it prints; the last line says how it ended. With arguments host:port it tries those instead.
# The status is 0 when every target was denied; at the end of a pipe the shell tells that of the last command instead.
exec python3 - "$@" <<'END'
import socket, sys, time
targets = sys.argv[1:] or "{targets}".split()
print("aisoc-probe 1")
print("at", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
print("host", socket.gethostname())
reached = 0
for target in targets:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
        reached += 1
        print("target", target, "reached")
    except socket.gaierror:
        print("target", target, "unresolved")
    except OSError as error:
        print("target", target, "denied", type(error).__name__)
    sys.stdout.flush()
print("result reached %d of %d" % (reached, len(targets)) if reached else "result denied %d of %d" % (len(targets), len(targets)))
sys.exit(1 if reached else 0)
END
""".replace("{targets}", " ".join(TARGETS))


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe printed. `reached`: the targets that the firewall let through."""

    host: str
    at: str
    targets: int
    reached: tuple[str, ...]

    @property
    def sentence(self) -> str:
        if self.reached:
            return f"The probe on {self.host} at {self.at} got out: it reached {', '.join(self.reached)}."
        return f"The probe on {self.host} at {self.at} reached none of {self.targets} targets."


class ProbeError(ValueError):
    """The text is not the whole output of a probe."""


def read_probe(text: str) -> Probe:
    """Raises ProbeError for text that is not a probe's whole output, or that contradicts itself."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines or lines[0] != HEAD:
        raise ProbeError(f"The output of the probe begins with the line {HEAD!r}.")
    words = dict(line.split(" ", 1) for line in lines[1:3] if " " in line)
    found = [match for line in lines[3:-1] if (match := _LINE.fullmatch(line)) is not None]
    result = _RESULT.fullmatch(lines[-1])
    if result is None or not found or len(found) != len(lines) - 4 or set(words) != {"at", "host"}:
        raise ProbeError("The output of the probe is not complete: it has the lines at, host, one for each target, and result.")
    reached = tuple(match[1] for match in found if match[2] == "reached")
    said = (result[1] == "reached", int(result[2]), int(result[3]))
    if said != (bool(reached), len(reached) or len(found), len(found)):
        raise ProbeError("The result of the probe does not fit its lines.")
    return Probe(words["host"][:120], words["at"][:40], len(found), reached)
