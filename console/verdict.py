"""The one sentence and one badge on top of a page. Pure: values in, a banner out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airgap.snapshot import AirgapSnapshot, GuardSnapshot
from llm.resolver import Path
from llm.snapshot import LLMSnapshot
from threatintel.snapshot import FeedSnapshot, Verdict

NO_PROVIDER = "none"
OK_CHECK = "ok"


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict with its sentence, and the points that led to it."""

    verdict: Verdict
    sentence: str
    points: tuple[str, ...] = ()


def deployment_banner(
    airgap: AirgapSnapshot, guard: GuardSnapshot, llm: LLMSnapshot, checks: Mapping[str, str], *, missing: Sequence[str] = ()
) -> Banner:
    """The verdict on what this process knows of itself. `missing`: the parts that could not be computed, and why."""
    if airgap.enabled and guard.mode == "enforce" and not (guard.active and guard.selftest):
        return Banner(
            Verdict.FAILING,
            "The process guard is set to enforce, but it is not working in this process. Restart it; its log says why.",
            tuple(missing),
        )
    points = (*_llm_points(llm), *_check_points(checks))
    if missing:
        return Banner(Verdict.UNKNOWN, "This page could not be computed in full.", tuple(missing))
    if not airgap.enabled:
        return Banner(Verdict.OFF, "Outbound requests are not restricted: air-gap mode is off in this process.", points)
    points = (*_guard_points(guard), *points)
    match len(points):
        case 0:
            return Banner(Verdict.OK, "This process is air-gapped: the gate and the process guard are in force.")
        case 1:
            return Banner(Verdict.ATTENTION, "This process is air-gapped; one point needs attention.", points)
        case count:
            return Banner(Verdict.ATTENTION, f"This process is air-gapped; {count} points need attention.", points)


def guard_verdict(airgapped: bool, guard: GuardSnapshot) -> Verdict:
    if not airgapped:
        return Verdict.OFF
    if guard.mode == "enforce":
        return Verdict.OK if guard.active and guard.selftest else Verdict.FAILING
    return Verdict.ATTENTION


def guard_sentence(airgapped: bool, guard: GuardSnapshot) -> str:
    """What the mode of the process guard means here."""
    if not airgapped:
        return "Not installed: it works under air gap only."
    match guard.mode:
        case "enforce" if guard.active and guard.selftest:
            return "Clients that this product did not write are held back too; the self-test passed."
        case "enforce":
            return "It is set to enforce, but it is not working. Restart this process; its log says why."
        case "report":
            return "It logs and counts, and stops nothing. Set AISOC_AIRGAP_GUARD=enforce and restart."
        case "off":
            return "It is switched off. Set AISOC_AIRGAP_GUARD=enforce and restart."
        case _:
            return (
                "It is not installed in this process, and no setting changes that. "
                "This product's own clients pass the gate; for any other client the perimeter firewall must hold."
            )


def llm_verdict(llm: LLMSnapshot) -> Verdict:
    if llm.effective_path == Path.LIVE:
        return Verdict.OK
    if llm.provider == NO_PROVIDER:
        return Verdict.OFF
    return Verdict.ATTENTION if llm.airgap_compliant else Verdict.REFUSED


def feeds_banner(feeds: Sequence[FeedSnapshot], *, missing: Sequence[str] = ()) -> Banner:
    """The worst state of the registered feeds. A refused feed is the gate at work and makes nothing worse."""
    by_state = {state: [feed for feed in feeds if feed.state is state] for state in Verdict}
    refused, off = len(by_state[Verdict.REFUSED]), len(by_state[Verdict.OFF])
    registered = len(feeds) - refused - off
    troubled = len(by_state[Verdict.ATTENTION]) + len(by_state[Verdict.FAILING])
    if missing:
        return Banner(Verdict.UNKNOWN, "The state of the feeds could not be computed.", tuple(missing))
    if not registered and not refused:
        sentence = "No feed is configured. Set the variables of a feed below and restart; refused feeds are listed here too."
        return Banner(Verdict.OFF, sentence)
    attention = f", {troubled} of them {'needs' if troubled == 1 else 'need'} attention" if troubled else ""
    sentence = f"{registered} registered{attention} · {refused} refused at registration · {off} off."
    worst = next((state for state in (Verdict.FAILING, Verdict.ATTENTION, Verdict.UNKNOWN, Verdict.OK) if by_state[state]), Verdict.REFUSED)
    return Banner(worst, sentence)


def _guard_points(guard: GuardSnapshot) -> tuple[str, ...]:
    return () if guard.mode == "enforce" else (f"Process guard: {guard.mode}. {guard_sentence(True, guard)}",)


def _llm_points(llm: LLMSnapshot) -> tuple[str, ...]:
    if llm.effective_path == Path.LIVE or llm.provider == NO_PROVIDER:
        return ()
    return (f"Answers take the deterministic fallback. {llm.policy_note}",)


def _check_points(checks: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"Health check {name}: {text}" for name, text in checks.items() if text != OK_CHECK)
