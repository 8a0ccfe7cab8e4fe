"""Making users: the first login of a new deployment, and API tokens."""

import secrets
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import transaction

from tenants.models import ApiToken, Membership, Tenant
from tenants.roles import Role

FIRST_USER = "admin"


@transaction.atomic
def first_login() -> tuple[str, str] | None:
    """Create the first user, an operator, when there is none yet; returns its name and password, else None."""
    users = get_user_model().objects
    if users.exists():
        return None
    password = secrets.token_urlsafe(18)
    user = users.create_superuser(FIRST_USER, email="", password=password)
    Membership.objects.create(user=user, role=Role.OPERATOR)
    return FIRST_USER, password


@transaction.atomic
def issue_token(username: str, role: Role, days: int, tenant: str = "") -> str:
    """A new API token for `username` in `role`, good for `days`. Makes the user (without a password), the tenant and the membership if needed.

    Raises IntegrityError for a tenant slug outside the grammar, or one that does not fit the role.
    """
    user, created = get_user_model().objects.get_or_create(username=username)
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    owner = Tenant.objects.get_or_create(slug=tenant, defaults={"name": tenant})[0] if tenant else None
    Membership.objects.get_or_create(user=user, role=role, tenant=owner)
    _token, text = ApiToken.objects.create(user, expiry=timedelta(days=days), role=role, tenant=owner)
    return str(text)
