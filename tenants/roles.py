"""The roles of CONTRACTS.md section 2, and which role a request acts in."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models


class Role(models.TextChoices):
    """What a person or a token may do. An auditor reads everything and changes nothing."""

    OPERATOR = "operator", "Operator"
    AUDITOR = "auditor", "Auditor"


READERS = frozenset({Role.OPERATOR, Role.AUDITOR})
WRITERS = frozenset({Role.OPERATOR})


def role_of(user: AbstractBaseUser | AnonymousUser, token: object = None) -> Role | None:
    """The role of a request: the token's own, never more than its user still has; else the user's first; None without one.

    A superuser is an operator.
    """
    from tenants.models import ApiToken, Membership

    if not user.is_authenticated or not user.is_active:
        return None
    names = set(Membership.objects.filter(user_id=user.pk).values_list("role", flat=True))
    held = {role for role in Role if role.value in names}  # a role of another version is no role here
    if getattr(user, "is_superuser", False):
        held.add(Role.OPERATOR)
    if isinstance(token, ApiToken):
        return next((role for role in held if role.value == token.role), None)
    return next((role for role in Role if role in held), None)
