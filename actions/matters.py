"""What the product itself tells: announced matters, grouped a kind, each told when it is news and repeated quietly.

A matter is news when it was never told, when it comes back after AISOC_NOTIFY_QUIET seconds without it, or when it was told
AISOC_NOTIFY_REPEAT seconds ago and still holds. Between two tellings of the same matter lie at least AISOC_NOTIFY_QUIET seconds; what happens
in between is counted and told then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from actions.deliveries import open_delivery
from actions.models import Delivery, Matter
from actions.specs import MAX_TITLE, one_line, shortened, shown
from airgap import clock
from airgap.announce import Announcement, Kind, Severity, standing

MOST_LINES: Final = 20  # matters that one message names
LONGEST_LINE: Final = 180  # characters
KEPT: Final = timedelta(days=90)  # a matter that was not seen since
TITLES: Final = {
    Kind.DRIFT: "{count} processes drift",
    Kind.FEED_STALE: "{count} feeds are stale",
    Kind.EGRESS: "Attempts to reach {count} hosts were refused",
    Kind.CREDENTIAL: "{count} credentials changed",
    Kind.CHECKLIST: "{count} checklist items fail",
}


def told_kinds() -> frozenset[Kind]:
    """What is switched on; nothing without AISOC_NOTIFY_CHANNEL."""
    env = settings.ENV
    return frozenset(Kind(word) for word in env.notify_events) if env.notify_channel else frozenset()


def happened(announcement: Announcement) -> None:
    """The receiver of announce(): each counts. It is told by the next watch."""
    if announcement.kind in told_kinds():
        _note(announcement, every_time=True)


def look_and_tell() -> list[Delivery]:
    """One round: what holds now, then one delivery for each kind that has news."""
    wanted = told_kinds()
    if not wanted:
        return []
    for announcement in standing():
        if announcement.kind in wanted:
            _note(announcement, every_time=False)
    return [delivery for kind in Kind if kind in wanted and (delivery := _tell(kind)) is not None]


def is_news(matter: Matter, seen: datetime, now: datetime, *, quiet: timedelta, repeat: timedelta) -> bool:
    """Whether what holds at `seen` should be told again. A telling in the future was written before the clock was set back."""
    if matter.told_at is None or matter.told_at > now:
        return True
    return seen - matter.last_at >= quiet or seen - matter.told_at >= repeat


def forget_old() -> int:
    return Matter.objects.filter(last_at__lt=clock.now() - KEPT).delete()[0]


def _note(announcement: Announcement, *, every_time: bool) -> None:
    """Write that a matter was seen. every_time: it happened anew, rather than still holds."""
    seen = announcement.seen or clock.now()
    said = {
        "title": one_line(announcement.title, MAX_TITLE),
        "text": shortened(shown(announcement.message), 1000),
        "severity": announcement.severity.value,
    }
    with transaction.atomic():
        name = {"kind": announcement.kind.value, "key": one_line(announcement.key, 300)}
        row, created = Matter.objects.select_for_update().get_or_create(**name, defaults={**said, "pending": 1, "first_at": seen, "last_at": seen})
        if created:
            return
        now = clock.now()  # of the held row: who waited for a telling would take it for one of the future
        if not row.pending and (every_time or is_news(row, seen, now, quiet=_seconds("notify_quiet"), repeat=_seconds("notify_repeat"))):
            row.pending, row.first_at = 1, seen
        elif every_time:
            row.pending += 1
        row.last_at = max(row.last_at, seen)
        for field, value in said.items():
            setattr(row, field, value)
        row.save()


def _tell(kind: Kind) -> Delivery | None:
    """The matters of a kind that are news, as one delivery, in the transaction that marks them as told."""
    now = clock.now()
    rested = Q(told_at=None) | Q(told_at__lte=now - _seconds("notify_quiet")) | Q(told_at__gt=now)
    with transaction.atomic():
        rows = list(Matter.objects.select_for_update().filter(rested, kind=kind.value, pending__gt=0).order_by("first_at", "pk"))
        if not rows:
            return None
        delivery = open_delivery(
            settings.ENV.notify_channel,
            title=rows[0].title if len(rows) == 1 else TITLES[kind].format(count=len(rows)),
            text=_text(rows),
            severity=min((Severity(row.severity) for row in rows), key=list(Severity).index),
            key=f"aisoc-{kind.value}-{rows[0].pk}-{now:%Y%m%dT%H%M%S%f}",
            origin="AiSOC Admin",
        )
        Matter.objects.filter(pk__in=[row.pk for row in rows]).update(pending=0, told_at=now)
    return delivery


def _text(rows: Sequence[Matter]) -> str:
    if len(rows) == 1 and rows[0].pending == 1:
        return rows[0].text
    lines = [shortened(" ".join(f"{row.title}{_times(row)}. {row.text}".split()), LONGEST_LINE) for row in rows[:MOST_LINES]]
    if len(rows) > MOST_LINES:
        lines.append(f"And {len(rows) - MOST_LINES} more.")
    return "\n".join(lines)


def _times(row: Matter) -> str:
    return f" ({row.pending} times since {row.first_at:%Y-%m-%d %H:%M} UTC)" if row.pending > 1 else ""


def _seconds(name: str) -> timedelta:
    return timedelta(seconds=getattr(settings.ENV, name))
