"""What every page has around it: navigation, the air-gap state in words, the node and the reader.

Asks no database before access.for_roles has let the reader in; then for one count and what the reader may act as.
"""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from airgap.snapshot import airgap_snapshot, guard_snapshot
from console.guard import guard_note, guard_verdict
from console.nav import NavLink, links
from console.process import Witness, witness
from tenants.acting import Acting, choices
from tenants.roles import READERS, WRITERS
from threatintel.snapshot import Verdict


@dataclass(frozen=True, slots=True)
class Chrome:
    """What is not public is empty until access.for_roles has let the reader in."""

    airgapped: bool
    service: str = ""
    witness: Witness | None = None
    user: str = ""
    acting: Acting | None = None
    choices: tuple[Acting, ...] = ()  # what the reader may act as
    nav: tuple[NavLink, ...] = ()
    guard: str = ""  # what there is to say of the process guard, with its verdict
    guard_verdict: Verdict = Verdict.OFF

    @property
    def reads_deployment(self) -> bool:
        return self.acting is not None and self.acting.role in READERS

    @property
    def can_write(self) -> bool:
        return self.acting is not None and self.acting.role in WRITERS


def chrome(request: HttpRequest) -> dict[str, Chrome]:
    """The context processor. Only a page that knows its reader names node, user and navigation."""
    airgapped = airgap_snapshot().enabled
    acting = getattr(request, "acting", None)
    if not isinstance(acting, Acting):
        guard = guard_snapshot()
        return {"chrome": Chrome(airgapped, guard=guard_note(airgapped, guard), guard_verdict=guard_verdict(airgapped, guard))}
    staff = bool(getattr(request.user, "is_staff", False))
    seen_by = witness()
    return {
        "chrome": Chrome(
            airgapped,
            service=settings.SERVICE,
            witness=seen_by,
            user=request.user.get_username(),
            acting=acting,
            choices=choices(request),
            nav=tuple(links(request.path, acting.role, staff=staff)),
            guard=guard_note(airgapped, seen_by.guard),
            guard_verdict=guard_verdict(airgapped, seen_by.guard),
        )
    }
