"""How a resolved connection answers, in a verdict and words: LIVE, LIVE but failing, LIVE but not tried yet, FALLBACK. Pure."""

from dataclasses import dataclass
from datetime import datetime

from llm.outcomes import EndpointHealth, Lately
from llm.resolver import ResolvedLLM, Source
from threatintel.snapshot import Verdict

NOT_KNOWN = "How it answered lately is kept in the database, which is away."


@dataclass(frozen=True, slots=True)
class PathShown:
    """state: stable, for filters and JSON. since: of a failure, or the last answer; None where there is none."""

    state: str
    verdict: Verdict
    words: str
    why: str
    since: datetime | None = None

    @property
    def since_words(self) -> str:
        """What `since` is the time of."""
        return "failing since" if self.state == "failing" else "answered last"


def path_shown(resolved: ResolvedLLM, health: EndpointHealth | None, problem: str = "") -> PathShown:
    """health: None when it cannot be read. problem: why the tenant's own row cannot be used, which is worse than a row that lacks something."""
    if not resolved.allowed:
        return PathShown("fallback", _fallback(resolved, problem), "FALLBACK", resolved.reason)
    if health is None:
        return PathShown("untried", Verdict.UNKNOWN, "LIVE, not known if it works", NOT_KNOWN)
    match health.state:
        case Lately.FAILING:
            return PathShown("failing", Verdict.ATTENTION, "LIVE, but failing", health.reason, health.since)
        case Lately.NEVER_TRIED:
            return PathShown("untried", Verdict.UNKNOWN, "LIVE, not tried yet", resolved.reason)
        case Lately.LIVE:
            return PathShown("live", Verdict.OK, "LIVE", resolved.reason, health.since)


def _fallback(resolved: ResolvedLLM, problem: str) -> Verdict:
    if resolved.source is Source.NONE or not resolved.compliant:
        return Verdict.OFF  # the gate at work is told beside it
    return Verdict.FAILING if problem else Verdict.ATTENTION
