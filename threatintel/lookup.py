"""Looks values up by the thousand: what the local store knows of them, in one query of its keys."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from functools import lru_cache
from ipaddress import ip_interface
from itertools import chain
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
    around = {pair: list(_containing(pair, prefixes)) for pair in asked if pair[0] in prefixes}
    wanted = chain(asked, *around.values())
    known = {(one.type, one.value): one for one, sources in _named(wanted) if not all(source.context for source in sources)}
    found = {pair: [known[pair]] for pair in asked if pair in known}
    for pair, networks in around.items():
        if views := [known[network] for network in networks if network in known]:
            found[pair] = found.get(pair, []) + views
    return found


def exactly(pairs: Iterable[Pair]) -> list[IndicatorView]:
    """What is known of these values and no others, context too."""
    return sorted((one for one, _sources in _named(pairs)), key=lambda one: (one.type, one.value))


def _named(pairs: Iterable[Pair]) -> Iterator[tuple[IndicatorView, list[SourceView]]]:
    keys = {indicator_id(*pair): pair for pair in pairs}
    now = timezone.now()
    for key, sources in _sources(list(keys)).items():
        if len(sources) > 1:
            sources.sort(key=lambda source: (source.feed, source.external_id))
        yield view(*keys[key], sources, now), sources


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
            for row in cursor.fetchall():
                found.setdefault(row[0].hex, []).append(_said(row))
            return found
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            places = ", ".join(["%s"] * len(chunk))
            cursor.execute(f"SELECT {columns} FROM {table} s WHERE s.indicator_id IN ({places})", chunk)  # noqa: S608 - as above
            for row in cursor.fetchall():
                found.setdefault(row[0], []).append(_said(row))
    return found


def _said(row: Sequence[Any]) -> SourceView:
    """From the columns, in their order. SQLite keeps naive UTC, and numbers for booleans."""
    _, feed, external_id, confidence, tlp, labels, url, first_seen, last_seen, valid_until, revoked, context = row
    if first_seen is not None and first_seen.tzinfo is None:
        first_seen = first_seen.replace(tzinfo=UTC)
    if last_seen is not None and last_seen.tzinfo is None:
        last_seen = last_seen.replace(tzinfo=UTC)
    if valid_until is not None and valid_until.tzinfo is None:
        valid_until = valid_until.replace(tzinfo=UTC)
    return SourceView(feed, external_id, confidence, tlp, _labels(labels), url, first_seen, last_seen, valid_until, bool(revoked), bool(context))


@lru_cache(4096)
def _labels(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
