"""Channels as API and page show them: configured or not, what the gate says, what came of the last delivery."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max

from actions.models import Delivery
from actions.registry import Channel, channels

State = Delivery.State


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """A channel with its last delivery, and how many deliveries it has in each state."""

    channel: Channel
    last: Delivery | None
    counts: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """CONTRACTS.md 2.8, a channel; the title is added."""
        decision, last = self.channel.decision, self.last
        return {
            "name": self.channel.name,
            "title": self.channel.title,
            "configured": self.channel.configured,
            "host": self.channel.host,
            "allowed": decision.allowed if decision else None,
            "rule": decision.rule.value if decision else None,
            "reason": self.channel.reason,
            "last_delivery": {
                "delivery": last.pk,
                "state": last.state,
                "attempts": last.attempts,
                "reason": last.reason,
                "created_at": last.created_at,
                "updated_at": last.updated_at,
            }
            if last
            else None,
        }


def channels_snapshot() -> tuple[ChannelSnapshot, ...]:
    """Every channel. Raises django.db.Error when the database is away."""
    known = channels()
    latest = Delivery.objects.values("channel").annotate(last=Max("pk")).values_list("last", flat=True)
    last = {row.channel: row for row in Delivery.objects.filter(pk__in=list(latest))}
    counts: dict[str, dict[str, int]] = {}
    for row in Delivery.objects.values("channel", "state").annotate(count=Count("pk")):
        counts.setdefault(row["channel"], {})[row["state"]] = row["count"]
    return tuple(ChannelSnapshot(one, last.get(one.name), counts.get(one.name, {})) for one in known)
