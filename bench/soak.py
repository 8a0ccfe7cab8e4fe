"""Sustained load on a whole deployment, with a kill every 30 seconds: `.venv/bin/python bench/soak.py [SECONDS]` (300).

Two webs, three workers, two schedulers, one PostgreSQL, one Valkey, all on this machine (tests/plugins/cluster.py). Four clients ask for
status, a look-up and events through a balancer that passes over a web which does not answer. One process is killed with SIGKILL every
30 s and started again two seconds later. Prints JSON; exit status 1 when an answer was wrong, an error came at another time than in the
two seconds after a kill, the memory of a process that lived throughout grew by more than a tenth between the fourth tenth of the run and
its end, or a poll that was begun did not come to its end (a slot that a new leader's took before it began is no loss).
"""

import http.client
import itertools
import json
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.plugins.cluster import Cluster, cluster, wait
from tests.plugins.kev import catalogue, row
from tests.plugins.mirror import Mirror, body

CLIENTS = 4
KILL_EVERY = 30.0
AFTER_A_KILL = 2.0  # seconds in which an error is the kill's
VICTIMS = ("web-1", "worker-1", "beat-1", "worker-3")
SURVIVORS = ("web-2", "worker-2", "beat-2")
KNOWN, UNKNOWN = "CVE-2024-10007", "CVE-1999-0001"
LOOKUP = json.dumps({"values": [KNOWN, UNKNOWN, "10.0.0.1"]}).encode()
GROWTH = 1.10


class Load:
    """What the clients saw: answers, latencies, and each fault with its moment."""

    def __init__(self, of: Cluster) -> None:
        self.of = of
        self.over = threading.Event()
        self.counts: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.errors: list[tuple[float, str]] = []
        self.wrong: list[str] = []

    def run(self, number: int) -> None:
        asks = {"status": self._status, "lookup": self._lookup, "events": self._events}
        for name, ask in itertools.islice(itertools.cycle(asks.items()), number, None):
            if self.over.is_set():
                return
            began = time.monotonic()
            try:
                status, right = ask()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append((began, f"{name}: {type(error).__name__}"))
                continue
            if status >= 500:
                self.errors.append((began, f"{name}: {status}"))
            elif status != 200 or not right:
                self.wrong.append(f"{name}: {status}")
            else:
                self.counts[name] += 1
                self.latencies.append(time.monotonic() - began)

    def _status(self) -> tuple[int, bool]:
        answer = self.of.balanced("/api/v1/airgap/status")
        return answer.status, answer.status != 200 or answer.json()["enabled"] is True

    def _lookup(self) -> tuple[int, bool]:
        answer = self.of.balanced("/api/v1/iocs/lookup", body=LOOKUP)
        if answer.status != 200:
            return answer.status, False
        found = answer.json()
        return 200, found["checked"] == 3 and [match["value"] for match in found["matches"]] == [KNOWN]

    def _events(self) -> tuple[int, bool]:
        answer = self.of.balanced("/api/v1/airgap/events")
        return answer.status, answer.status != 200 or answer.json()["results"] == []


def memory(of: Cluster, name: str) -> int:
    """KiB of anonymous memory that the process and its children hold, what they share counted once."""
    total, waiting = 0, [of.processes[name].pid]
    while waiting:
        pid = waiting.pop()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:"))
        waiting += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return total


def main(seconds: float) -> int:
    mirror = Mirror()
    mirror.answers["/kev.json"] = body(catalogue([row(number) for number in range(1400)]))
    with cluster(CISA_KEV_URL=f"{mirror.url}/kev.json", CISA_KEV_POLL_INTERVAL="10") as of:
        wait(lambda: any(state == "ok" for _slot, state, _attempts in of.runs()), 60, of)
        load = Load(of)
        clients = [threading.Thread(target=load.run, args=(number,)) for number in range(CLIENTS)]
        began, kills, samples = time.monotonic(), [], []
        for client in clients:
            client.start()
        victims = itertools.cycle(VICTIMS)
        while (passed := time.monotonic() - began) < seconds:
            if passed > KILL_EVERY * (len(kills) + 1):
                victim = next(victims)
                kills.append((time.monotonic(), victim))
                of.kill(victim)
                time.sleep(2)
                of.start(victim)
            samples.append({name: memory(of, name) for name in SURVIVORS})
            time.sleep(1)
        load.over.set()
        for client in clients:
            client.join()
        took = time.monotonic() - began
        wait(lambda: not any(state in ("queued", "running") for _slot, state, _attempts in of.runs()), 60, of)
        runs = of.runs()
    mirror.close()
    outside = [what for at, what in load.errors if not any(0 <= at - killed + 0.5 <= AFTER_A_KILL + 0.5 for killed, _ in kills)]
    tenth = max(1, len(samples) // 10)
    early, late = samples[3 * tenth : 5 * tenth] or samples[:1], samples[-2 * tenth :]  # each process has done each kind of work by then
    growth = {name: statistics.median(s[name] for s in late) / statistics.median(s[name] for s in early) for name in SURVIVORS}
    claims = {
        "no wrong answer": not load.wrong,
        f"errors only within {AFTER_A_KILL:.0f} s of a kill": not outside,
        "memory grows by less than a tenth": all(value < GROWTH for value in growth.values()),
        "every poll that was begun came to its end": all(state == "ok" for _slot, state, attempts in runs if attempts),
    }
    ordered = sorted(load.latencies)
    report = {
        "seconds": round(took),
        "kills": [victim for _, victim in kills],
        "answers": dict(load.counts),
        "answers_per_s": round(sum(load.counts.values()) / took, 1),
        "latency_ms": {f"p{part}": round(1000 * ordered[int(len(ordered) * part / 100)], 1) for part in (50, 95, 99)},
        "errors": dict(Counter(what for _, what in load.errors)),
        "errors_elsewhen": outside,
        "wrong": dict(Counter(load.wrong)),
        "memory_mib": {name: round(statistics.median(s[name] for s in late) / 1024) for name in SURVIVORS},
        "memory_mib_by_tenths": {name: [round(s[name] / 1024) for s in samples[::tenth]] for name in SURVIVORS},
        "memory_growth": {name: round(value, 3) for name, value in growth.items()},
        "polls": dict(Counter(f"{state} in {attempts}" for _slot, state, attempts in runs)),
        "claims": claims,
    }
    print(json.dumps(report, indent=2))
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 300))
