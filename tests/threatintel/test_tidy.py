"""Retention: what is long past goes, and nothing else."""

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from tests.threatintel.records import page, record
from threatintel import runs, tidy
from threatintel.models import FeedCursor, FeedDay, FeedRun, Indicator, IndicatorSource, SourceChange
from threatintel.store import store
from threatintel.tidy import CUT_OFF, RUN_DAYS, RUNS_KEPT

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 365  # AISOC_INDICATOR_DAYS, unless set


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def stored(feed: str, *values: str, **changes: object) -> None:
    with transaction.atomic():
        store(feed, page(*(record(value, **changes) for value in values)))


def left() -> set[tuple[str, str]]:
    return set(IndicatorSource.objects.values_list("feed", "indicator__value"))


def test_what_was_taken_back_long_ago_goes_with_its_indicator_and_its_history() -> None:
    stored("a", "old.example", "lately.example", "live.example")
    with transaction.atomic():
        store("a", page(withdrawn=("indicator--old.example", "indicator--lately.example")))
    IndicatorSource.objects.filter(indicator__value="old.example").update(updated_at=ago(DAYS + 1))
    IndicatorSource.objects.filter(indicator__value="lately.example").update(updated_at=ago(DAYS - 1))
    IndicatorSource.objects.filter(indicator__value="live.example").update(updated_at=ago(10 * DAYS))
    assert tidy.tidy()["sources"] == 1
    assert left() == {("a", "lately.example"), ("a", "live.example")}
    assert set(Indicator.objects.values_list("value", flat=True)) == {"lately.example", "live.example"}
    assert SourceChange.objects.count() == 1


def test_what_expired_long_ago_goes_and_what_expired_lately_stays() -> None:
    stored("a", "old.example", valid_until=ago(DAYS + 1))
    stored("a", "lately.example", valid_until=ago(1))
    tidy.tidy()
    assert left() == {("a", "lately.example")}


def test_what_a_feed_has_is_counted_anew() -> None:
    """Of what goes here, and of what was posted, no run counts anything."""
    stored("a", "old.example", valid_until=ago(DAYS + 1))
    stored("b", "posted.example", "other.example")
    FeedCursor.objects.filter(feed="a").update(live=1)
    tidy.tidy()
    assert dict(FeedCursor.objects.values_list("feed", "live")) == {"a": 0, "b": 2}
    assert not FeedDay.objects.exists()


def test_an_indicator_that_another_feed_names_stays() -> None:
    stored("a", "both.example", valid_until=ago(DAYS + 1))
    stored("b", "both.example")
    tidy.tidy()
    assert (left(), Indicator.objects.count()) == ({("b", "both.example")}, 1)


def test_more_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "_BATCH", 7)
    stored("a", *(f"h{number}.example" for number in range(20)), valid_until=ago(DAYS + 1))
    assert tidy.tidy()["sources"] == 20
    assert not Indicator.objects.exists()


def test_old_runs_go_but_not_the_last_ones_of_a_feed() -> None:
    FeedCursor.objects.create(feed="a")
    for number in range(RUNS_KEPT + 3):
        FeedRun.objects.create(feed="a", slot=f"1.{number}", state="ok", not_before=timezone.now())
    FeedRun.objects.update(created_at=ago(RUN_DAYS + 1))
    assert tidy.tidy()["runs"] == 3
    assert FeedRun.objects.count() == RUNS_KEPT
    assert not FeedRun.objects.filter(slot="1.2").exists()


def test_old_days_and_old_history_go() -> None:
    FeedDay.objects.create(feed="a", day=ago(401).date())
    FeedDay.objects.create(feed="a", day=ago(399).date())
    stored("a", "x.example")
    stored("a", "x.example", confidence=99)
    SourceChange.objects.update(at=ago(DAYS + 1))
    removed = tidy.tidy()
    assert (removed["days"], removed["changes"]) == (1, 1)


def test_an_import_that_was_cut_off_is_ended_with_what_to_do() -> None:
    slot = runs.import_slot()
    runs.open_run("kev", slot)
    assert runs.claim("kev", slot) is not None
    assert tidy.tidy()["imports"] == 0
    FeedRun.objects.update(lease_until=timezone.now() - CUT_OFF - timedelta(seconds=1))
    assert tidy.tidy()["imports"] == 1
    run = FeedRun.objects.get()
    assert (run.state, "Import the file again" in run.reason) == ("failed", True)


def test_nothing_to_remove_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stored("a", "x.example")
    assert not any(tidy.tidy().values())
    assert tidy.INTEL_TIDIED not in caplog.text
