"""What the page "Deployment & AI" shows: the snapshots of the public API, the processes, and where each value comes from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from airgap.snapshot import AirgapSnapshot, UrlDecision, airgap_snapshot, explain_url
from console.capabilities import CapabilityRow, capability_rows
from console.database import DATABASE_AWAY
from console.egress import blocked_lately
from console.fleet import Fleet, read_fleet
from console.guard import guard_sentence, guard_verdict
from console.process import ProcessSnapshot, process_snapshot
from console.provenance import Origin, origin_of
from console.verdict import Banner, deployment_banner, llm_verdict
from llm.config import LLMConfig, Provider, from_environment
from llm.outcomes import EndpointHealth, health_of
from llm.resolver import resolved_for
from llm.snapshot import LLMSnapshot, llm_snapshot
from threatintel.snapshot import Verdict

MESSAGES_PATH = "/messages"
CHAT_PATH = "/chat/completions"


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """The LLM snapshot with what follows from it for people. `call_url` is what a live answer is asked of."""

    snapshot: LLMSnapshot
    verdict: Verdict
    call_url: str
    decision: UrlDecision | None


@dataclass(frozen=True, slots=True)
class DeploymentPage:
    """One answer of the page, in HTML, Markdown and JSON alike. `blocked`: attempts of the last 24 h; it, `lately` and `capabilities` are None when not known."""

    banner: Banner
    computed_at: datetime
    airgap: AirgapSnapshot
    model: LanguageModel
    process: ProcessSnapshot
    fleet: Fleet
    blocked: int | None
    lately: EndpointHealth | None
    capabilities: list[CapabilityRow] | None
    guard_verdict: Verdict
    guard_sentence: str
    origins: Mapping[str, Origin]

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.banner.verdict,
            "sentence": self.banner.sentence,
            "points": list(self.banner.points),
            "computed_at": self.computed_at,
            "airgap": self.airgap.as_dict(),
            "blocked_24h": self.blocked,
            "llm": self.model.snapshot.as_dict(),
            "llm_lately": None if self.lately is None else asdict(self.lately),
            "capabilities": None if self.capabilities is None else [row.as_dict() for row in self.capabilities],
            "processes": [row.as_dict() for row in self.fleet.rows],
            "seen_by": self.process.as_dict(),
            "origins": {name: asdict(origin) for name, origin in self.origins.items()},
        }


def deployment_page() -> DeploymentPage:
    """Computed from this process, and from the heartbeats of all when the database is there."""
    airgap, model, process = airgap_snapshot(), language_model(), process_snapshot()
    fleet, lately = read_fleet(process), answered_lately()
    return DeploymentPage(
        banner=deployment_banner(airgap, process.guard, model.snapshot, process.checks, fleet, lately),
        computed_at=timezone.now(),
        airgap=airgap,
        model=model,
        process=process,
        fleet=fleet,
        blocked=blocked_lately(),
        lately=lately,
        capabilities=capability_rows(),
        guard_verdict=guard_verdict(airgap.enabled, process.guard),
        guard_sentence=guard_sentence(airgap.enabled, process.guard),
        origins=origins(model.snapshot),
    )


def answered_lately() -> EndpointHealth | None:
    """How the environment's endpoint answered; None when the database is away."""
    try:
        return health_of(resolved_for(None))
    except DATABASE_AWAY:
        return None


def language_model() -> LanguageModel:
    snapshot = llm_snapshot()
    path = MESSAGES_PATH if snapshot.provider == Provider.ANTHROPIC else CHAT_PATH
    return LanguageModel(
        snapshot,
        llm_verdict(snapshot),
        call_url=snapshot.base_url + path if snapshot.base_url else "",
        decision=explain_url(snapshot.base_url) if snapshot.base_url else None,
    )


def origins(llm: LLMSnapshot) -> dict[str, Origin]:
    """The origin of each value on the page."""
    family = llm_family()
    return {
        "mode": origin_of("AISOC_AIRGAPPED"),
        "allowlist": origin_of("AISOC_AIRGAP_ALLOWLIST"),
        "guard": origin_of("AISOC_AIRGAP_GUARD"),
        "base_url": origin_of(f"{family}_BASE_URL", in_use=bool(llm.base_url)),
        "model": origin_of(f"{family}_MODEL", in_use=bool(llm.model)),
        "api_key": origin_of(f"{family}_API_KEY"),
    }


def llm_family() -> str:
    """The family of variables that is in use, by the resolver's own reading: does the LLM family alone give a connection?"""
    families: Mapping[str, tuple[str, str, str]] = settings.ENV.llm_families
    alone = from_environment({**families, "OPENAI": ("", "", "")})
    return "LLM" if alone != LLMConfig() or from_environment(families) == LLMConfig() else "OPENAI"
