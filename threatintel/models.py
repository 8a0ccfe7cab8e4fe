"""Indicators with their sources, runs of feeds, and the scheduler's lease."""

from django.db import models


class Indicator(models.Model):
    """One (type, canonical value), whoever reported it."""

    type = models.CharField(max_length=40)
    value = models.CharField(max_length=2048)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["type", "value"], name="one_indicator_a_value"),)
        indexes = (models.Index(fields=["value"]),)

    def __str__(self) -> str:
        return f"{self.type} {self.value}"


class IndicatorSource(models.Model):
    """What one feed says of an indicator. `digest` is of the record as stored: a poll that changes nothing writes nothing."""

    indicator = models.ForeignKey(Indicator, on_delete=models.CASCADE, related_name="sources")
    feed = models.CharField(max_length=120)
    external_id = models.CharField(max_length=255)
    confidence = models.PositiveSmallIntegerField()
    tlp = models.CharField(max_length=16)
    labels = models.JSONField(default=list)
    description = models.TextField(blank=True)
    url = models.CharField(max_length=2048, blank=True)
    first_seen = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)
    valid_until = models.DateTimeField(null=True)
    revoked = models.BooleanField(default=False)
    raw = models.JSONField(default=dict)
    digest = models.CharField(max_length=64)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["feed", "external_id", "indicator"], name="one_source_a_record"),)

    def __str__(self) -> str:
        return f"{self.feed} {self.external_id}"


class FeedCursor(models.Model):
    """What a feed remembers between polls, bound to the URL it came from. Its row is also the feed's lock."""

    feed = models.CharField(max_length=120, primary_key=True)
    url_digest = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict)
    data_date = models.DateTimeField(null=True)
    moved_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.feed


class FeedRun(models.Model):
    """One poll of one feed: claimed by whoever works on it, with a lease, so that a lost or repeated task changes nothing."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        OK = "ok"
        FAILED = "failed"
        REFUSED = "refused"

    feed = models.CharField(max_length=120)
    slot = models.CharField(max_length=80)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    rule = models.CharField(max_length=32, blank=True)
    fetched = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    retired = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["feed", "slot"], name="one_run_a_slot"),)
        indexes = (models.Index(fields=["feed", "-id"]), models.Index(fields=["state", "not_before"]))

    def __str__(self) -> str:
        return f"{self.feed} {self.slot} {self.state}"


class SchedulerLease(models.Model):
    """Who may schedule now. `epoch` counts leaderships: each opens fresh slots."""

    name = models.CharField(max_length=32, primary_key=True)
    holder = models.CharField(max_length=120, blank=True)
    epoch = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.holder} #{self.epoch}"
