"""Rows of the notifications: what is to be, or was, sent, and which matters the product has told."""

from django.db import models


class Delivery(models.Model):
    """One message for one channel: the queue of record, and the account of what came of it.

    attempts: how often it was tried; claims: who works on it, by number; lease_until: while somebody does. not_before: when it may be tried,
    nudge_at: when the sweep sends its task again. rule: the gate's, when it refused. origin: who asked.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"
        FAILED = "failed"
        REFUSED = "refused"

    channel = models.CharField(max_length=32)
    key = models.CharField(max_length=200)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    severity = models.CharField(max_length=16)
    link = models.CharField(max_length=2000, blank=True)
    origin = models.CharField(max_length=160, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    claims = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    nudge_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    rule = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["channel", "key"], name="one_delivery_a_key"),)
        indexes = (
            models.Index(fields=["state", "nudge_at"], name="delivery_due"),
            models.Index(fields=["channel", "-id"], name="delivery_latest"),
            models.Index(fields=["updated_at"], name="delivery_age"),
        )
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.pk} {self.channel} {self.state}"


class Matter(models.Model):
    """Something that was announced. pending: how often since it was last told, 0 means that all of it is told; first_at: the first of these."""

    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=300)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    severity = models.CharField(max_length=16)
    pending = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["kind", "key"], name="one_matter_a_key"),)
        indexes = (models.Index(fields=["last_at"], name="matter_age"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
