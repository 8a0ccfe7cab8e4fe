"""What every page has around it: navigation, the air-gap state in words, the node and the reader. Asks no database."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from airgap.snapshot import airgap_snapshot
from console.nav import NavLink, links
from console.process import Witness, witness
from tenants.roles import Role


@dataclass(frozen=True, slots=True)
class Chrome:
    """What is not public is empty until access.for_roles has let the reader in."""

    airgapped: bool
    service: str = ""
    witness: Witness | None = None
    user: str = ""
    role: Role | None = None
    nav: tuple[NavLink, ...] = ()

    @property
    def can_write(self) -> bool:
        return self.role is Role.OPERATOR


def chrome(request: HttpRequest) -> dict[str, Chrome]:
    """The context processor. Only a page that knows its reader names node, user and navigation."""
    airgapped = airgap_snapshot().enabled
    role = getattr(request, "role", None)
    if not isinstance(role, Role):
        return {"chrome": Chrome(airgapped)}
    staff = bool(getattr(request.user, "is_staff", False))
    return {
        "chrome": Chrome(
            airgapped,
            service=settings.SERVICE,
            witness=witness(),
            user=request.user.get_username(),
            role=role,
            nav=tuple(links(request.path, staff=staff)),
        )
    }
