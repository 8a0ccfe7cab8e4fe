"""The default permission of the API: readers may GET, writers may change. A view narrows it with `read_roles` and `write_roles`."""

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tenants.acting import role_of
from tenants.roles import READERS, WRITERS

if TYPE_CHECKING:  # DRF imports this module while it builds that one
    from rest_framework.views import APIView


class HasRole(BasePermission):
    message = "Your role does not allow this."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        wanted = getattr(view, "read_roles", READERS) if request.method in SAFE_METHODS else getattr(view, "write_roles", WRITERS)
        return role_of(request.user, request.auth) in wanted
