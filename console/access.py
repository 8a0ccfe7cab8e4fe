"""Who may open a page: a login, then a role. Without the database nobody can be told apart, and only what is public is shown."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from console import errors
from console.database import DATABASE_AWAY, ask_database
from tenants.acting import Acting, acting, choices
from tenants.roles import INTEL_READERS, READERS, WRITERS, Role

P = ParamSpec("P")
SAFE = ("GET", "HEAD")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
Page = Callable[Concatenate["ReaderRequest", P], HttpResponseBase]


class ReaderRequest(HttpRequest):
    """A request whose reader has been let in; `acting` is the role and the tenant to act for."""

    acting: Acting


def needs_database(view: View[P]) -> View[P]:
    """Answer 503 with a clear page when the database cannot be asked."""

    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except DATABASE_AWAY:
            return errors.database_away(request)

    return update_wrapper(guarded, view)


def for_roles(roles: frozenset[Role]) -> Callable[[Page[P]], View[P]]:
    """Let a logged-in user in one of `roles` in; others get the login page, or 403 with the reason."""

    def decorate(view: Page[P]) -> View[P]:
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                ask_database()
                return redirect_to_login(request.get_full_path() if request.method in SAFE else reverse("console:home"))
            now = acting(request)
            if now is None:
                return errors.choose_tenant(request, held) if (held := choices(request)) else errors.no_role(request)
            if now.role not in roles:
                return errors.role_refused(request, now, roles)
            reader = cast(ReaderRequest, request)
            reader.acting = now
            response = view(reader, *args, **kwargs)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return needs_database(update_wrapper(guarded, view))

    return decorate


for_readers = for_roles(READERS)
for_writers = for_roles(WRITERS)
for_intel_readers = for_roles(INTEL_READERS)
