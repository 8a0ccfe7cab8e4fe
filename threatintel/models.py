"""Indicators with their sources, runs of feeds, and the scheduler's lease."""

from django.db import models


class Indicator(models.Model):
    """One (type, canonical value), whoever reported it. `id` is made of both (threatintel/identity.py), so that a value is found without a search.

    prefix: bits of a network's address ("10.0.0.0/8": 8), null for everything else.
    """

    id = models.UUIDField(primary_key=True)
    type = models.CharField(max_length=40)
    value = models.TextField()
    prefix = models.PositiveSmallIntegerField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=["created_at", "id"], name="indicator_age"),
            models.Index(fields=["type", "prefix"], condition=models.Q(prefix__isnull=False), name="indicator_networks"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.value}"


class IndicatorSource(models.Model):
    """What one object of one feed says of an indicator. `id` is made of the three, `digest` of the record as stored: what is unchanged is not written."""

    id = models.UUIDField(primary_key=True)
    indicator = models.ForeignKey(Indicator, on_delete=models.CASCADE, related_name="sources", db_constraint=False)
    feed = models.CharField(max_length=120)
    external_id = models.CharField(max_length=255)
    confidence = models.PositiveSmallIntegerField()
    tlp = models.CharField(max_length=16)
    labels = models.JSONField(default=list)
    description = models.TextField(blank=True)
    url = models.CharField(max_length=2048, blank=True)
    references = models.JSONField(default=list)
    first_seen = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)
    valid_until = models.DateTimeField(null=True)
    modified = models.DateTimeField(null=True)
    revoked = models.BooleanField(default=False)
    context = models.BooleanField(default=False)
    raw = models.TextField(blank=True)
    digest = models.CharField(max_length=32)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["feed", "external_id"], name="source_of_object"),)

    def __str__(self) -> str:
        return f"{self.feed} {self.external_id}"


class SourceChange(models.Model):
    """What a source said before it changed: the history of an indicator. `run` is the run that changed it."""

    class What(models.TextChoices):
        CHANGED = "changed"
        RETIRED = "retired"

    source = models.ForeignKey(IndicatorSource, on_delete=models.CASCADE, related_name="changes")
    at = models.DateTimeField()
    run = models.BigIntegerField()
    what = models.CharField(max_length=16, choices=What.choices)
    confidence = models.PositiveSmallIntegerField()
    tlp = models.CharField(max_length=16)
    labels = models.JSONField(default=list)
    valid_until = models.DateTimeField(null=True)
    modified = models.DateTimeField(null=True)
    revoked = models.BooleanField()

    def __str__(self) -> str:
        return f"{self.source_id} {self.what} {self.at}"


class FeedDay(models.Model):
    """What the runs of a feed changed on one day (UTC), and how many live sources it had after the last of them."""

    feed = models.CharField(max_length=120)
    day = models.DateField()
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    retired = models.PositiveIntegerField(default=0)
    live = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["feed", "day"], name="one_row_a_feed_and_day"),)

    def __str__(self) -> str:
        return f"{self.feed} {self.day}"


class FeedCursor(models.Model):
    """What a feed remembers between polls, bound to the URL it came from. Its row is also the feed's lock.

    live: how many of its sources are not revoked.
    """

    feed = models.CharField(max_length=120, primary_key=True)
    url_digest = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict)
    data_date = models.DateTimeField(null=True)
    moved_at = models.DateTimeField(null=True)
    live = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.feed


class FeedRun(models.Model):
    """One poll of one feed, or one import into it: claimed by whoever works on it, with a lease, so that a lost or repeated task changes nothing.

    fetched: records read; skipped: what was read and is no record, by reason in `skips`. source: the file's name and digest, of an import.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        OK = "ok"
        FAILED = "failed"
        REFUSED = "refused"

    feed = models.CharField(max_length=120)
    slot = models.CharField(max_length=80)
    source = models.CharField(max_length=200, blank=True)
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
    skipped = models.PositiveIntegerField(default=0)
    skips = models.JSONField(default=dict)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["feed", "slot"], name="one_run_a_slot"),)
        indexes = (models.Index(fields=["feed", "-id"]), models.Index(fields=["state", "not_before"]))

    def __str__(self) -> str:
        return f"{self.feed} {self.slot} {self.state}"


class ImportedBundle(models.Model):
    """A signed bundle whose import was begun. What the same key (fingerprint) signed before the youngest of them is a replay."""

    digest = models.CharField(max_length=64, unique=True)
    fingerprint = models.CharField(max_length=64)
    created = models.DateTimeField()
    imported_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.created} {self.digest}"


class SchedulerLease(models.Model):
    """Who may schedule now. `epoch` counts leaderships: each opens fresh slots."""

    name = models.CharField(max_length=32, primary_key=True)
    holder = models.CharField(max_length=120, blank=True)
    epoch = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.holder} #{self.epoch}"


class MispPush(models.Model):
    """One STIX object that is to be, or was, pushed to MISP: the queue, and the link from the object to its event.

    body: the object as it was posted, until it is pushed or given up. version counts what was posted under this id, claims who worked on it.
    attributes: UUIDs of ours that the event has; tlp: the tag that the last push gave it.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        PUSHED = "pushed"
        FAILED = "failed"
        REFUSED = "refused"

    object_id = models.CharField(max_length=130, unique=True)
    body = models.TextField(blank=True)
    modified = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    claims = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    rule = models.CharField(max_length=32, blank=True)
    misp_event_id = models.CharField(max_length=20, blank=True)
    misp_event_uuid = models.CharField(max_length=36, blank=True)
    attributes = models.JSONField(default=list)
    tlp = models.CharField(max_length=16, blank=True)
    pushed_attributes = models.PositiveIntegerField(default=0)
    skipped_attributes = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    pushed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (models.Index(fields=["state", "not_before"], name="misp_push_due"),)

    def __str__(self) -> str:
        return f"{self.object_id} {self.state}"
