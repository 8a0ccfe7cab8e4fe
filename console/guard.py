"""The process guard in words: the verdict on its mode, and what the mode means. Pure."""

from airgap.snapshot import GuardSnapshot
from threatintel.snapshot import Verdict


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


def guard_note(airgapped: bool, guard: GuardSnapshot) -> str:
    """What the header of every page says of a guard that does not hold; "" when there is nothing to say."""
    match guard_verdict(airgapped, guard):
        case Verdict.ATTENTION:
            return f"Guard: {guard.mode}"
        case Verdict.FAILING:
            return "Guard: not working"
        case _:
            return ""
