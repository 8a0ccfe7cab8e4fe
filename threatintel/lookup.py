"""Looks values up by the thousand: what the local store knows of them, in one query of its keys."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_interface
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection
from django.utils import timezone

from threatintel.identity import indicator_id
from threatintel.models import Indicator, IndicatorSource
from threatintel.queries import IndicatorView, SourceView, view, view_of_one

Pair = tuple[str, str]  # type, canonical value
Said = tuple[str, str, int, str, Sequence[str], str, datetime | None, datetime | None, datetime | None, bool, bool]  # the fields of a SourceView
_ROWS = 200  # taken at once: few enough that the memory of the last ones serves again
_NETWORKS = ("ipv4-addr", "ipv6-addr")
_SAID = "feed", "external_id", "confidence", "tlp", "labels", "url"
_TIMES = "first_seen", "last_seen", "valid_until"
_FLAGS = "revoked", "context"


def lookup(pairs: Iterable[Pair]) -> dict[Pair, list[IndicatorView]]:
    """What is known of each value: itself, and of an address the networks that contain it, the narrowest first.

    A value that sources name as context alone (no detection is asked for) is left out, and so is one that nobody knows.
    """
    asked = {indicator_id(*pair): pair for pair in pairs}
    prefixes = _prefixes() if any(type in _NETWORKS for type, _ in asked.values()) else {}
    around = {pair: {indicator_id(*network): network for network in _containing(pair, prefixes)} for pair in asked.values() if pair[0] in prefixes}
    wanted = asked | {key: network for networks in around.values() for key, network in networks.items()} if around else asked
    known = {key: [one] for key, one, context in _named(wanted) if not context}
    found = {pair: known[key] for key, pair in asked.items() if key in known}
    for pair, networks in around.items():
        if views := [view for key in networks for view in known.get(key, ())]:
            found[pair] = found.get(pair, []) + views
    return found


def exactly(pairs: Iterable[Pair]) -> list[IndicatorView]:
    """What is known of these values and no others, context too."""
    found = [one for _key, one, _context in _named({indicator_id(*pair): pair for pair in pairs})]
    return sorted(found, key=lambda one: (one.type, one.value))


def _named(pairs: Mapping[str, Pair]) -> Iterator[tuple[str, IndicatorView, bool]]:
    """Of each pair, given by its key, that any source names: the key, what is known of it, and whether all of them name it as context alone."""
    now = timezone.now()
    for key, of_key in groupby(_said(pairs), key=itemgetter(0)):
        type, value = pairs[key]
        said = [one for _key, one in of_key]
        if len(said) == 1:
            yield key, view_of_one(type, value, now, *said[0]), said[0][-1]
        else:
            sources = sorted((SourceView(*one) for one in said), key=lambda source: (source.feed, source.external_id))
            yield key, view(type, value, sources, now), all(source.context for source in sources)


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


def _said(keys: Iterable[str]) -> Iterator[tuple[str, Said]]:
    """What each source says, with the key of its indicator as hexadecimal digits; those of one indicator follow one another."""
    table = connection.ops.quote_name(IndicatorSource._meta.db_table)
    names = [f'"{name}"' for name in (*_SAID, *_TIMES, *_FLAGS)]
    asked: list[str] | str
    if connection.vendor == "postgresql":
        key, among, asked, typed = "encode(uuid_send(indicator_id), 'hex')", "= ANY(%s)", list(keys), _typed
    else:
        # The plus does nothing but make an expression of a column: the driver's converters would be called for each value, and take longer than the rest.
        names = [f"+{name}" for name in names]
        key, among, asked, typed = "indicator_id", "IN (SELECT value FROM json_each(%s))", json.dumps(sorted(keys)), _typed_from_text
    with connection.cursor() as cursor:
        # In the order of the index, whose pages are then read once.
        cursor.execute(f"SELECT {key}, {', '.join(names)} FROM {table} WHERE indicator_id {among} ORDER BY indicator_id", [asked])  # noqa: S608 - constants
        while rows := cursor.fetchmany(_ROWS):
            for row in rows:
                yield row[0], typed(row)


def _typed(row: Sequence[Any]) -> Said:
    _, feed, external_id, confidence, tlp, labels, url, first_seen, last_seen, valid_until, revoked, context = row
    return feed, external_id, confidence, tlp, _labels(labels), url, first_seen, last_seen, valid_until, revoked, context


def _typed_from_text(row: Sequence[Any]) -> Said:
    """As SQLite keeps it: times as text, numbers for booleans."""
    _, feed, external_id, confidence, tlp, labels, url, first_seen, last_seen, valid_until, revoked, context = row
    return (
        feed,
        external_id,
        confidence,
        tlp,
        _labels(labels),
        url,
        first_seen and _moment(first_seen),
        last_seen and _moment(last_seen),
        valid_until and _moment(valid_until),
        revoked == 1,
        context == 1,
    )


@lru_cache(4096)
def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@lru_cache(4096)
def _labels(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(json.loads(text))))
