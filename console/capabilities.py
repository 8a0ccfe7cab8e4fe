"""How each capability answered lately, for the page "Deployment & AI"."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from console.database import DATABASE_AWAY
from llm.resolver import Path
from llm.uses import Use, uses
from threatintel.snapshot import Verdict

CAUSES: Final = {
    "not_configured": "no model is configured",
    "refused": "the connection is refused or incomplete",
    "busy": "the model was busy",
    "unreachable": "the model was not reached, or did not answer in time",
    "rejected": "the model's server refused",
    "invalid": "the model's answer could not be used",
}


@dataclass(frozen=True, slots=True)
class CapabilityRow:
    """One capability by its latest answer. why: of a fallback, in words."""

    use: Use
    verdict: Verdict
    why: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self.use)


def capability_rows() -> list[CapabilityRow] | None:
    """By name; those that have answered since the deployment began. None when the database is away."""
    try:
        return [_row(use) for use in uses()]
    except DATABASE_AWAY:
        return None


def _row(use: Use) -> CapabilityRow:
    if use.path is Path.LIVE:
        return CapabilityRow(use, Verdict.OK, "")
    verdict = Verdict.OFF if use.cause == "not_configured" else Verdict.ATTENTION
    return CapabilityRow(use, verdict, CAUSES.get(use.cause, use.cause))
