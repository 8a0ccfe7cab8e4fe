"""Reads the counts by day, of one feed and of all."""

from datetime import date, timedelta

from django.db.models import Sum

from airgap import clock
from console.day_chart import DAYS, Day, DayChart, added_chart, last_days, live_chart
from threatintel.models import FeedDay


def all_feeds() -> DayChart | None:
    """What was new each day; None while nothing was ever counted in these days. Raises django.db.Error when the database is away."""
    today = clock.now().date()
    sums = FeedDay.objects.filter(day__gt=today - timedelta(days=DAYS), day__lte=today).values("day")
    found = {
        one["day"]: Day(one["day"], one["new"], one["other"], one["gone"])
        for one in sums.annotate(new=Sum("added"), other=Sum("changed"), gone=Sum("retired"))
    }
    return added_chart(last_days(found, today)) if found else None


def one_feed(feed: str, title: str) -> DayChart | None:
    """What was live at the end of each day; None when the feed was never counted."""
    today = clock.now().date()
    first = today - timedelta(days=DAYS - 1)
    of_feed = FeedDay.objects.filter(feed=feed, day__lte=today)
    before = of_feed.filter(day__lt=first).order_by("-day").values_list("live", flat=True).first()
    found: dict[date, Day] = {one.day: Day(one.day, one.added, one.changed, one.retired, one.live) for one in of_feed.filter(day__gte=first)}
    return live_chart(last_days(found, today, before), title) if found or before is not None else None
