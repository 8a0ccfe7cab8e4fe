"""What the language model's side keeps: tenants' own connections and what was done to them, how endpoints and capabilities answered, who asked when."""

from django.db import models

from llm.config import Provider
from tenants.models import TenantOwned

# What a tenant may choose: CONTRACTS.md 2.5.
TENANT_PROVIDERS = tuple(provider for provider in Provider if provider not in (Provider.LOCAL, Provider.NONE))


class TenantCredential(TenantOwned):
    """One row a tenant, written by llm.credentials alone. sealed_key is opened by llm.vault alone; "" means that there is no key.

    key_fingerprint says which vault key sealed it. version counts the writes, so that nobody writes over what he has not seen.
    """

    provider = models.CharField(max_length=16, choices=[(provider.value, provider.value) for provider in TENANT_PROVIDERS])
    base_url = models.CharField(max_length=500, blank=True)
    model = models.CharField(max_length=200, blank=True)
    sealed_key = models.TextField(blank=True)
    key_fingerprint = models.CharField(max_length=16, blank=True)
    enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    updated_by = models.CharField(max_length=150)
    last_rotated_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = (models.UniqueConstraint(fields=["tenant"], name="one_credential_a_tenant"),)

    def __str__(self) -> str:
        return f"credential of tenant {self.tenant_id}"

    @property
    def has_api_key(self) -> bool:
        return bool(self.sealed_key)


class CredentialChange(TenantOwned):
    """One thing that was done to a tenant's credential. Never a key, nor a sealed one.

    A database trigger refuses every UPDATE, on PostgreSQL every DELETE too.
    """

    class Action(models.TextChoices):
        SAVED = "saved", "Saved"
        ROTATED = "rotated", "Rotated"  # saved with another key
        REMOVED = "removed", "Removed"
        TESTED = "tested", "Tested"
        RESEALED = "resealed", "Re-sealed"

    at = models.DateTimeField(db_index=True)
    by = models.CharField(max_length=150)
    action = models.CharField(max_length=16, choices=Action)
    fields = models.JSONField(default=list)  # names of what changed
    old_host = models.CharField(max_length=260, blank=True)  # with the port, where it is not the scheme's own
    new_host = models.CharField(max_length=260, blank=True)
    note = models.CharField(max_length=200, blank=True)  # of a test, its outcome; or that the key was removed

    class Meta(TenantOwned.Meta):
        indexes = (models.Index(fields=["tenant", "-at"]),)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%dT%H:%MZ} {self.by} {self.action}"


class EndpointOutcome(models.Model):
    """How one endpoint answered lately, for all processes: the last success, and since when it fails. No row: never tried.

    key: SHA-256 over tenant, base URL and model, so that the row names nobody's endpoint to another.
    """

    key = models.CharField(max_length=64, primary_key=True)
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)  # None: the last call succeeded
    reason = models.CharField(max_length=300, blank=True)  # of the last failure

    def __str__(self) -> str:
        return f"{self.key[:12]} {'failing' if self.failing_since else 'live'}"


class CapabilityUse(models.Model):
    """Answers of one capability on one path. cause: why the latest one was a fallback, as a word of llm.outcome.Cause."""

    capability = models.CharField(max_length=40)
    path = models.CharField(max_length=16)
    answers = models.PositiveBigIntegerField(default=0)
    cause = models.CharField(max_length=20, blank=True)
    last_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["capability", "path"], name="one_row_a_capability_and_path"),)

    def __str__(self) -> str:
        return f"{self.capability} {self.path}: {self.answers}"


class LimitSlot(models.Model):
    """One of the answers that somebody may have in any minute. at: when it was last taken, in seconds since the epoch. who: `tenant:acme`, `user:7`."""

    who = models.CharField(max_length=80)
    what = models.CharField(max_length=40)
    number = models.PositiveSmallIntegerField()
    at = models.FloatField(default=0.0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["who", "what", "number"], name="one_row_a_limit_slot"),)

    def __str__(self) -> str:
        return f"{self.what} for {self.who}, {self.number}"
