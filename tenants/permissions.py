"""The default permission of the API: readers may GET, writers may change. A view narrows or widens it with `read_roles` and `write_roles`.

A view of a layer below the roles says `tenants_may_read = True` instead.
"""

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tenants.acting import acting, choices
from tenants.roles import EVERY_ROLE, READERS, WRITERS, Role

if TYPE_CHECKING:  # DRF imports this module while it builds that one
    from rest_framework.views import APIView

ROLE = "Your role does not allow this."
CHOOSE = "You act for several tenants: choose one on any page first, or send a token, which is bound to one."


class HasRole(BasePermission):
    message = ROLE

    def has_permission(self, request: Request, view: "APIView") -> bool:
        now = acting(request)
        if now is None:
            self.message = CHOOSE if choices(request) else ROLE
            return False
        return now.role in roles_of(view, request.method or "")


def roles_of(view: "APIView", method: str) -> frozenset[Role]:
    """The roles that a view is open to, by method."""
    if method not in SAFE_METHODS:
        return getattr(view, "write_roles", WRITERS)
    return getattr(view, "read_roles", EVERY_ROLE if getattr(view, "tenants_may_read", False) else READERS)
