"""What an analyst does next, by the class and the techniques of an alert. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST: Final = 4


@dataclass(frozen=True, slots=True)
class NextStep:
    """area: identity, endpoint, network, cloud, email, data or case."""

    area: str
    title: str
    rationale: str


# Techniques by the beginning of their ids, and the step each asks for. The first that match are told first.
_BY_TECHNIQUE: Final[tuple[tuple[tuple[str, ...], NextStep], ...]] = (
    (
        ("T1486", "T1490", "T1485", "T1491"),
        NextStep(
            "endpoint",
            "Isolate the host and keep its memory",
            "Encryption or destruction spreads in minutes; a switched-off host loses the keys in its memory.",
        ),
    ),
    (
        ("T1003", "T1558", "T1550", "T1555"),
        NextStep(
            "identity",
            "Identity: reset the credentials that were on the host",
            "What was dumped there is in the attacker's hands, whatever becomes of the host.",
        ),
    ),
    (
        ("T1078", "T1110", "T1621", "T1539", "T1528", "T1556", "T1133"),
        NextStep(
            "identity",
            "Identity: confirm the log-in with the account's owner",
            "If it was not them, revoke the sessions and reset the credentials before anything else; then see what the account did.",
        ),
    ),
    (
        ("T1098", "T1136", "T1484"),
        NextStep("identity", "Identity: check who granted the access and take it back", "New accounts, keys and roles outlive a password reset."),
    ),
    (
        ("T1566", "T1204", "T1114"),
        NextStep(
            "email",
            "Find the message in other mailboxes and pull it",
            "Rarely is one person the only recipient; who clicked matters more than who received.",
        ),
    ),
    (
        ("T1190", "T1505", "T1210"),
        NextStep(
            "network",
            "Take the exposed service behind the perimeter and look for a foothold",
            "The exploit is over; what was left behind (web shell, account, task) is not.",
        ),
    ),
    (
        ("T1562", "T1070"),
        NextStep("data", "Restore the logging and read what other sources saw in the gap", "Nobody switches the light off for nothing."),
    ),
    (
        ("T1041", "T1567", "T1048", "T1530", "T1537", "T1560"),
        NextStep("data", "Establish what data left, and where to", "The duty to notify, and its deadline, follow from the answer."),
    ),
    (
        ("T1071", "T1568", "T1572", "T1090", "T1105", "T1219"),
        NextStep(
            "network", "Block the destination and look for other hosts that talk to it", "A second host with the same traffic is a second foothold."
        ),
    ),
    (
        ("T1021", "T1570", "T1569", "T1047"),
        NextStep(
            "endpoint",
            "Follow the session to both of its ends",
            "Lateral movement has a host before and a host after; the account was taken somewhere.",
        ),
    ),
    (
        ("T1053", "T1543", "T1547", "T1546", "T1197", "T1574"),
        NextStep("endpoint", "Take the persistence off, after copying what it starts", "It names the payload, and comes back after a reboot."),
    ),
    (
        ("T1059", "T1218", "T1027", "T1140", "T1055", "T1036"),
        NextStep("endpoint", "Read the whole process tree and decode the command", "The parent says how it came in; the children say what it did."),
    ),
    (
        ("T1496",),
        NextStep("endpoint", "Find how the miner came in, then remove it", "It uses the door that others use for worse."),
    ),
    (
        ("T1046", "T1087", "T1018", "T1482", "T1580", "T1033"),
        NextStep(
            "network",
            "Ask who runs the source, and whether the scan was announced",
            "Inventory tools and testers look the same as an intruder's first hour.",
        ),
    ),
)
_BY_CLASS: Final[dict[int, NextStep]] = {
    3001: NextStep("identity", "Identity: ask the one who made the change whether they did", "A change that nobody remembers is an attacker's."),
    3002: NextStep(
        "identity",
        "Identity: compare the log-in with the account's habits",
        "Place, device, hour and target of the last 30 days tell a traveller from a thief.",
    ),
    1007: NextStep("endpoint", "Read the process tree on the host", "The parent says how it came in; the children say what it did."),
    6003: NextStep("cloud", "List every call of the same principal in the 24 hours around it", "One odd call is a mistake, ten are a session."),
    2002: NextStep("endpoint", "Find out whether the weakness is reachable, and patch it", "Reachable and exploited come before severe."),
    4001: NextStep("network", "Look for other hosts that talk to the same destination", "A second host with the same traffic is a second foothold."),
    4003: NextStep("network", "Look for other hosts that ask for the same names", "A second host with the same queries is a second foothold."),
    4009: NextStep("email", "Find the message in other mailboxes and pull it", "Rarely is one person the only recipient."),
}
_CORRELATE: Final = NextStep(
    "case", "Correlate the last 24 hours of the same user, host and address", "An alert alone rarely tells whether it is the first or the last step."
)
_OPEN_CASE: Final = NextStep("case", "Open a case and note what is known by now", "Its severity asks for a second pair of eyes and a record.")
_SEVERE: Final = frozenset(("high", "critical", "fatal", "severe", "emergency"))


def next_steps(class_uid: int, techniques: list[str], severity: str) -> list[NextStep]:
    """At most MOST, the most urgent first; of two with the same title or rationale, the first."""
    chosen: list[NextStep] = []
    for step in _steps(class_uid, techniques):
        if not any(step.title == one.title or step.rationale == one.rationale for one in chosen):
            chosen.append(step)
    if severity in _SEVERE:
        return [*chosen[: MOST - 1], _OPEN_CASE]
    return chosen[:MOST]


def _steps(class_uid: int, techniques: list[str]) -> Iterator[NextStep]:
    for beginnings, step in _BY_TECHNIQUE:
        if any(id.split(".", 1)[0] in beginnings for id in techniques):
            yield step
    if class_uid in _BY_CLASS:
        yield _BY_CLASS[class_uid]
    yield _CORRELATE
