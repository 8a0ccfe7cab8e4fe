"""The trail: immutable rows of counts. Readers sum them."""

from django.db import models


class EgressEvent(models.Model):
    """Attempts refused in one minute by one process, of one (host, port, path, rule, layer, purpose, tenant, caller).

    Rows are only ever appended; a minute may have several rows of one key, which readers sum.
    """

    minute = models.DateTimeField()
    service = models.CharField(max_length=32)
    process = models.CharField(max_length=120)
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()  # 0: not known, as for a look-up
    path = models.CharField(max_length=255, blank=True)
    rule = models.CharField(max_length=32)
    reason = models.TextField(blank=True)
    layer = models.CharField(max_length=16)
    purpose = models.CharField(max_length=64, blank=True)
    tenant = models.CharField(max_length=64, blank=True)
    caller = models.CharField(max_length=128, blank=True)
    count = models.PositiveBigIntegerField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["minute"]), models.Index(fields=["host", "minute"]))

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%dT%H:%MZ} {self.host}:{self.port} {self.rule} ×{self.count}"


class DrainedSegment(models.Model):
    """A spool segment whose rows are in the database. Written in their transaction, so that no segment counts twice."""

    name = models.CharField(max_length=120, primary_key=True)
    drained_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name
