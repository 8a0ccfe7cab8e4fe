"""Stores pages of records: each in one transaction with the run's counters and the cursor, all or nothing."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from threatintel import runs
from threatintel.models import FeedCursor, FeedRun, Indicator, IndicatorSource
from threatintel.specs import Cursor, FeedSpec, Page, Record

BATCH = 500
_FIELDS = ("confidence", "tlp", "labels", "description", "url", "first_seen", "last_seen", "valid_until", "revoked", "raw")


@dataclass(frozen=True, slots=True)
class _Known:
    pk: int
    digest: str


def load_cursor(spec: FeedSpec) -> Cursor:
    """The feed's cursor; empty when it was kept for another URL."""
    kept = FeedCursor.objects.filter(feed=spec.name).first()
    return kept.data if kept is not None and kept.url_digest == _digest(spec.url) else {}


def ingest(run: FeedRun, spec: FeedSpec, pages: Iterable[Page]) -> None:
    """Store every page, then say that the feed was read through. Raises runs.ClaimLost when the run was taken over.

    What a complete page no longer lists is revoked in that page's transaction. What is unchanged is not written.
    """
    for page in pages:
        with transaction.atomic():
            run.fetched += len(page.records)
            _store(run, spec, page)
            FeedCursor.objects.update_or_create(
                feed=spec.name,
                defaults={"url_digest": _digest(spec.url), "data": dict(page.cursor), "data_date": page.data_date, "moved_at": timezone.now()},
            )
            runs.confirm(run)


def _store(run: FeedRun, spec: FeedSpec, page: Page) -> None:
    known = {
        (row["indicator__type"], row["indicator__value"], row["external_id"]): _Known(row["pk"], row["digest"])
        for row in IndicatorSource.objects.filter(feed=spec.name).values("pk", "digest", "external_id", "indicator__type", "indicator__value")
    }
    fresh: dict[tuple[str, str, str], Record] = {(record.type, record.value, record.external_id): record for record in page.records}
    new = {key: record for key, record in fresh.items() if key not in known}
    changed = {key: record for key, record in fresh.items() if key in known and known[key].digest != record_digest(record)}
    _insert(spec, new)
    _update({known[key].pk: record for key, record in changed.items()})
    run.added += len(new)
    run.changed += len(changed)
    if page.complete:
        run.retired += _retire([kept.pk for key, kept in known.items() if key not in fresh])


def _insert(spec: FeedSpec, records: dict[tuple[str, str, str], Record]) -> None:
    Indicator.objects.bulk_create(
        [Indicator(type=kind, value=value) for kind, value in {key[:2]: None for key in records}], batch_size=BATCH, ignore_conflicts=True
    )
    ids = _indicator_ids(records)
    IndicatorSource.objects.bulk_create(
        [
            IndicatorSource(indicator_id=ids[kind, value], feed=spec.name, external_id=external_id, digest=record_digest(record), **_columns(record))
            for (kind, value, external_id), record in records.items()
        ],
        batch_size=BATCH,
    )


def _indicator_ids(records: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], int]:
    values = sorted({key[1] for key in records})
    return {
        (row.type, row.value): row.pk
        for start in range(0, len(values), BATCH)
        for row in Indicator.objects.filter(value__in=values[start : start + BATCH]).only("type", "value")
    }


def _update(records: dict[int, Record]) -> None:
    rows = [IndicatorSource(pk=pk, digest=record_digest(record), updated_at=timezone.now(), **_columns(record)) for pk, record in records.items()]
    IndicatorSource.objects.bulk_update(rows, [*_FIELDS, "digest", "updated_at"], batch_size=BATCH)


def _retire(pks: list[int]) -> int:
    """Mark sources as revoked; the cleared digest has them written again should the feed list them once more."""
    return sum(
        IndicatorSource.objects.filter(pk__in=pks[start : start + BATCH], revoked=False).update(revoked=True, digest="", updated_at=timezone.now())
        for start in range(0, len(pks), BATCH)
    )


def _columns(record: Record) -> dict[str, Any]:
    columns = {name: getattr(record, name) for name in _FIELDS}
    return {**columns, "tlp": record.tlp.value, "labels": list(record.labels), "raw": dict(record.raw)}


def record_digest(record: Record) -> str:
    """SHA-256 of everything that is stored of a record."""
    return _digest(json.dumps(asdict(record), sort_keys=True, default=str))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
