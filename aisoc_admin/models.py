"""Counts of login attempts, shared by all processes of the deployment."""

from django.db import models


class LoginAttempts(models.Model):
    """Attempts of one address, or of one name from one address, since `since` (aisoc_admin/throttle.py).

    `key` is a keyed digest: what somebody typed into the name field may be a password.
    """

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField()
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key[:8]}… {self.count}"
