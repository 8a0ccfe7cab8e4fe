"""The checklist's items on the processes: air gap, guard and policy in each of them."""

from typing import Final

from airgap.checklist import ChecklistItem, Finding, Look, Said, Verdict, everywhere
from airgap.fleet import Process, State
from airgap.snapshot import airgap_snapshot, policy_digest


def _is_on(process: Process) -> Said:
    if process.airgapped:
        return Said(Verdict.OK, f"air gap on, policy {process.digest}")
    return Said(Verdict.FAILING, "air gap OFF", "Set AISOC_AIRGAPPED=1 for every process that reports off, and restart it.")


def api_airgap(seen: Look) -> Finding:
    return everywhere(seen, _is_on, service="api")


def threatintel_airgap(seen: Look) -> Finding:
    return everywhere(seen, _is_on, service="threatintel")


def all_airgap(seen: Look) -> Finding:
    return everywhere(seen, _is_on)


def guard_everywhere(seen: Look) -> Finding:
    """inactive under air gap is a guard that should be there and is not; report and off are a choice."""
    return everywhere(seen, _guard)


def _guard(process: Process) -> Said:
    if process.guard == "enforce":
        return Said(Verdict.OK, "guard enforcing, self-test passed")
    if process.guard in ("report", "off"):
        step = "Set AISOC_AIRGAP_GUARD=enforce and restart."
        return Said(Verdict.ATTENTION, f"guard {process.guard}: clients that the product did not write are not held back", step)
    if not process.airgapped:
        return Said(Verdict.FAILING, "no guard, since the air gap is off", "Set AISOC_AIRGAPPED=1 and restart.")
    return Said(Verdict.FAILING, "the guard should enforce and does not work", "Restart the process; its log says why.")


def no_drift(seen: Look) -> Finding:
    """Every live process under one policy, and the one that looks, too."""
    own = policy_digest(airgap_snapshot())

    def judge(process: Process) -> Said:
        if process.state is State.DRIFT:
            return Said(Verdict.FAILING, process.why.rstrip("."), "Give every process the same AISOC_AIRGAP variables and restart those that differ.")
        if process.digest != own:
            text = f"its policy {process.digest} is not the one of the process that ran this check ({own})"
            return Said(Verdict.ATTENTION, text, "Run the check with the variables of the deployment.")
        return Said(Verdict.OK, f"policy {process.digest}")

    return everywhere(seen, judge)


FLEET_ITEMS: Final = (
    ChecklistItem("api_airgap", "The API reports the air gap on", api_airgap, order=1),
    ChecklistItem("threatintel_airgap", "Threat intel reports the air gap on", threatintel_airgap, order=2),
    ChecklistItem("all_airgap", "Every process reports the air gap on", all_airgap, order=8),
    ChecklistItem("guard_everywhere", "The process guard enforces in every process", guard_everywhere, order=9),
    ChecklistItem("no_drift", "Every process runs under the same policy", no_drift, order=10),
)
