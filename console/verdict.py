"""The one sentence and one badge on top of a page. Pure: values in, a banner out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airgap.snapshot import AirgapSnapshot, GuardSnapshot
from console.fleet import Fleet
from console.guard import guard_verdict
from console.wording import in_words, sentence_case
from llm.outcomes import EndpointHealth, Lately
from llm.resolver import Path
from llm.snapshot import LLMSnapshot
from threatintel.snapshot import FeedSnapshot, Verdict

NO_PROVIDER = "none"
OK_CHECK = "ok"
MOST_POINTS = 6  # of processes


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict with its sentence, and the points that led to it."""

    verdict: Verdict
    sentence: str
    points: tuple[str, ...] = ()


def deployment_banner(
    airgap: AirgapSnapshot,
    guard: GuardSnapshot,
    llm: LLMSnapshot,
    checks: Mapping[str, str],
    fleet: Fleet,
    lately: EndpointHealth | None = None,
) -> Banner:
    """The verdict on the deployment, as far as this process knows it. FAILING, UNKNOWN, ATTENTION, OFF, OK: the worst wins."""
    points = (*_fleet_points(fleet), *_llm_points(llm, lately), *_check_points(checks))
    if guard_verdict(airgap.enabled, guard) is Verdict.FAILING:
        sentence = "The process guard is set to enforce, but it is not working in this process. Restart it; its log says why."
        return Banner(Verdict.FAILING, sentence, points)
    if fleet.drifting:
        return Banner(Verdict.FAILING, _drift_sentence(fleet), points)
    if fleet.away or fleet.unheard or fleet.silent:
        return Banner(Verdict.UNKNOWN, _unknown_sentence(fleet), points)
    if points:
        count = "one point needs" if len(points) == 1 else f"{len(points)} points need"
        start = "Air-gap mode is off: outbound requests are not restricted" if fleet.off else "This deployment is air-gapped"
        return Banner(Verdict.ATTENTION, f"{start}; {count} attention.", points)
    if fleet.off:
        where = "this process" if len(fleet.rows) == 1 else f"all {len(fleet.rows)} processes"
        return Banner(Verdict.OFF, f"Outbound requests are not restricted: air-gap mode is off in {where}.")
    if len(fleet.rows) == 1:
        return Banner(Verdict.OK, "This deployment is air-gapped; this process is the only one of it.")
    return Banner(Verdict.OK, f"This deployment is air-gapped; all {len(fleet.rows)} processes agree.")


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


def _drift_sentence(fleet: Fleet) -> str:
    known, drifting = len(fleet.rows), fleet.drifting
    if len(drifting) > 1:
        return f"{len(drifting)} of {known} processes do not run under what the others do."
    (one,) = drifting
    differs = "is not air-gapped" if not one.airgapped else "does not run under what the others do"
    return f"One of {known} processes {differs}: {one.title}."


def _unknown_sentence(fleet: Fleet) -> str:
    if fleet.away:
        return "The processes of this deployment could not be read: the database is away. What is shown is this process alone."
    if fleet.unheard and len(fleet.rows) == 1:
        return "No process has a heartbeat on record: what is shown is this process alone."
    silent = fleet.silent
    if not silent:
        return f"{sentence_case(fleet.tally)}, and this process has no heartbeat on record yet."
    agreeing = len(fleet.agreeing)
    agree = f"{agreeing} {'process agrees' if agreeing == 1 else 'processes agree'}"
    return f"{agree}, {len(silent)} {'is' if len(silent) == 1 else 'are'} silent: {in_words([row.title for row in silent])}."


def _fleet_points(fleet: Fleet) -> tuple[str, ...]:
    """What is not OK of the processes, the worst first; those with the same trouble in one point."""
    by_why: dict[str, list[str]] = {}
    for verdict in (Verdict.FAILING, Verdict.UNKNOWN, Verdict.ATTENTION):
        for row in fleet.rows:
            if row.verdict is verdict:
                by_why.setdefault(row.why, []).append(row.title)
    points = [f"{in_words(titles)}: {why}" for why, titles in by_why.items()]
    rest = len(points) - MOST_POINTS
    return (*points[:MOST_POINTS], *((f"{rest} more; see the table of processes.",) if rest > 0 else ()))


def _llm_points(llm: LLMSnapshot, lately: EndpointHealth | None) -> tuple[str, ...]:
    if llm.effective_path == Path.LIVE and lately is not None and lately.state is Lately.FAILING:
        return (f"The language model is configured and allowed, but its last call failed. {lately.reason}",)
    if llm.effective_path == Path.LIVE or llm.provider == NO_PROVIDER:
        return ()
    return (f"Answers take the deterministic fallback. {llm.policy_note}",)


def _check_points(checks: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"Health check {name}: {text}" for name, text in checks.items() if text != OK_CHECK)
