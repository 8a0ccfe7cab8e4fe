"""The whole product under hostile configurations: `python -m tests.egress.product`, run by tests/egress/lab.py in its namespace.

Starts three deployments as bin/up does, which differ in where CISA_KEV_URL points, waits until each has tried what it was to
try, and prints {"deployments": {name: {"runs": [[feed, state, rule]], "trail": [row], "health": [of web, worker
and beat], "llm": status}}, "vendored": [Attempt]}. One has a second web, in which a vendored library phones home.
"""

import json
import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.egress import vendored
from tests.egress.running import GUNICORN, Program, ask, awaited, rows, running, trail
from tests.plugins.mirror import Mirror, redirect
from tests.plugins.processes import free_port

PUBLIC, REDIRECTING, REBINDING = "public", "redirecting", "rebinding"
REDIRECTED, REBOUND, PROXY = "redirected.example.com", "rebind.internal", "proxy.example.com"
HOSTILE = {
    "CISA_KEV_URL": "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
    "OTX_BASE_URL": "https://otx.alienvault.com",
    "OTX_API_KEY": "planted",
    "TAXII_URL": "https://taxii.example.com/taxii2/",
    "TAXII_API_ROOT": "intel",
    "TAXII_COLLECTION_IDS": "indicators",
    "TAXII_USERNAME": "planted",
    "TAXII_PASSWORD": "planted",
    "MISP_URL": "https://misp.example.com",
    "MISP_API_KEY": "planted",
    "MISP_PUSH_AUTO": "1",
    "VT_API_KEY": "planted",
    "LLM_BASE_URL": "https://llm.example.com/v1",
    "LLM_API_KEY": "planted",
    "LLM_MODEL": "m",
    "OPENAI_BASE_URL": "https://api.openai.com/v1",
    "OPENAI_API_KEY": "planted",
    "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
    "ANTHROPIC_API_KEY": "planted",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/planted",
    "TEAMS_WEBHOOK_URL": "https://example.webhook.office.com/planted",
    "ALERT_WEBHOOK_URL": "https://hooks.example.com/planted",
    "PAGERDUTY_ROUTING_KEY": "planted",
    "OPSGENIE_API_KEY": "planted",
    "EMAIL_URL": "smtp+tls://planted:planted@smtp.example.com:587",
    "ALERT_EMAIL_TO": "soc@example.com",
    "NO_PROXY": f"127.0.0.1,{REDIRECTED},{REBOUND},www.cisa.gov",
    **{f"{scheme}_proxy": f"http://{PROXY}:3128" for scheme in ("http", "https", "all")},
    **{f"{scheme}_PROXY": f"http://{PROXY}:3128" for scheme in ("HTTP", "HTTPS", "ALL")},
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """What one bin/up serves and stores. tries: the hosts that are in its trail once it has tried them; polls: whether it polls the KEV feed."""

    data: Path
    port: int
    kev_url: str
    tries: frozenset[str]
    polls: bool = True

    def program(self, *arguments: str, port: int = 0) -> Program:
        own = {"CISA_KEV_URL": self.kev_url, "AISOC_DATA_DIR": str(self.data), "PORT": str(port or self.port)}
        return Program(arguments, {**os.environ, **HOSTILE, **own})

    def is_done(self) -> bool:
        return (bool(self.runs()) or not self.polls) and self.tries <= {row["host"] for row in trail(self.data)} and all(self.health())

    def runs(self) -> list[list[Any]]:
        return rows(self.data, "SELECT feed, state, rule FROM threatintel_feedrun WHERE feed = 'kev' AND reason <> ''")

    def health(self) -> list[Any]:
        return [ask(self.port + offset, "/health") for offset in range(3)]

    def seen(self) -> dict[str, Any]:
        return {"runs": self.runs(), "trail": trail(self.data), "health": self.health(), "llm": ask(self.port, "/api/v1/llm/status")}


def deployments(data: Path, port: int, mirror: str, *, on: bool) -> dict[str, Deployment]:
    tries = {REDIRECTING: {REDIRECTED, *(host for _, host, _ in vendored.CALLS)}, REBINDING: {REBOUND}}
    found = {
        name: Deployment(data / name, port + 3 * number, kev_url, frozenset(tries[name] if on else ()))
        for number, (name, kev_url) in enumerate({REDIRECTING: f"{mirror}/kev.json", REBINDING: f"http://{REBOUND}:80/kev.json"}.items())
    }
    if on:  # off it would only show again what the others show
        found[PUBLIC] = Deployment(data / PUBLIC, port + 6, HOSTILE["CISA_KEV_URL"], frozenset(), polls=False)
    return found


def main() -> None:
    data, port = Path(os.environ["AISOC_DATA_DIR"]), free_port(10)
    data.mkdir()
    log = data / "product.log"
    mirror = Mirror()
    mirror.answers["/kev.json"] = redirect(f"http://{REDIRECTED}/kev.json?stolen=1")
    every = deployments(data, port, mirror.url, on=os.environ["AISOC_AIRGAPPED"] == "1")
    with closing(mirror), running(*(one.program("-m", "aisoc_admin.supervise") for one in every.values()), log=log) as started:
        processes = dict(zip(every, started, strict=True))
        first = every[REDIRECTING]
        awaited("the first web", lambda: (ask(first.port, "/ready") or {}).get("ready"), processes[REDIRECTING])
        with running(first.program(*GUNICORN, port=port + 9), log=log) as (beside,):
            calls = awaited("the vendored library", lambda: ask(port + 9, "/egress/vendored", timeout=30), beside)
            for name, deployment in every.items():
                awaited(name, deployment.is_done, processes[name])
            seen = {name: deployment.seen() for name, deployment in every.items()}
    print(json.dumps({"deployments": seen, "vendored": calls}))


if __name__ == "__main__":
    main()
