"""In which role, and for which tenant, a request acts: by its token or its session, never by its body or its query."""

from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from rest_framework.request import Request

from tenants.models import ApiToken, Membership, Tenant
from tenants.queries import tenant_of_slug
from tenants.roles import DEPLOYMENT_ROLES, TENANT_ROLES, Role

SESSION_KEY: Final = "acting_for"  # holds a slug; "" for no tenant
_KEPT: Final = "_choices_of_asker"  # an attribute of the request


@dataclass(frozen=True, slots=True)
class Acting:
    """tenant: None for operators and auditors, who act for the whole deployment under the environment's configuration."""

    role: Role
    tenant: Tenant | None

    @property
    def slug(self) -> str:
        """ "" for no tenant."""
        return self.tenant.slug if self.tenant else ""


def acting(request: HttpRequest | Request) -> Acting | None:
    """None: nobody, no role, or several tenants of which none is chosen (choices() tells these apart).

    A token acts in its own role for its own tenant, never in more than its user still has. A session acts for the tenant that it chose; a
    choice that is no longer held counts as none, even if one tenant is left: nobody is moved to another tenant without being asked.
    """
    held = choices(request)
    session = None if _token(request) else getattr(request, "session", None)
    chosen = session.get(SESSION_KEY) if session is not None else None
    if chosen is not None:
        return next((one for one in held if one.slug == chosen), None)
    deployment = next((one for one in held if one.tenant is None), None)
    return deployment or (held[0] if len(held) == 1 else None)


def acting_for(request: HttpRequest | Request, slug: str) -> Acting | None:
    """The role in which this request may act for the tenant that it names (?tenant=SLUG); None is a 404.

    Operators and auditors may name any tenant, the others those that they hold. Raises nothing for text that is no slug.
    """
    now = acting(request)
    if now is not None and now.role in DEPLOYMENT_ROLES:
        tenant = tenant_of_slug(slug)
        return Acting(now.role, tenant) if tenant else None
    return next((one for one in choices(request) if one.tenant is not None and one.slug == slug), None)


def tenant_of_reader(request: HttpRequest | Request) -> str:
    """The slug of the one tenant to which this reader is confined; "" for a reader of all. Raises PermissionDenied for no reader."""
    now = acting(request)
    if now is None:
        raise PermissionDenied
    return now.slug


def choices(request: HttpRequest | Request) -> tuple[Acting, ...]:
    """What the request may act as, the deployment first, then tenants by slug; the strongest role of each. A token has one choice at most.

    Looked up once a request and asker: DRF's request shows what was kept on the one beneath it, which may have been a session's.
    """
    token = _token(request)
    asker = (request.user.pk, token.pk if token else None)
    kept: tuple[object, tuple[Acting, ...]] | None = getattr(request, _KEPT, None)
    if kept is None or kept[0] != asker:
        kept = asker, held_by(request.user, token)
        setattr(request, _KEPT, kept)
    return kept[1]


def choose(request: HttpRequest, slug: str) -> Acting | None:
    """Keep the choice in the session; None, and nothing kept, for what the user does not hold."""
    chosen = next((one for one in held_by(request.user) if one.slug == slug), None)
    if chosen is not None:
        request.session[SESSION_KEY] = chosen.slug
    return chosen


def held_by(user: AbstractBaseUser | AnonymousUser, token: ApiToken | None = None) -> tuple[Acting, ...]:
    """One query. A superuser is an operator."""
    if not user.is_authenticated or not user.is_active:
        return ()
    known = {role.value: role for role in Role}  # a role of another version is no role here
    rows = Membership.objects.filter(user_id=user.pk, role__in=known).select_related("tenant")
    pairs = [Acting(known[row.role], row.tenant) for row in rows]
    if getattr(user, "is_superuser", False):
        pairs.append(Acting(Role.OPERATOR, None))
    sound = [one for one in pairs if one.role in (DEPLOYMENT_ROLES if one.tenant is None else TENANT_ROLES)]
    if token is not None:
        sound = [one for one in sound if one.role.value == token.role and (one.tenant.pk if one.tenant else None) == token.tenant_id]
    best: dict[str, Acting] = {}
    for one in sorted(sound, key=lambda one: (one.slug, list(Role).index(one.role))):
        best.setdefault(one.slug, one)
    return tuple(best.values())


def _token(request: HttpRequest | Request) -> ApiToken | None:
    token = getattr(request, "auth", None)
    return token if isinstance(token, ApiToken) else None
