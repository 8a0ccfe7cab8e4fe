"""The push to MISP as one more row of the feeds page, from its queue and the settings: asks MISP nothing."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Max, Q

from console.provenance import Origin, origin_of
from threatintel.models import MispPush
from threatintel.push import place_refusal
from threatintel.snapshot import Verdict

VARIABLES = ("MISP_URL", "MISP_API_KEY", "MISP_PUSH_AUTO")
State = MispPush.State


@dataclass(frozen=True, slots=True)
class PushRow:
    """State in one word, with its reason. waiting: queued or under way; refused: objects whose markings or parts forbid it."""

    state: Verdict
    reason: str
    last_success: datetime | None
    last_attempt: datetime | None
    sent: int
    waiting: int
    failed: int
    refused: int
    variables: tuple[Origin, ...]


def push_row() -> PushRow:
    """Raises django.db.Error when the database is away."""
    found = MispPush.objects.aggregate(
        success=Max("pushed_at"),
        attempt=Max("updated_at", filter=Q(claims__gt=0)),
        sent=Count("pk", filter=Q(state=State.PUSHED)),
        waiting=Count("pk", filter=Q(state__in=(State.QUEUED, State.RUNNING))),
        failed=Count("pk", filter=Q(state=State.FAILED)),
        refused=Count("pk", filter=Q(state=State.REFUSED)),
    )
    state, reason = _verdict(failed=found["failed"])
    return PushRow(
        state=state,
        reason=reason,
        last_success=found["success"],
        last_attempt=found["attempt"],
        sent=found["sent"],
        waiting=found["waiting"],
        failed=found["failed"],
        refused=found["refused"],
        variables=tuple(origin_of(name) for name in VARIABLES),
    )


def _verdict(*, failed: int) -> tuple[Verdict, str]:
    """The place first, then what the latest pushes met."""
    if not (settings.ENV.misp_url and settings.ENV.misp_api_key):
        return Verdict.OFF, "Not configured. Set MISP_URL and MISP_API_KEY."
    refusal = place_refusal()
    if refusal is not None:
        return Verdict.REFUSED if refusal.rule else Verdict.FAILING, refusal.reason
    waits = MispPush.objects.filter(state__in=(State.QUEUED, State.RUNNING), attempt__gt=0).exclude(reason="").order_by("-updated_at").first()
    if waits is not None:
        return Verdict.ATTENTION, f"Tried again soon. {waits.reason}"
    if failed:
        latest = MispPush.objects.filter(state=State.FAILED).order_by("-updated_at").first()
        return Verdict.ATTENTION, f"{failed:,} given up. {latest.reason if latest else ''}".strip()
    if not settings.ENV.misp_push_auto:
        return Verdict.OFF, "MISP_PUSH_AUTO is false: on request only."
    return Verdict.OK, ""
