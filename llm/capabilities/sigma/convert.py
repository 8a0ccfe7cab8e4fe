"""Converts a Sigma rule to SPL, ES|QL and KQL with pySigma's backends, and says what the query leaves out."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from llm.capabilities.sigma.kql_tables import Pipeline, Table, table_of

if TYPE_CHECKING:
    from sigma.conversion.base import Backend
    from sigma.processing.pipeline import ProcessingPipeline
    from sigma.rule import SigmaRule

INDEX: Final = "logs-*"


class Target(StrEnum):
    """The query languages, as CONTRACTS.md 2.6 names them."""

    SPL = "spl"
    ESQL = "esql"
    KQL = "kql"


@dataclass(frozen=True, slots=True)
class Format:
    """What people read about a target."""

    target: Target
    title: str
    fields: str  # whose field names the query has


FORMATS: Final = (
    Format(Target.SPL, "Splunk Search Processing Language", "Splunk's Windows add-on for Windows rules, else the rule's own"),
    Format(Target.ESQL, "Elasticsearch Query Language (ES|QL)", "Elastic Common Schema for Windows, macOS and Zeek rules, else the rule's own"),
    Format(Target.KQL, "Kusto Query Language", "Microsoft Defender XDR or Microsoft Sentinel, by the rule's log source"),
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The query, or None with the reason among the notes. Several conditions are several queries, apart by an empty line."""

    target: Target
    query: str | None
    notes: tuple[str, ...] = ()


def convert(rule: "SigmaRule", target: Target) -> Conversion:
    """The rule in the target's language. The rule itself stays as it is."""
    return _CONVERTERS[target](deepcopy(rule))


def _spl(rule: "SigmaRule") -> Conversion:
    from sigma.backends.splunk.splunk import SplunkBackend
    from sigma.pipelines.splunk.splunk import splunk_windows_pipeline

    windows = rule.logsource.product == "windows"
    notes = [] if windows else ["The field names are the rule's own: pySigma has no Splunk mapping for this log source."]
    notes.append("The query names no index: add yours.")
    backend = SplunkBackend(splunk_windows_pipeline() if windows else None)  # type: ignore[no-untyped-call]  # upstream leaves its result untyped
    return _converted(Target.SPL, backend, rule, notes)


def _esql(rule: "SigmaRule") -> Conversion:
    from sigma.backends.elasticsearch.elasticsearch_esql import ESQLBackend
    from sigma.pipelines.elasticsearch.macos import ecs_macos_esf
    from sigma.pipelines.elasticsearch.windows import ecs_windows
    from sigma.pipelines.elasticsearch.zeek import ecs_zeek_corelight
    from sigma.processing.pipeline import ProcessingPipeline

    mapped = {"windows": ecs_windows, "macos": ecs_macos_esf, "zeek": ecs_zeek_corelight}.get(rule.logsource.product or "")
    pipeline: ProcessingPipeline = mapped() if mapped else ProcessingPipeline()
    notes = [] if mapped else ["The field names are the rule's own: pySigma has no ECS mapping for this log source."]
    notes += _worded(rule)
    found = _converted(Target.ESQL, ESQLBackend(pipeline), rule, notes)
    if found.query is None:
        return found
    query = re.sub(r"\Afrom \* ", f"from {INDEX} ", found.query)
    sensitive = re.search(r" (?:like|rlike|==)|ends_with|starts_with", query)
    return Conversion(found.target, query, found.notes + (("ES|QL compares texts with regard to case; Sigma does not.",) if sensitive else ()))


def _kql(rule: "SigmaRule") -> Conversion:
    from sigma.backends.kusto.kusto import KustoBackend
    from sigma.pipelines.azuremonitor.azuremonitor import azure_monitor_pipeline
    from sigma.pipelines.microsoftxdr.microsoftxdr import microsoft_xdr_pipeline

    source = rule.logsource
    table = table_of(source.category, source.product, source.service)
    if table is None:
        named = ", ".join(str(part) for part in (source.product, source.category, source.service) if part)
        return Conversion(Target.KQL, None, (f"No Microsoft table is known for the log source {named}.",))
    notes = [f"The columns are those of {table.pipeline}, table {table.name}."]
    if table.pipeline is not Pipeline.COLUMNS and _keywords(rule):
        return Conversion(Target.KQL, None, (f"Cannot be expressed: keywords have no column in {table.name}.",))
    if table.pipeline is Pipeline.XDR:
        return _converted(Target.KQL, KustoBackend(microsoft_xdr_pipeline()), rule, notes + _unslashed(rule))
    if table.pipeline is Pipeline.MONITOR:
        return _converted(Target.KQL, KustoBackend(azure_monitor_pipeline(query_table=table.name)), rule, notes)
    if "message" in table.columns:
        notes += _worded(rule)
    elif _keywords(rule):
        return Conversion(Target.KQL, None, (f"Cannot be expressed: keywords have no column in {table.name}.",))
    unknown = sorted(_fields(rule) - set(table.columns) - set(table.columns.values()) - {"EventID"})
    if unknown:
        notes.append(f"No column of {table.name} is known for {', '.join(unknown)}; the rule's own name stands.")
    found = _converted(Target.KQL, KustoBackend(_columns(table)), rule, notes)
    if found.query is None:
        return found
    where = f"({found.query})" if table.where and " or " in found.query else found.query
    return Conversion(Target.KQL, f"{table.name}\n| where {table.where + ' and ' if table.where else ''}{where}", found.notes)


_CONVERTERS: Final[dict[Target, Callable[["SigmaRule"], Conversion]]] = {Target.SPL: _spl, Target.ESQL: _esql, Target.KQL: _kql}


def _columns(table: Table) -> "ProcessingPipeline":
    from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
    from sigma.processing.transformations import FieldMappingTransformation

    columns: dict[str | None, str | list[str]] = {}
    for name, column in table.columns.items():
        columns[name] = column
    return ProcessingPipeline(name=table.name, items=[ProcessingItem(FieldMappingTransformation(columns))])


def _converted(target: Target, backend: "Backend", rule: "SigmaRule", notes: list[str]) -> Conversion:
    from sigma.collection import SigmaCollection
    from sigma.exceptions import SigmaError

    before = _conditions(rule)
    try:
        queries = [str(query) for query in backend.convert(SigmaCollection([rule]))]
    except SigmaError as error:
        return Conversion(target, None, (f"Cannot be expressed: {_reason(error)}",))
    except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as error:  # a backend meets a value that it does not check
        return Conversion(target, None, (f"Cannot be expressed: the backend fails on this rule ({type(error).__name__}).",))
    if not queries:
        return Conversion(target, None, ("Cannot be expressed: the backend gives no query.",))
    if (lost := before - _conditions(rule)) > 0:
        notes = [*notes, f"{lost} of the rule's {before} comparisons is left out: the table has no such column, or all its rows fulfil it."]
    return Conversion(target, "\n\n".join(queries), tuple(notes))


def _reason(error: Exception) -> str:
    """Without the list of a hundred columns that the Kusto pipelines add."""
    return " ".join(str(error).split()).split(" Please use valid fields")[0][:300]


def _items(detection: Any) -> list[Any]:
    """The comparisons of a pySigma detection, those of nested detections among them."""
    nested = getattr(detection, "detection_items", None)
    return [detection] if nested is None else [item for child in nested for item in _items(child)]


def _all_items(rule: "SigmaRule") -> list[Any]:
    return [item for detection in rule.detection.detections.values() for item in _items(detection)]


def _conditions(rule: "SigmaRule") -> int:
    return len(_all_items(rule))


def _fields(rule: "SigmaRule") -> set[str]:
    return {item.field for item in _all_items(rule) if item.field}


def _keywords(rule: "SigmaRule") -> list[Any]:
    return [item for item in _all_items(rule) if not item.field]


def _worded(rule: "SigmaRule") -> list[str]:
    """Gives keywords, which stand for any text of the event, the field that holds a log line: neither language searches a whole event."""
    from sigma.types import SigmaString, SpecialChars

    keywords = _keywords(rule)
    wild = SpecialChars.WILDCARD_MULTI
    for item in keywords:
        item.field = "message"
        for place, value in enumerate(item.value):
            if isinstance(value, SigmaString):
                value = value if value.startswith(wild) else wild + value
                item.value[place] = value if value.endswith(wild) else value + wild
    return ["Keywords are looked for in the field message."] if keywords else []


def _unslashed(rule: "SigmaRule") -> list[str]:
    """Takes the backslash off `…\\*`. The XDR pipeline replaces key names by way of text, where that reads as an escaped asterisk."""
    from sigma.types import SigmaString, SpecialChars

    changed = False
    for item in _all_items(rule):
        for value in item.value:
            if not isinstance(value, SigmaString) or item.field not in ("TargetObject", "Details", "NewName"):
                continue
            parts = list(value.s)
            if len(parts) > 1 and parts[-1] is SpecialChars.WILDCARD_MULTI and isinstance(parts[-2], str) and parts[-2].endswith("\\"):
                value.s = [*parts[:-2], parts[-2].rstrip("\\"), parts[-1]]
                changed = True
    return (
        ["A key is matched without its last backslash, which the backend would read as an escape: the query is that much wider."] if changed else []
    )
