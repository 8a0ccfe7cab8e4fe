"""What an investigation may ask of the local store: known indicators, enrichment, and what else their sources name. All of it reads."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from threatintel.enrich import OPEN, enrich, restricted
from threatintel.extract import observables_of
from threatintel.lookup import lookup
from threatintel.models import IndicatorSource

MOST: Final = 8  # findings of one tool
_MOST_OBJECTS: Final = 20


class Told(NamedTuple):
    """One fact: what it is, its value, who says so, and the fact as a sentence ("" for evidence alone). restricted: marked as more than TLP:GREEN."""

    label: str
    value: str
    source: str
    says: str = ""
    restricted: bool = False


class IntelTool(NamedTuple):
    """`run` takes the alert as a JSON object."""

    name: str
    title: str
    purpose: str
    run: Callable[[Mapping[str, Any]], Iterator[Told]]


def known_indicators(alert: Mapping[str, Any]) -> Iterator[Told]:
    """Which of the alert's observables a feed names."""
    found = observables_of(alert)
    known = lookup(found.paths)
    count = f"{len(known)} of {len(found.paths)}"
    yield Told("Observables known", count, "the local store", f"Feeds know {count} observables of the alert.")
    for pair, views in list(known.items())[: MOST - 1]:
        for one in views[:1]:
            feeds = ", ".join(sorted({str(source["feed"]) for source in one.sources}))
            says = f"{pair[1]} is known to {feeds} ({one.status}, confidence {one.confidence})."
            yield Told(pair[0], pair[1], feeds, says, restricted=one.tlp not in OPEN)
    yield from (Told("Left out", sentence, "the local store") for sentence in found.cut)


def enriched(alert: Mapping[str, Any]) -> Iterator[Told]:
    """What warning lists and, where the gate allows, live providers say of the observables."""
    found = observables_of(alert)
    answer = enrich(found.paths, found.cut)
    for one in answer.observables:
        if one.benign_lists:
            lists = ", ".join(one.benign_lists[:3])
            yield Told(one.type, one.value, lists, f"{one.value} stands on warning lists of what is mostly harmless: {lists}.")
        for verdict in one.verdicts:
            counts = f"{verdict.malicious} malicious, {verdict.harmless} harmless"
            yield Told(one.type, f"{one.value}: {counts}", verdict.provider, f"{verdict.provider} has {counts} verdicts on {one.value}.")
    for provider in answer.providers:
        yield Told("Provider", f"{provider['name']}: {provider['path']}", provider["name"])
    yield Told("Observables enriched", str(len(answer.observables)), "enrichment")


def related(alert: Mapping[str, Any]) -> Iterator[Told]:
    """Other observables of the same reports: what stands beside a known one is worth looking for."""
    known = lookup(observables_of(alert).paths)
    objects = list(
        dict.fromkeys((str(source["feed"]), str(source["external_id"])) for views in known.values() for one in views for source in one.sources)
    )
    own = set(known)
    count = 0
    for feed, external_id in objects[:_MOST_OBJECTS]:
        rows = IndicatorSource.objects.filter(feed=feed, external_id=external_id, revoked=False).select_related("indicator").order_by("pk")
        for row in rows[:MOST]:
            pair = (row.indicator.type, row.indicator.value)
            if pair not in own and count < MOST - 1:
                own.add(pair)
                count += 1
                says = f"{feed} names {pair[1]} in the same object; look for it too."
                yield Told(pair[0], pair[1], feed, says, restricted=row.tlp not in OPEN or pair in restricted([pair]))
    yield Told("Related observables", str(count), "the local store", "" if count else "No source names other observables beside those of the alert.")


TOOLS: Final = (
    IntelTool("indicator_lookup", "Indicator look-up", "which observables of the alert a threat-intel feed knows", known_indicators),
    IntelTool("enrichment", "Enrichment", "what lists of harmless values and outside providers say of the observables", enriched),
    IntelTool("related_observables", "Related observables", "what else the sources of the known observables name", related),
)
