"""The trail, the fleet and the audit as rows. The trail is append-only: rows of counts, chained by digest, summed by readers."""

from typing import Any, NoReturn, TypeVar

from django.db import models


# Digests, signatures and fingerprints are hexadecimal throughout.
class ImmutableRows(models.QuerySet["EgressEvent"]):
    """Rows are added by airgap.drain and removed by airgap.retention, nothing else."""

    def update(self, **_values: Any) -> NoReturn:
        raise TypeError("The trail is append-only; its rows are not changed.")

    def delete(self) -> NoReturn:
        raise TypeError("The trail is append-only; airgap.retention removes whole days, whose signed heads stay.")


class EgressEvent(models.Model):
    """Attempts refused in one minute by one process, of one (host, port, path, rule, layer, purpose, tenant, caller).

    A minute may have several rows of one key, which readers sum. `position` counts the rows from 1 in the order of draining,
    without a gap; `digest` is SHA-256 over the previous row's digest and this row (airgap/chain.py). A database trigger
    refuses every UPDATE.
    """

    position = models.BigIntegerField(primary_key=True)
    digest = models.CharField(max_length=64)
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

    objects = ImmutableRows.as_manager()

    class Meta:
        indexes = (models.Index(fields=["minute"]), models.Index(fields=["host", "minute", "count"]))

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%dT%H:%MZ} {self.host}:{self.port} {self.rule} ×{self.count}"


class DrainedSegment(models.Model):
    """A spool segment whose rows are in the database. Written in their transaction, so that no segment counts twice."""

    name = models.CharField(max_length=120, primary_key=True)
    digest = models.CharField(max_length=64)  # SHA-256 of its content: another segment under this name is not it
    drained_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name


class TrailHead(models.Model):
    """Where the chain stands now; one row. Its lock puts all drains of the deployment into one order.

    `day` to `attempts` are those of the day being written, which ends when the first drain after midnight (UTC) seals it.
    """

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    position = models.BigIntegerField(default=0)  # of the last row
    digest = models.CharField(max_length=64)  # of the last row
    day = models.DateField(null=True)  # None: nothing was drained yet
    start = models.CharField(max_length=64)  # the digest before the day's first row
    first_position = models.BigIntegerField(default=1)
    attempts = models.BigIntegerField(default=0)
    removed = models.BigIntegerField(default=0)  # retention has removed the rows up to this position,
    removed_digest = models.CharField(max_length=64)  # whose digest this is
    steady_since = models.DateField(null=True)  # when the clock last stepped by days: nothing is removed on that day
    signature = models.CharField(max_length=128)
    key = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.day} {self.position}"


class DayHead(models.Model):
    """A finished day of the trail, signed: it outlives the day's rows, so that a removed or altered row shows.

    Positions `first_position` to `last_position` were drained on `day` (UTC); `start` and `digest` are the chain's digests before the
    first and after the last of them. `signature`: Ed25519 (RFC 8032) over airgap.chain.head_text, by the key whose fingerprint is `key`.
    """

    first_position = models.BigIntegerField(primary_key=True)
    day = models.DateField(db_index=True)  # twice, when the clock was set back over midnight
    last_position = models.BigIntegerField()
    attempts = models.BigIntegerField()
    start = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)
    key = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.day} {self.first_position}-{self.last_position}"


class EgressTotal(models.Model):
    """Attempts of five minutes, one hour or one day (UTC) of one (host, port, rule, layer, service, node, purpose, tenant, caller), for pages over long spans.

    Kept in the drain's own transaction, so that it always equals the sum of the rows. The number of targets a span is
    bounded: what is beyond stands under the host `(other)`.
    """

    class Span(models.TextChoices):
        FIVE_MINUTES = "5min"  # kept for some hours
        HOUR = "hour"
        DAY = "day"

    span = models.CharField(max_length=4, choices=Span)
    start = models.DateTimeField()
    key = models.CharField(max_length=64)  # SHA-256 of the fields below up to caller
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    rule = models.CharField(max_length=32)
    layer = models.CharField(max_length=16)
    service = models.CharField(max_length=32)
    node = models.CharField(max_length=120)
    purpose = models.CharField(max_length=64, blank=True)
    tenant = models.CharField(max_length=64, blank=True)
    caller = models.CharField(max_length=128, blank=True)
    count = models.PositiveBigIntegerField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    minutes = models.BigIntegerField(default=0)  # of an hour: bit n is set when minute n has rows of this; of others: 0
    reason = models.TextField(blank=True)  # of the latest row; "" for OTHER, which has many

    class Meta:
        constraints = (models.UniqueConstraint(fields=["span", "start", "key"], name="airgap_total_once"),)

    def __str__(self) -> str:
        return f"{self.span} {self.start:%Y-%m-%dT%HZ} {self.host}:{self.port} ×{self.count}"


class ProcessBeat(models.Model):
    """The heartbeat of one process of the deployment, written by that process alone (airgap/fleet.py)."""

    instance = models.CharField(max_length=32, primary_key=True)  # one start of one process
    service = models.CharField(max_length=32)
    role = models.CharField(max_length=16)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    pid_space = models.CharField(max_length=80, blank=True)  # boot and PID namespace: who shares it can tell whether the pid lives
    pid_start = models.BigIntegerField(default=0)  # clock ticks since boot
    version = models.CharField(max_length=32)
    airgapped = models.BooleanField()
    guard = models.CharField(max_length=16)
    digest = models.CharField(max_length=64)
    facts = models.JSONField(default=dict)  # what the process says of itself for the checklist (airgap/facts.py): hosts and booleans
    skew = models.FloatField(default=0)  # seconds by which the process's clock is ahead of the database's
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)  # None: not known to have ended
    ended_how = models.CharField(max_length=16, blank=True)  # "stopped", "died" or "forgotten"

    class Meta:
        indexes = (models.Index(fields=["ended_at", "beat_at"]),)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid} {self.role}"


RowT = TypeVar("RowT", bound=models.Model)


class AppendOnly(models.QuerySet[RowT]):
    """Rows are added and never changed or removed."""

    def update(self, **_values: Any) -> NoReturn:
        raise TypeError("What was attested and signed off is append-only; a newer row takes its place.")

    def delete(self) -> NoReturn:
        raise TypeError("What was attested and signed off is append-only; a newer row takes its place.")


class Attestation(models.Model):
    """Somebody vouches for an item that cannot be proven from inside, or accepts one that is not OK (`accepts`), until it expires.

    Written by airgap.attest alone. `signature`: Ed25519 over airgap.attest.text_of, by the deployment's key, which is not in the
    database: a row that was put there or altered shows. A database trigger refuses every UPDATE.
    """

    item = models.CharField(max_length=64)
    accepts = models.BooleanField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField()
    expires_at = models.DateTimeField()
    note = models.TextField()
    ticket = models.CharField(max_length=120, blank=True)
    evidence = models.TextField(blank=True)  # the output of the probe, as it was given
    signature = models.CharField(max_length=128)
    key = models.CharField(max_length=64)

    objects = AppendOnly.as_manager()

    class Meta:
        indexes = (models.Index(fields=["item", "at"]),)

    def __str__(self) -> str:
        return f"{self.item} by {self.by} on {self.at:%Y-%m-%d}"


class SignOff(models.Model):
    """The whole checklist as it was signed off: who, when, and its digest (SHA-256 of the snapshot as canonical JSON, RFC 8785).

    Signed as an attestation is; a database trigger refuses every UPDATE.
    """

    at = models.DateTimeField()
    by = models.CharField(max_length=150)
    note = models.TextField(blank=True)
    verdict = models.CharField(max_length=16)
    digest = models.CharField(max_length=64)
    snapshot = models.JSONField()
    signature = models.CharField(max_length=128)
    key = models.CharField(max_length=64)

    objects = AppendOnly.as_manager()

    class Meta:
        indexes = (models.Index(fields=["at"]),)

    def __str__(self) -> str:
        return f"{self.verdict} by {self.by} on {self.at:%Y-%m-%d}"


class TrailCheck(models.Model):
    """One walk over every row of the trail: what airgap_audit and the report found. Pages, which walk the newest rows only, show the latest."""

    at = models.DateTimeField(db_index=True)
    rows = models.BigIntegerField()
    position = models.BigIntegerField()  # of the head at that time
    problems = models.JSONField()  # texts; none when the chain fits

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%dT%H:%MZ} {self.rows} rows, {len(self.problems)} problems"


class Contact(models.Model):
    """A target that the air gap would refuse and that was contacted while it was off: host and port only, counted (airgap/contacts.py)."""

    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    purpose = models.CharField(max_length=64)
    service = models.CharField(max_length=32)
    rule = models.CharField(max_length=32)
    reason = models.TextField(blank=True)
    count = models.PositiveBigIntegerField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["host", "port", "purpose", "service"], name="airgap_contact_once"),)

    def __str__(self) -> str:
        return f"{self.host}:{self.port} {self.purpose} ×{self.count}"
