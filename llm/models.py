"""What the language model's side keeps: how each capability answered, and when each tenant asked."""

from django.db import models


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


class AskedLately(models.Model):
    """When somebody asked, as seconds since the epoch, oldest first: no more than the limit lets through. `who`: `tenant:acme`, `user:7`."""

    who = models.CharField(max_length=80)
    what = models.CharField(max_length=40)
    times = models.JSONField(default=list)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["who", "what"], name="one_row_an_asker"),)

    def __str__(self) -> str:
        return f"{self.who} asked for {self.what}"
