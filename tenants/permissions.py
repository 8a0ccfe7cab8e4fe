"""The default permission of the API: readers may GET, writers may change. A view narrows or widens it with `read_roles` and `write_roles`.

A view of a layer below the roles says `tenants_may_read = True` instead. A view with `names_tenant = True` takes ?tenant=SLUG and is judged by
the role that the caller holds in that tenant, which may be another than the one it acts in.
"""

from typing import TYPE_CHECKING

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tenants.acting import Acting, acting, acting_for, choices
from tenants.roles import EVERY_ROLE, READERS, WRITERS, Role

if TYPE_CHECKING:  # DRF imports this module while it builds that one
    from rest_framework.views import APIView

ROLE = "Your role does not allow this."
CHOOSE = "You act for several tenants: choose one on any page first, or send a token, which is bound to one."


class HasRole(BasePermission):
    message = ROLE

    def has_permission(self, request: Request, view: "APIView") -> bool:
        now = acting_in(request, view)
        if now is not None:
            return now.role in roles_of(view, request.method or "")
        held, named = choices(request), _named(request, view)
        if held and named == "":
            raise ValidationError({"tenant": "?tenant= is empty; leave it out, or give a slug."}, code="invalid")
        if held and named is not None:
            raise NotFound("There is no such tenant here.")
        self.message = CHOOSE if held else ROLE
        return False


class HasAnyRole(HasRole):
    """For what describes the API and holds nobody's data."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return acting(request) is not None


def acting_in(request: Request, view: "APIView") -> Acting | None:
    """What the permission has judged: the tenant that a view with `names_tenant` was asked for, in the role held there, else acting()."""
    named = _named(request, view)
    return acting(request) if named is None else acting_for(request, named)


def _named(request: Request, view: "APIView") -> str | None:
    return request.query_params.get("tenant") if getattr(view, "names_tenant", False) else None


def roles_of(view: "APIView", method: str) -> frozenset[Role]:
    """The roles that a view is open to, by method."""
    if method not in SAFE_METHODS:
        return getattr(view, "write_roles", WRITERS)
    return getattr(view, "read_roles", EVERY_ROLE if getattr(view, "tenants_may_read", False) else READERS)
