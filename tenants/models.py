"""Memberships (user and role) and API tokens bound to a role."""

from django.conf import settings
from django.db import models
from knox.models import AbstractAuthToken

from tenants.roles import Role


class Membership(models.Model):
    """One role of one user."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "role"], name="one_membership_a_role"),)

    def __str__(self) -> str:
        return f"{self.user} is {self.role}"


class ApiToken(AbstractAuthToken):  # type: ignore[misc]
    """An API token: stored as a SHA-512 digest, with expiry, acting in exactly one role."""

    role = models.CharField(max_length=16, choices=Role.choices)

    def __str__(self) -> str:
        return f"token {self.token_key[:6]}… of {self.user} as {self.role}"
