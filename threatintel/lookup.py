"""Looks values up by the thousand: what the local store knows of them, in one query of its keys."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
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
_SAID = "feed", "external_id", "confidence", "tlp", "labels", "url"
_TIMES = "first_seen", "last_seen", "valid_until"
_FLAGS = "revoked", "context"


def lookup(pairs: Iterable[Pair]) -> dict[Pair, list[IndicatorView]]:
    """What is known of each value: itself, and of an address the networks that contain it, the narrowest first.

    A value that sources name as context alone (no detection is asked for) is left out, and so is one that nobody knows.
    """
    asked = list(dict.fromkeys(pairs))
    prefixes = _prefixes() if any(type in _NETWORKS for type, _ in asked) else {}
    around = {pair: list(_containing(pair, prefixes)) for pair in asked if pair[0] in prefixes}
    wanted = chain(asked, *around.values())
    known = {pair: one for pair, one, context in _named(wanted) if not context}
    found = {pair: [known[pair]] for pair in asked if pair in known}
    for pair, networks in around.items():
        if views := [known[network] for network in networks if network in known]:
            found[pair] = found.get(pair, []) + views
    return found


def exactly(pairs: Iterable[Pair]) -> list[IndicatorView]:
    """What is known of these values and no others, context too."""
    return [one for _pair, one, _context in sorted(_named(pairs), key=lambda named: named[0])]


def _named(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, IndicatorView, bool]]:
    """Of each pair that any source names, what is known of it, and whether all of them name it as context alone."""
    keys = {indicator_id(*pair): pair for pair in pairs}
    now = timezone.now()
    for key, sources in _sources(list(keys)).items():
        pair = keys[key]
        if len(sources) == 1:
            yield pair, view(*pair, sources, now), sources[0].context
        else:
            sources.sort(key=lambda source: (source.feed, source.external_id))
            yield pair, view(*pair, sources, now), all(source.context for source in sources)


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
    """By key of the indicator, as hexadecimal digits."""
    table = connection.ops.quote_name(IndicatorSource._meta.db_table)
    asked: list[Any]
    if connection.vendor == "postgresql":
        columns = ", ".join(("encode(uuid_send(s.indicator_id), 'hex')", *(f's."{name}"' for name in (*_SAID, *_TIMES, *_FLAGS))))
        table, asked, said = f"{table} s WHERE s.indicator_id = ANY(%s)", [list(keys)], _said
    else:
        # The plus does nothing but make an expression of a column: the driver's converters would be called for each value, and take longer than the rest.
        columns = ", ".join(("s.indicator_id", *(f's."{name}"' for name in _SAID), *(f'+s."{name}"' for name in (*_TIMES, *_FLAGS))))
        # In the order of the index, whose pages are then read once.
        table, asked, said = f"json_each(%s) AS asked CROSS JOIN {table} s ON s.indicator_id = asked.value", [json.dumps(sorted(keys))], _said_in_text
    found: dict[str, list[SourceView]] = {}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table}", asked)  # noqa: S608 - names of the model's columns
        for row in cursor.fetchall():
            found.setdefault(row[0], []).append(said(row))
    return found


def _said(row: Sequence[Any]) -> SourceView:
    _, feed, external_id, confidence, tlp, labels, *rest = row
    return SourceView(feed, external_id, confidence, tlp, _labels(labels), *rest)


def _said_in_text(row: Sequence[Any]) -> SourceView:
    """As SQLite keeps it: times as text, numbers for booleans."""
    _, feed, external_id, confidence, tlp, labels, url, first_seen, last_seen, valid_until, revoked, context = row
    times = first_seen and _moment(first_seen), last_seen and _moment(last_seen), valid_until and _moment(valid_until)
    return SourceView(feed, external_id, confidence, tlp, _labels(labels), url, *times, bool(revoked), bool(context))


@lru_cache(4096)
def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@lru_cache(4096)
def _labels(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
