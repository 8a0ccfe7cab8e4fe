"""Which role a request acts in."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from tenants.models import ApiToken, Membership
from tenants.roles import Role


def role_of(user: AbstractBaseUser | AnonymousUser, token: object = None) -> Role | None:
    """The role of a request: the token's own, never more than its user still has; else the user's first; None without one.

    A superuser is an operator.
    """
    if not user.is_authenticated or not user.is_active:
        return None
    names = set(Membership.objects.filter(user_id=user.pk).values_list("role", flat=True))
    held = {role for role in Role if role.value in names}  # a role of another version is no role here
    if getattr(user, "is_superuser", False):
        held.add(Role.OPERATOR)
    if isinstance(token, ApiToken):
        return next((role for role in held if role.value == token.role), None)
    return next((role for role in Role if role in held), None)
