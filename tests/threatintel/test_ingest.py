"""Pages of a run: each with its cursor, all of a whole feed or none of its removals, and what a run may take of time."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from airgap import clock
from airgap.policy import EgressPolicy
from tests.threatintel.records import day, record
from threatintel import poll as poll_module
from threatintel import runs
from threatintel.ingest import ingest, load_cursor, preview
from threatintel.models import FeedCursor, FeedDay, FeedRun, Indicator, IndicatorSource
from threatintel.poll import MORE, poll
from threatintel.specs import Cursor, FeedError, FeedSpec, Page, Record

pytestmark = pytest.mark.django_db(transaction=True)


def spec(*pages: Page | Exception, whole: bool = False, url: str = "http://127.0.0.1:9/x", name: str = "a") -> FeedSpec:
    def fetch(_client: object, _spec: FeedSpec, cursor: Cursor) -> Iterator[Page]:
        for one in pages[int(cursor.get("page", "0")) :]:
            if isinstance(one, Exception):
                raise one
            yield one

    return FeedSpec(name=name, title=name, kind="stix", url=url, every=timedelta(hours=1), fetch=fetch, whole=whole)


def page(number: int, *records: Record, **changes: object) -> Page:
    return Page(records=records, cursor={"page": str(number)}, **changes)  # type: ignore[arg-type]


def run_of(feed: str = "a") -> FeedRun:
    slot = runs.manual_slot()
    assert runs.open_run(feed, slot) is not None
    run = runs.claim(feed, slot)
    assert run is not None
    return run


def taken(one: FeedSpec, **options: float) -> FeedRun:
    run = run_of(one.name)
    ingest(run, one, one.fetch(None, one, load_cursor(one)), **options)  # type: ignore[arg-type]
    runs.finish(run, runs.State.OK)
    return run


def live() -> set[str]:
    return set(IndicatorSource.objects.filter(revoked=False).values_list("indicator__value", flat=True))


def test_each_page_is_kept_with_its_cursor_even_when_a_later_one_fails() -> None:
    broken = spec(page(1, record("x.example"), data_date=day(3)), FeedError("cut off"))
    with pytest.raises(FeedError):
        taken(broken)
    assert (live(), load_cursor(broken)) == ({"x.example"}, {"page": "1"})
    held = FeedCursor.objects.get()
    assert (held.data_date, held.live, FeedDay.objects.get().live) == (day(3), 1, 1)


def test_a_failed_poll_tells_what_was_stored_of_it() -> None:
    broken = spec(page(1, record("x.example"), record("y.example")), FeedError("cut off"))
    assert runs.open_run("a", "1") is not None
    polled = poll(broken, "1", retry=False)
    assert polled is not None
    row = FeedRun.objects.get()
    assert (row.state, row.fetched, row.added, polled.run.added) == ("failed", 2, 2, 2)


def test_the_data_is_as_young_as_its_youngest_page_and_none_lies_ahead() -> None:
    """OTX and files list what changed last first, or in no order, and some date it in years to come."""
    taken(spec(page(1, record("a.example"), data_date=day(2)), page(2, record("b.example"), data_date=day(-900))))
    taken(
        spec(page(1, record("c.example"), data_date=clock.now() + timedelta(days=9)), page(2, record("d.example"), data_date=day(1)), url="http://b/")
    )
    assert FeedCursor.objects.get().data_date == day(2)


def test_a_date_ahead_that_an_earlier_version_stored_gives_way() -> None:
    FeedCursor.objects.create(feed="a", moved_at=clock.now(), data_date=clock.now() + timedelta(days=3650))
    taken(spec(page(1, record("a.example"), data_date=day(2))))
    assert FeedCursor.objects.get().data_date == day(2)


def test_a_cursor_is_of_the_url_it_came_from() -> None:
    taken(spec(page(1, record("x.example"))))
    assert load_cursor(spec(url="http://127.0.0.1:9/other")) == {}


def test_of_a_whole_feed_what_no_page_lists_is_retired() -> None:
    taken(spec(page(1, record("x.example"), record("y.example")), page(2, record("z.example")), whole=True))
    FeedCursor.objects.update(data={})
    run = taken(spec(page(1, record("y.example")), page(2, record("new.example")), whole=True))
    assert (run.fetched, run.added, run.changed, run.retired) == (2, 1, 0, 2)
    assert live() == {"y.example", "new.example"}
    assert FeedCursor.objects.get().live == 2


def test_a_whole_feed_that_breaks_off_retires_nothing_and_moves_no_cursor() -> None:
    taken(spec(page(1, record("x.example"), record("y.example")), whole=True))
    FeedCursor.objects.update(data={"page": "0"})
    with pytest.raises(FeedError):
        taken(spec(page(1, record("y.example")), FeedError("cut off"), whole=True))
    assert (live(), FeedCursor.objects.get().data) == ({"x.example", "y.example"}, {"page": "0"})


def test_a_whole_feed_without_a_page_retires_nothing() -> None:
    """Nothing is new, says the server."""
    taken(spec(page(1, record("x.example")), whole=True))
    assert taken(spec(whole=True)).retired == 0
    assert live() == {"x.example"}


def test_a_preview_counts_what_would_come_and_stores_nothing() -> None:
    taken(spec(page(1, record("x.example"), record("y.example")), whole=True))
    before = list(IndicatorSource.objects.values())
    again = spec(page(1, record("y.example", confidence=99)), page(2, record("z.example")), whole=True)
    counts = preview(again, again.fetch(None, again, {}))  # type: ignore[arg-type]
    assert (counts.fetched, counts.added, counts.changed, counts.retired) == (2, 1, 1, 1)
    assert list(IndicatorSource.objects.values()) == before
    assert FeedCursor.objects.get().data == {"page": "1"}


def test_what_a_run_may_not_take_of_time_the_next_one_takes(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AIRGAP_POLICY = EgressPolicy.from_text("0", "")
    monkeypatch.setattr(poll_module, "BUDGET", -1.0)
    three = spec(*(page(number + 1, record(f"h{number}.example")) for number in range(3)))
    runs.open_run("a", "1.1")
    first = poll(three, "1.1")
    assert first is not None
    assert (first.state, first.reason, live()) == (runs.State.OK, MORE, {"h0.example"})
    for _ in range(5):
        waiting = FeedRun.objects.filter(state=runs.State.QUEUED).first()
        if waiting is None:
            break
        poll(three, waiting.slot)
    assert live() == {"h0.example", "h1.example", "h2.example"}
    assert list(FeedRun.objects.order_by("id").values_list("added", "reason")) == [(1, MORE), (1, MORE), (1, MORE), (0, "")]


def test_a_whole_feed_is_never_left_half_way() -> None:
    two = spec(page(1, record("x.example")), page(2, record("y.example")), whole=True)
    run = run_of()
    assert ingest(run, two, two.fetch(None, two, {}), until=time.monotonic() - 1) is True  # type: ignore[arg-type]
    assert live() == {"x.example", "y.example"}


def test_a_run_that_was_taken_over_stores_nothing_more() -> None:
    run = run_of()

    def pages() -> Iterator[Page]:
        yield page(1, record("x.example"))
        FeedRun.objects.update(attempt=2)  # another worker has it
        yield page(2, record("y.example"))

    with pytest.raises(runs.ClaimLost):
        ingest(run, spec(), pages())
    assert (live(), FeedCursor.objects.get().data) == ({"x.example"}, {"page": "1"})


def test_the_day_counts_what_its_runs_changed() -> None:
    taken(spec(page(1, record("x.example"), record("y.example"))))
    FeedCursor.objects.update(data={})
    taken(spec(page(1, record("y.example", confidence=99), withdrawn=("indicator--x.example",))))
    counted = FeedDay.objects.values_list("feed", "day", "added", "changed", "retired", "live")
    assert list(counted) == [("a", clock.now().date(), 2, 1, 1, 1)]


def test_context_is_stored_and_not_counted_as_an_indicator_of_the_feed() -> None:
    taken(spec(page(1, record("x.example", context=True), record("y.example"))))
    assert (FeedCursor.objects.get().live, Indicator.objects.count()) == (1, 2)
    assert not FeedRun.objects.exclude(state="ok").exists()
