"""Looks values up by the thousand: what the local store knows of them, in one query of its keys."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_interface
from typing import Any

from django.db import connection
from django.utils import timezone

from threatintel.identity import indicator_id
from threatintel.models import Indicator, IndicatorSource
from threatintel.queries import IndicatorView, SourceView, view

Pair = tuple[str, str]  # type, canonical value
_NETWORKS = ("ipv4-addr", "ipv6-addr")
_COLUMNS = (
    "indicator_id",
    "feed",
    "external_id",
    "confidence",
    "tlp",
    "labels",
    "url",
    "first_seen",
    "last_seen",
    "valid_until",
    "revoked",
    "context",
)
_CHUNK = 900  # parameters of one statement on SQLite


def lookup(pairs: Iterable[Pair]) -> dict[Pair, list[IndicatorView]]:
    """What is known of each value: itself, and of an address the networks that contain it, the narrowest first.

    A value that sources name as context alone (no detection is asked for) is left out, and so is one that nobody knows.
    """
    asked = list(dict.fromkeys(pairs))
    prefixes = _prefixes() if any(type in _NETWORKS for type, _ in asked) else {}
    wanted = {pair: [pair, *_containing(pair, prefixes)] for pair in asked}
    keys = {indicator_id(*candidate): candidate for candidates in wanted.values() for candidate in candidates}
    now = timezone.now()
    known = {
        keys[key]: view(*keys[key], sources, now) for key, sources in _sources(list(keys)).items() if any(not source.context for source in sources)
    }
    found = {pair: [known[candidate] for candidate in candidates if candidate in known] for pair, candidates in wanted.items()}
    return {pair: views for pair, views in found.items() if views}


def _prefixes() -> dict[str, list[int]]:
    """By type, how long the prefixes of the networks are that any feed names; the longest first."""
    found: dict[str, list[int]] = {}
    for type, prefix in (
        Indicator.objects.filter(prefix__isnull=False, type__in=_NETWORKS).values_list("type", "prefix").distinct().order_by("-prefix")
    ):
        found.setdefault(type, []).append(int(prefix or 0))
    return found


def _containing(pair: Pair, prefixes: dict[str, list[int]]) -> Iterator[Pair]:
    type, value = pair
    if type not in prefixes:
        return
    inside = ip_interface(value)
    for bits in prefixes[type]:
        if bits < inside.network.prefixlen:
            yield type, str(ip_interface(f"{inside.ip}/{bits}").network)


def _sources(keys: Sequence[str]) -> dict[str, list[SourceView]]:
    table, columns = connection.ops.quote_name(IndicatorSource._meta.db_table), ", ".join(f's."{name}"' for name in _COLUMNS)
    found: dict[str, list[SourceView]] = {}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SELECT {columns} FROM {table} s WHERE s.indicator_id = ANY(%s)", [list(keys)])  # noqa: S608 - names of the model's columns
            for key, *said in cursor.fetchall():
                found.setdefault(key.hex, []).append(_said(said))
            return found
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            places = ", ".join(["%s"] * len(chunk))
            cursor.execute(f"SELECT {columns} FROM {table} s WHERE s.indicator_id IN ({places})", chunk)  # noqa: S608 - as above
            for key, *said in cursor.fetchall():
                found.setdefault(key, []).append(_said(said))
    return found


def _said(row: Sequence[Any]) -> SourceView:
    feed, external_id, confidence, tlp, labels, url, first_seen, last_seen, valid_until, revoked, context = row
    return SourceView(
        feed,
        external_id,
        confidence,
        tlp,
        () if labels == "[]" else json.loads(labels),
        url,
        _moment(first_seen),
        _moment(last_seen),
        _moment(valid_until),
        bool(revoked),
        bool(context),
    )


def _moment(value: datetime | None) -> datetime | None:
    """SQLite keeps naive UTC."""
    if value is None or value.tzinfo is not None:
        return value
    return value.replace(tzinfo=UTC)
