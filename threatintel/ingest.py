"""Stores pages of records: each in one transaction with the run's counters and the cursor, all or nothing."""

import hashlib
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, F

from airgap import clock
from threatintel import runs
from threatintel.feeds.answers import AHEAD
from threatintel.models import FeedCursor, FeedDay, FeedRun, IndicatorSource
from threatintel.specs import Cursor, FeedSpec, Page
from threatintel.store import Counts, retire
from threatintel.store import store as store_page

_MOST_REASONS = 50  # kept on a run
_RETIRED_AT_ONCE = 5000


class _OnlyTrying(Exception):
    """Rolls a preview back."""


def load_cursor(spec: FeedSpec) -> Cursor:
    """The feed's cursor; empty when it was kept for another URL."""
    kept = FeedCursor.objects.filter(feed=spec.name).first()
    return kept.data if kept is not None and kept.url_digest == _digest(spec.url) else {}


def ingest(run: FeedRun, spec: FeedSpec, pages: Iterable[Page], *, until: float = float("inf")) -> bool:
    """Store every page; whether all were. Raises runs.ClaimLost when the run was taken over.

    However it ends, what the feed has now is counted: pages that were stored stay.

    Of a feed that is whole, what no page listed is retired after the last one, in the transaction that moves the cursor.
    until: monotonic time after which no further page is taken (of a feed that is not whole); the next run goes on from there.
    """
    try:
        return _ingest(run, spec, pages, until=until)
    finally:
        _sum_up(run)


def _ingest(run: FeedRun, spec: FeedSpec, pages: Iterable[Page], *, until: float) -> bool:
    listed = _Listed() if spec.whole else None
    cursor: Cursor | None = None
    data_date: datetime | None = None
    done = False
    for page in pages:
        done = True
        with transaction.atomic():
            _count(run, store_page(spec.name, page, run=run.pk, seen=listed.add if listed else None))
            cursor, data_date = page.cursor, page.data_date or data_date
            if listed is None:
                _move(spec, cursor, data_date)
            runs.confirm(run)
        if listed is None and time.monotonic() > until:
            return False
    if listed is not None and done:
        with transaction.atomic():
            _count(run, Counts(retired=listed.retire_others(spec.name, run.pk)))
            _move(spec, cursor, data_date)
            runs.confirm(run)
    return True


def preview(spec: FeedSpec, pages: Iterable[Page]) -> Counts:
    """What ingest() would do, done in one transaction that is rolled back."""
    counts = Counts()
    try:
        with transaction.atomic():
            listed = _Listed() if spec.whole else None
            for page in pages:
                counts += store_page(spec.name, page, seen=listed.add if listed else None)
            if listed is not None:
                counts += Counts(retired=listed.retire_others(spec.name, 0))
            raise _OnlyTrying
    except _OnlyTrying:
        return counts


def store(feed: str, page: Page) -> Counts:
    """Store what somebody posted: one page, without a run."""
    with transaction.atomic():
        return store_page(feed, page)


class _Listed:
    """Ids that the pages of a run listed, in a table of this connection: a catalogue may have millions.

    The table is part of the transactions that fill it.
    """

    _TABLE = "threatintel_listed"

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {self._temporary}")
            cursor.execute(f"CREATE TEMP TABLE {self._TABLE} (id {IndicatorSource._meta.pk.db_type(connection)} PRIMARY KEY)")

    @property
    def _temporary(self) -> str:
        """Named so that nothing but a temporary table can be meant."""
        return f"{'pg_temp' if connection.vendor == 'postgresql' else 'temp'}.{self._TABLE}"

    def add(self, ids: Iterable[str]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self._temporary} (id) VALUES (%s) ON CONFLICT DO NOTHING", [(key,) for key in ids])  # noqa: S608 - a constant

    def retire_others(self, feed: str, run: int) -> int:
        table = connection.ops.quote_name(IndicatorSource._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id FROM {table} WHERE feed = %s AND NOT revoked AND id NOT IN (SELECT id FROM {self._temporary})",  # noqa: S608 - constants
                [feed],
            )
            keys = [key.hex if isinstance(key, UUID) else key for (key,) in cursor.fetchall()]
        now = clock.now()
        return sum(retire(keys[start : start + _RETIRED_AT_ONCE], run, now) for start in range(0, len(keys), _RETIRED_AT_ONCE))


def _count(run: FeedRun, counts: Counts) -> None:
    """On the run and on its day, in the transaction that stored the records."""
    run.fetched += counts.fetched
    run.added += counts.added
    run.changed += counts.changed
    run.retired += counts.retired
    run.skipped += counts.skipped
    for reason, times in counts.skips.items():
        if reason in run.skips or len(run.skips) < _MOST_REASONS:
            run.skips[reason] = run.skips.get(reason, 0) + times
    if counts.added or counts.changed or counts.retired:
        day, _ = FeedDay.objects.get_or_create(feed=run.feed, day=clock.now().date())
        FeedDay.objects.filter(pk=day.pk).update(
            added=F("added") + counts.added, changed=F("changed") + counts.changed, retired=F("retired") + counts.retired
        )


def _move(spec: FeedSpec, cursor: Cursor | None, data_date: datetime | None) -> None:
    """data_date: of a feed that is not whole never back, whatever the order of its pages, and never ahead: what it has is as young as its youngest."""
    changed: dict[str, Any] = {}
    latest = clock.now() + AHEAD
    if data_date is not None and (spec.whole or data_date <= latest):
        held = None if spec.whole else FeedCursor.objects.filter(feed=spec.name, data_date__lte=latest).values_list("data_date", flat=True).first()
        changed["data_date"] = data_date if held is None else max(held, data_date)
    if cursor is not None:
        changed |= {"url_digest": _digest(spec.url), "data": dict(cursor)}
    FeedCursor.objects.update_or_create(feed=spec.name, defaults={"moved_at": clock.now(), **changed})


def _sum_up(run: FeedRun) -> None:
    """Count what the feed has now; also after an attempt that found everything stored by the one before it."""
    if not (run.added or run.changed or run.retired or run.attempt > 1):
        return
    with transaction.atomic():
        FeedDay.objects.update_or_create(feed=run.feed, day=clock.now().date(), defaults={"live": count_live(run.feed)})


def count_live(feed: str) -> int:
    """How many indicators of the feed are not taken back and no context, written on its cursor."""
    with transaction.atomic():
        FeedCursor.objects.select_for_update().filter(feed=feed).first()
        live: int = IndicatorSource.objects.filter(feed=feed, revoked=False, context=False).aggregate(n=Count("indicator", distinct=True))["n"]
        FeedCursor.objects.filter(feed=feed).update(live=live)
    return live


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
