"""Reads one Sigma rule from text that nobody here wrote, and writes one as YAML that holds nothing but data.

    BadRule(ValueError)         the text is no Sigma rule; str() is the reason that people read

pySigma's own loader follows YAML aliases, and its condition parser recurses; both are bounded here before it sees the text. Its validators
of ATT&CK and D3FEND tags would download their tables; they are left out, and the addresses that they know are taken away.
"""

import re
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import yaml

from llm.capabilities.sigma.evaluate import fields_of

if TYPE_CHECKING:
    from sigma.rule import SigmaRule

NO_TABLES: Final = "/dev/null"  # pySigma reads a path as a file
MAX_RULE: Final = 64 * 1024  # characters; the largest public rule has 30,000
MAX_DEPTH: Final = 24
MAX_NODES: Final = 5000
MAX_CONDITION: Final = 2000
MAX_DASHES: Final = 3  # of a `|windash` value: pySigma writes out each choice of five dashes for each
MAX_NUMBER: Final = 10**40  # Python refuses to write numbers of more than 4300 digits, which YAML may spell in base 16 or 60
MAX_WRITTEN: Final = 10_000  # comparisons that pySigma writes out for the conditions, each 0.2 ms
MAX_NESTING: Final = 12  # of parentheses and `not` in a condition
FIELD_NAME: Final = re.compile(r"[\w@$][\w@$.:/{}\[\]\- ]{0,127}")  # not every backend quotes the rest


class BadRule(ValueError):
    """The text is no Sigma rule. str() is the reason, in one line."""


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few hundred bytes of them are a structure that no walk of it ends."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise BadRule("The rule uses a YAML alias (*name); write the value out.")
        return super().compose_node(parent, index)


def read_rule(text: str) -> "SigmaRule":
    """The rule, parsed by pySigma with its condition. Raises BadRule."""
    return parsed(read_yaml(text))


def read_yaml(text: str) -> dict[str, Any]:
    """The one mapping that the YAML holds, in bounds that pySigma can walk. Raises BadRule."""
    if len(text) > MAX_RULE:
        raise BadRule(f"The rule is longer than {MAX_RULE:,} characters.")
    try:
        documents = [one for one in yaml.load_all(text, Loader=_PlainLoader) if one is not None]
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:  # a date like 2024-99-99 is a ValueError of its own
        raise error if isinstance(error, BadRule) else BadRule(f"The rule is not valid YAML: {_line(error)}") from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise BadRule("Give one Sigma rule: a YAML mapping with title, logsource and detection.")
    rule: dict[str, Any] = documents[0]
    _bounded(rule)
    return rule


def parsed(rule: dict[str, Any]) -> "SigmaRule":
    """The mapping as pySigma's rule. Raises BadRule for what it does not accept, and for correlations and filters."""
    from sigma.collection import SigmaCollection
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaRule

    if "correlation" in rule or "filter" in rule:
        raise BadRule("This is a Sigma correlation or filter; give a detection rule.")
    detection = rule.get("detection")
    if not isinstance(detection, dict) or not detection.get("condition"):
        raise BadRule("The rule has no detection with a condition.")
    conditions = detection["condition"] if isinstance(detection["condition"], list) else [detection["condition"]]
    for condition in conditions:
        _bounded_condition(condition)
    _bounded_writing(detection, conditions)
    try:
        found = SigmaCollection.from_dicts([rule]).rules
        if len(found) != 1 or not isinstance(found[0], SigmaRule):
            raise BadRule("Give one Sigma rule.")
        for one in found[0].detection.parsed_condition:
            _ = one.parsed
        for name in fields_of(found[0]):
            if not FIELD_NAME.fullmatch(name):
                raise BadRule(f"{name[:60]!r} is not the name of a field.")
    except SigmaError as error:
        raise BadRule(f"pySigma does not accept the rule: {_line(error)}") from None
    except (AttributeError, KeyError, TypeError, IndexError, RecursionError) as error:  # pySigma meets a shape that it does not check
        raise BadRule(f"pySigma cannot read the rule ({type(error).__name__}).") from None
    return found[0]


def write_rule(rule: dict[str, Any]) -> str:
    """The mapping as YAML. Every text is a scalar, quoted where it has to be: none can become a key, an alias or a tag."""
    return str(yaml.dump(rule, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False))


class _PlainDumper(yaml.SafeDumper):
    """Without aliases, lists indented as Sigma's own rules have them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def complaints(rule: "SigmaRule") -> list[str]:
    """What pySigma's validators that need no table from outside have against the rule."""
    return [_line(issue.description) for validator in _validators() for issue in [*validator().validate(rule)]]


@cache
def _validators() -> tuple[Any, ...]:
    from sigma.data import mitre_attack, mitre_d3fend
    from sigma.validators.core import condition, metadata, modifiers, values

    tables: Any
    for tables in (mitre_attack, mitre_d3fend):
        tables._custom_url = NO_TABLES  # set_url() would make a cache in the home directory, which may not be ours to write
    return (
        condition.DanglingDetectionValidator,
        condition.DanglingConditionValidator,
        condition.AllOfThemConditionValidator,
        metadata.IdentifierExistenceValidator,
        metadata.DuplicateReferencesValidator,
        modifiers.InvalidModifierCombinationsValidator,
        values.DoubleWildcardValidator,
        values.ControlCharacterValidator,
        values.WildcardsInsteadOfModifiersValidator,
    )


def techniques_of(rule: dict[str, Any]) -> list[str]:
    """The ATT&CK technique ids among the rule's tags, in their order."""
    tags = rule.get("tags") or []
    found = (re.fullmatch(r"attack\.(t\d{4}(?:\.\d{3})?)", str(tag), re.IGNORECASE) for tag in tags if isinstance(tags, list))
    return list(dict.fromkeys(match[1].upper() for match in found if match))


def _bounded(rule: dict[str, Any]) -> None:
    left: list[tuple[Any, int]] = [(rule, 0)]
    named: list[tuple[str, Any]] = []
    seen = 0
    while left:
        node, depth = left.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            raise BadRule(f"The rule is nested deeper than {MAX_DEPTH} levels or holds more than {MAX_NODES:,} values.")
        if isinstance(node, dict):
            if not all(isinstance(key, str) for key in node):
                raise BadRule("A key of the rule is not a text; quote it.")
            for key in node:
                _bounded_scalar(key)
            named += node.items()
            left += [(child, depth + 1) for child in node.values()]
        elif isinstance(node, list):
            left += [(child, depth + 1) for child in node]
        else:
            _bounded_scalar(node)
    for key, value in named:
        _bounded_dashes(key, value)


def _bounded_scalar(value: Any) -> None:
    if not isinstance(value, str | int | float | bool | date | datetime | None):
        raise BadRule("The rule holds a value that is neither text, number, truth value nor date.")
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        raise BadRule("The rule holds a number of more than 40 digits.")
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise BadRule("The rule holds half a character: an escape from \\ud800 to \\udfff.")


def _bounded_dashes(key: str, values: Any) -> None:
    if "windash" not in key:
        return
    for value in values if isinstance(values, list) else [values]:
        if _dashes(value) > MAX_DASHES:
            raise BadRule(f"A |windash value holds more than {MAX_DASHES} options; give them as separate values with |all.")


def _dashes(value: Any) -> int:
    return len(re.findall(r"\B[-/–—―]\b", str(value)))


def _bounded_writing(detection: dict[str, Any], conditions: list[str]) -> None:
    """pySigma writes a selection out wherever a condition names it, a dash in each of its five forms, base64 at its three offsets."""
    sizes = {name: _written("", selection) for name, selection in detection.items() if name != "condition"}
    named = re.findall(r"[\w*-]+", " ".join(conditions))
    if sum(sizes.get(name, sum(sizes.values()) if name == "them" or "*" in name else 0) for name in named) > MAX_WRITTEN:
        raise BadRule(f"The conditions come to more than {MAX_WRITTEN:,} comparisons; name a selection once, give fewer values, or part the rule.")


def _written(key: str, node: Any) -> int:
    """How many comparisons become of the values under a key."""
    if isinstance(node, dict):
        return sum(_written(name, value) for name, value in node.items())
    if isinstance(node, list):
        return sum(_written(key, value) for value in node)
    return (5 ** _dashes(node) if "windash" in key else 1) * (3 if "base64offset" in key else 1)


def _bounded_condition(condition: Any) -> None:
    if not isinstance(condition, str) or len(condition) > MAX_CONDITION:
        raise BadRule(f"The condition is not a text of at most {MAX_CONDITION:,} characters.")
    depth = deepest = 0
    for character in condition:
        depth += {"(": 1, ")": -1}.get(character, 0)
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING or len(re.findall(r"\bnot\s+not\b", condition)) > MAX_NESTING:
        raise BadRule(f"The condition is nested deeper than {MAX_NESTING} levels.")


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]
