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
    from sigma.types import SpecialChars

    windows = rule.logsource.product == "windows"
    notes = [] if windows else ["The field names are the rule's own: pySigma has no Splunk mapping for this log source."]
    notes.append("The query names no index: add yours.")
    if any(SpecialChars.WILDCARD_SINGLE in value.s for value in _texts(rule)):
        notes.append("SPL has no wildcard for one character: an asterisk stands for it, the query is that much wider.")
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
    if rule.logsource.product == "windows":
        _directed(rule)
    if (unknown := _lucene(rule)) is not None:
        return Conversion(Target.ESQL, None, (f"Cannot be expressed: ES|QL's regular expressions are Lucene's, which know no “{unknown}”.",))
    found = _converted(Target.ESQL, ESQLBackend(pipeline), rule, notes)
    if found.query is None:
        return found
    # Only Elastic Defend has .caseless, in lower case: beside other sources the query would fail, and a path with a capital would match nothing.
    query = _outside_texts(found.query, lambda code: code.replace(".executable.caseless", ".executable"))
    query = re.sub(r"\Afrom \* ", f"from {INDEX} ", query)
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
        return _typed(rule, _converted(Target.KQL, KustoBackend(microsoft_xdr_pipeline()), rule, notes + _unslashed(rule) + _unhashed(rule)))
    if table.pipeline is Pipeline.MONITOR:
        return _typed(rule, _converted(Target.KQL, KustoBackend(azure_monitor_pipeline(query_table=table.name)), rule, notes))
    if "message" in table.columns:
        notes += _worded(rule)
    elif _keywords(rule):
        return Conversion(Target.KQL, None, (f"Cannot be expressed: keywords have no column in {table.name}.",))
    unknown = sorted(_fields(rule) - set(table.columns) - set(table.columns.values()) - {"EventID"})
    if unknown:
        notes.append(f"No column of {table.name} is known for {', '.join(unknown)}; the rule's own name stands.")
    found = _typed(rule, _converted(Target.KQL, KustoBackend(_columns(table)), rule, notes), frozenset(table.columns.values()))
    if found.query is None:
        return found
    where = f"({found.query})" if table.where and " or " in found.query else found.query
    return Conversion(Target.KQL, f"{table.name}\n| where {table.where + ' and ' if table.where else ''}{where}", found.notes)


_CONVERTERS: Final[dict[Target, Callable[["SigmaRule"], Conversion]]] = {Target.SPL: _spl, Target.ESQL: _esql, Target.KQL: _kql}


_LITERAL: Final = re.compile(r"(\"(?:\\.|[^\"\\])*\")", re.DOTALL)
# Columns that hold numbers; the others of the known tables hold texts (Microsoft's table references).
_NUMBERS: Final = "(?:RemotePort|LocalPort|EventID|LogonType|KeyLength|(?:InitiatingProcess|InitiatingProcessParent)?(?:Process)?Id|FileSize|DestinationPort|SourcePort)"


def _outside_texts(query: str, change: Callable[[str], str]) -> str:
    """The query with everything but its string literals changed."""
    return "".join(part if place % 2 else change(part) for place, part in enumerate(_LITERAL.split(query)))


def _typed(rule: "SigmaRule", found: Conversion, texts: frozenset[str] = frozenset()) -> Conversion:
    """The query as KQL's types want it: the backend compares numbers with texts and texts with null, which is an error or never holds.

    texts: columns of the table; those that hold no numbers hold texts.
    """
    from sigma.types import SigmaRegularExpression

    if found.query is None:
        return found

    def code(part: str) -> str:
        part = part.replace("isnull(", "isempty(")  # a text is never null
        part = re.sub(r"'([^']+)'", r"['\1']", part)  # a column whose name has a space; between quotes alone it is a text
        return re.sub(r"\b(\w+) == (\d+)\b", lambda found: f'{found[1]} == "{found[2]}"' if found[1] in named else found[0], part)

    named = frozenset(column for column in texts if not re.fullmatch(_NUMBERS, column))
    query = _outside_texts(found.query, code)
    query = re.sub(rf'\b({_NUMBERS}) =~ "(\d+)"', r"\1 == \2", query)
    query = re.sub(rf'\b({_NUMBERS}) in~ \(("\d+"(?:, "\d+")*)\)', lambda found: f"{found[1]} in ({found[2].replace(chr(34), '')})", query)
    query = re.sub(r'\bipv4_is_in_range\((\w+), ("[^".]*:[^"]*")\)', r"ipv6_is_in_range(\1, \2)", query)
    if not any(isinstance(value, SigmaRegularExpression) for item in _all_items(rule) for value in item.value):
        query = query.replace(' matches regex "', ' matches regex "(?i)')  # of a wildcard within a text
    return Conversion(found.target, query, found.notes)


def _texts(rule: "SigmaRule") -> list[Any]:
    from sigma.types import SigmaString

    return [value for item in _all_items(rule) for value in item.value if isinstance(value, SigmaString)]


def _directed(rule: "SigmaRule") -> None:
    """Gives `Initiated` the words of the ECS field that the pipeline makes of it, network.direction."""
    from sigma.types import SigmaString

    words = {"true": "egress", "false": "ingress"}
    for item in _all_items(rule):
        if item.field == "Initiated":
            item.value = [SigmaString(words.get(str(value).lower(), str(value))) for value in item.value]


def _lucene(rule: "SigmaRule") -> str | None:
    """Writes the rule's regular expressions as Lucene's, which match a whole text and know no anchors. What Lucene does not know, or None."""
    from sigma.types import SigmaRegularExpression

    for item in _all_items(rule):
        for place, value in enumerate(item.value):
            if not isinstance(value, SigmaRegularExpression):
                continue
            if value.flags:
                return "(?i)"
            plain = str(value.regexp).replace("(?:", "(")
            bare = re.sub(r"\\[^bBAzZ1-9]|\[(?:\\.|[^\]\\])*\]", "x", plain)
            if unknown := re.search(r"\(\?|\\.|(?<!\A)\^|\$(?!\Z)", bare):
                return unknown[0]
            start, end = plain.startswith("^"), re.search(r"(?<!\\)(?:\\\\)*\$\Z", plain) is not None
            core = plain[start : len(plain) - end]
            core = re.sub(r"(\\.|\[(?:\\.|[^\]\\])*\])|([@&~#<>\"])", lambda found: found[1] or f"\\{found[2]}", core, flags=re.DOTALL)
            item.value[place] = SigmaRegularExpression(f"{'' if start else '.*'}({core}){'' if end else '.*'}")
    return None


def _unhashed(rule: "SigmaRule") -> list[str]:
    lost = any(re.search(r"(?i)imphash", str(value)) or item.field == "Imphash" for item in _all_items(rule) for value in item.value)
    return ["Import hashes are left out: the table has no column for them."] if lost else []


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
    from sigma.pipelines.kusto_common.errors import InvalidHashAlgorithmError  # no SigmaError

    before = _conditions(rule)
    try:
        queries = [str(query) for query in backend.convert(SigmaCollection([rule]))]
    except (SigmaError, InvalidHashAlgorithmError) as error:
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
    return " ".join(str(error).split()).split(" Please use ")[0][:300]


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
