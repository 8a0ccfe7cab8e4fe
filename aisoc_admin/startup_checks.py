"""Settings that the gate will refuse in use: LLM, feeds, mail and channels on public hosts. They stop nothing; they are said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from airgap import events
from airgap.events import AIRGAP_GUARD_NOT_ENFORCING, AIRGAP_SETTINGS_REFUSED
from airgap.hosts import Malformed, Url
from airgap.policy import Decision, EgressPolicy
from aisoc_admin.env import Environment

GUARD_SENTENCES = {
    "report": "AISOC_AIRGAP_GUARD=report: the process guard logs and counts, and refuses nothing.",
    "off": "AISOC_AIRGAP_GUARD=off: there is no process guard; clients that this product did not write are not held back.",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A variable whose URL the policy refuses."""

    variable: str
    host: str
    port: int
    decision: Decision


def _urls(env: Environment) -> dict[str, str]:
    """The URLs that this configuration would use, by variable."""
    return {
        "LLM_BASE_URL": env.llm_base_url,
        "OPENAI_BASE_URL": env.openai_base_url or ("https://api.openai.com/v1" if env.openai_api_key and not env.llm_base_url else ""),
        "ANTHROPIC_BASE_URL": env.anthropic_base_url,
        "CISA_KEV_URL": env.kev_url,
        "TAXII_URL": env.taxii_url,
        "MISP_URL": env.misp_url,
        "OTX_BASE_URL": env.otx_base_url if env.otx_api_key else "",
        "VT_BASE_URL": env.vt_base_url if env.vt_api_key else "",
        "SLACK_WEBHOOK_URL": env.slack_webhook_url,
        "TEAMS_WEBHOOK_URL": env.teams_webhook_url,
        "ALERT_WEBHOOK_URL": env.alert_webhook_url,
        "PAGERDUTY_URL": env.pagerduty_url if env.pagerduty_routing_key else "",
        "OPSGENIE_URL": env.opsgenie_url if env.opsgenie_api_key else "",
        "AISOC_EGRESS_PROXY": env.egress_proxy,
    }


def refused_settings(env: Environment) -> Iterator[Refused]:
    """Under air gap, the settings whose host the policy refuses. Asks the policy alone: nothing is sent, resolved or recorded."""
    policy = env.policy
    if not policy.enabled:
        return
    for variable, text in _urls(env).items():
        url = Url.parse(text) if text else Malformed("unset")
        if isinstance(url, Url) and not (decision := policy.decide_url(text)).allowed:
            yield Refused(variable, str(url.host), url.port, decision)
    if env.email is not None and not (decision := policy.decide_host(env.email.host, env.email.port)).allowed:
        yield Refused("EMAIL_URL", env.email.host, env.email.port, decision)


def public_search_domains(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The resolver's search domains (resolv.conf(5)) that the policy would not let be contacted: short names are asked in them too."""
    policy: EgressPolicy = settings.AIRGAP_POLICY
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if policy.enabled else []
    except OSError:
        return []
    domains = [word for line in lines if (words := line.split()) and words[0] in ("search", "domain") for word in words[1:] if word != "."]
    return [domain for domain in domains if not policy.decide_host(f"name.{domain}").allowed]


@checks.register("airgap")
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:
    """airgap.W001 for each refused setting, airgap.W002 for a guard that does not enforce."""
    found: list[checks.CheckMessage] = [
        checks.Warning(
            f"{refused.variable} names a host that the air gap refuses: {refused.decision.reason}",
            hint="Point it at an internal host or mirror, or put the host on AISOC_AIRGAP_ALLOWLIST.",
            id="airgap.W001",
        )
        for refused in refused_settings(settings.ENV)
    ]
    if settings.AIRGAP_POLICY.enabled and settings.AIRGAP_GUARD in GUARD_SENTENCES:
        found.append(checks.Warning(GUARD_SENTENCES[settings.AIRGAP_GUARD], hint="Set AISOC_AIRGAP_GUARD=enforce.", id="airgap.W002"))
    found += [
        checks.Warning(
            f"The system's resolver completes short names with {domain}, which the air gap refuses: they are asked of the DNS in it too.",
            hint="Use an internal search domain in resolv.conf, or put this one on AISOC_AIRGAP_ALLOWLIST.",
            id="airgap.W003",
        )
        for domain in public_search_domains()
    ]
    return found


def tell_warnings() -> None:
    """The same in the log, at the start of a process that runs no system checks."""
    if refused := list(refused_settings(settings.ENV)):
        events.log.warning(
            AIRGAP_SETTINGS_REFUSED,
            settings=[{"variable": one.variable, "host": one.host, "port": one.port, "rule": one.decision.rule.value} for one in refused],
        )
    if settings.AIRGAP_POLICY.enabled and settings.AIRGAP_GUARD in GUARD_SENTENCES:
        events.log.warning(AIRGAP_GUARD_NOT_ENFORCING, mode=settings.AIRGAP_GUARD, reason=GUARD_SENTENCES[settings.AIRGAP_GUARD])
