"""Navigation as a table: a row a page. A page that does not exist yet is not shown."""

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse

from console.egress import blocked_lately
from tenants.roles import EVERY_ROLE, INTEL_READERS, READERS, Role
from threatintel.snapshot import registration_snapshot


@dataclass(frozen=True, slots=True)
class NavEntry:
    """One row. `note` gives the count beside the title, in words, and never raises; `roles`: who may open it; staff: for staff only."""

    title: str
    url_name: str
    note: Callable[[], str] | None = None
    roles: frozenset[Role] = READERS
    staff: bool = False


@dataclass(frozen=True, slots=True)
class NavLink:
    """An entry as it is shown. `current` is the page itself."""

    title: str
    url: str
    note: str
    current: bool


def refused_feeds() -> str:
    return f"{len(registration_snapshot()['refused'])} refused"


def blocked_attempts() -> str:
    blocked = blocked_lately()
    return "unknown" if blocked is None else f"{blocked:,} in 24 h"


NAVIGATION: tuple[NavEntry, ...] = (
    NavEntry("Deployment & AI", "console:deployment"),
    NavEntry("Threat-intel feeds", "console:feeds", note=refused_feeds),
    NavEntry("Indicators", "console:indicators", roles=INTEL_READERS),
    NavEntry("Blocked egress", "console:egress", note=blocked_attempts),
    NavEntry("Assist", "console:assist", roles=EVERY_ROLE),
    NavEntry("Admin", "admin:index", roles=EVERY_ROLE, staff=True),
)


def links(path: str, role: Role, *, staff: bool) -> list[NavLink]:
    """The entries whose page exists and that this reader may open; `path` is the address being shown."""
    shown: list[NavLink] = []
    for entry in NAVIGATION:
        if role not in entry.roles or (entry.staff and not staff):
            continue
        try:
            url = reverse(entry.url_name)
        except NoReverseMatch:
            continue
        shown.append(NavLink(entry.title, url, entry.note() if entry.note else "", current=path == url))
    return shown


def first_page(role: Role) -> str:
    """The name of the first page that this role may open."""
    return next(entry.url_name for entry in NAVIGATION if role in entry.roles and not entry.staff)
