"""Tunes a rule after a false positive: a filter as a new version of the rule, kept only if evaluating it shows that it does what it says.

A filter compares fields of the false positive with its own values. It is proposed only when the new version no longer matches the false
positive and still matches every true positive that the old one matched: those that the caller gives, and the false positive's own twin, the
same behaviour with other values in the filtered fields. The analyst's note chooses fields and stands in the rule as a text; it is never
read as YAML.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from llm.alerts import Alert
from llm.capabilities.sigma.evaluate import CannotEvaluate, fields_of, flat, matches
from llm.capabilities.sigma.rules import BadRule, parsed, read_yaml, write_rule
from llm.grounding import repeats
from llm.outcome import Model, Outcome, live_or_fallback
from llm.resolver import Path
from tenants.models import Tenant

if TYPE_CHECKING:
    from sigma.rule import SigmaRule

CAPABILITY: Final = "detection_loop"
MAX_TOKENS: Final = 400
MAX_TRUE_POSITIVES: Final = 20
MAX_FILTERED: Final = 4
MAX_SECONDS: Final = 5.0  # of evaluating
MAX_NOTE: Final = 200  # characters of the analyst's note that the rule keeps
_MAX_VALUE: Final = 512
INSTRUCTIONS: Final = """An analyst says that an alert of a Sigma rule is a false positive. Choose the fields of the event that tell this harmless case from an attack:
as few as make the exception narrow, at best what the analyst's note speaks of. Answer with one JSON object: `fields`, names from `candidates`, and
`rationale`, one or two sentences on why an attack would look different."""
NOTHING_TO_ASK: Final = "There is nothing for a model to choose from: the rule does not match the event, or the event holds no telling field."
RATIONALE_MAX: Final = 600

# Fields that an event of another product has under other names: the name that Sigma's rules use.
_NAMES: Final[Mapping[str, str]] = {
    "process.executable": "Image",
    "process.command_line": "CommandLine",
    "process.parent.executable": "ParentImage",
    "process.parent.command_line": "ParentCommandLine",
    "user.name": "User",
    "host.name": "Computer",
    "source.ip": "SourceIp",
    "destination.ip": "DestinationIp",
    "destination.port": "DestinationPort",
    "dns.question.name": "QueryName",
    "file.path": "TargetFilename",
    "registry.path": "TargetObject",
    "event.code": "EventID",
    "powershell.file.script_block_text": "ScriptBlockText",
}
# What usually tells a harmless case, the best first.
_TELLING: Final = (
    "ParentImage", "ParentCommandLine", "User", "SubjectUserName", "TargetUserName", "AccountName", "userIdentity.arn", "IntegrityLevel",
    "Computer", "Image", "CommandLine", "SourceIp", "IpAddress", "sourceIPAddress", "DestinationIp", "DestinationHostname", "QueryName",
    "TargetFilename", "TargetObject", "Details", "ServiceFileName", "userAgent", "c-useragent", "Hashes",
)  # fmt: skip
_FLEETING: Final = re.compile(
    r"time|date|timestamp|guid|uuid|(?:^|[._])p?p?id$|processid|threadid|recordid|record_?number|sequence|logonid|sessionid|eventid$|event\.code|keywords|^version$|opcode",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """rule: the new version, or the old one unchanged where no filter held up. The two verdicts are of evaluating it."""

    rule: str
    rationale: str
    still_matches: bool
    drops_false_positive: bool


@dataclass(frozen=True)
class _Case:
    """The old rule with what it is to be tested on."""

    text: dict[str, Any]
    rule: "SigmaRule"
    event: dict[str, Any]
    note: str
    true_positives: tuple[dict[str, Any], ...]
    today: date
    until: float  # of this thread's own time: what a model takes does not count

    def holds(self, rule: "SigmaRule", event: Mapping[str, Any]) -> bool:
        """Whether the rule matches the event. Raises CannotEvaluate, also when the question has taken its MAX_SECONDS."""
        if time.thread_time() > self.until:
            raise CannotEvaluate(
                f"Evaluating the rule takes more than {MAX_SECONDS:.0f} seconds; give fewer true positives, or a smaller rule or event."
            )
        return matches(rule, event)


def suggest(rule: str, alert: Alert, note: str, true_positives: Sequence[Mapping[str, Any]], *, tenant: Tenant | None) -> Outcome[Proposal]:
    """A new version of the rule that leaves the alert's case out. Raises BadRule, and CannotEvaluate for a rule that cannot be tried."""
    case = _case(rule, alert, note, true_positives)
    candidates = list(_candidates(case)) if case.holds(case.rule, case.event) else []
    if not candidates:
        return Outcome(_by_rule(case, []), Path.FALLBACK, NOTHING_TO_ASK)

    def ask(model: Model) -> Proposal:
        names = [name for name, _value in candidates]
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": ["fields", "rationale"],
            "properties": {
                "fields": {"type": "array", "items": {"enum": names}, "minItems": 1, "maxItems": min(MAX_FILTERED, len(names)), "uniqueItems": True},
                "rationale": {"type": "string", "minLength": 20, "maxLength": RATIONALE_MAX},
            },
        }
        data = {"rule": rule, "candidates": dict(candidates), "analyst_note": case.note}
        answer = model.json(INSTRUCTIONS, data, schema, max_tokens=MAX_TOKENS)
        if repeats(answer["rationale"]):
            raise ValueError("The model repeats itself.")
        found = _filtered(case, [(name, value) for name, value in candidates if name in answer["fields"]], _plain(answer["rationale"]))
        if found is None:
            raise ValueError("The model's filter does not hold up.")
        return found

    return live_or_fallback(CAPABILITY, ask, lambda: _by_rule(case, candidates), tenant=tenant)


def by_rule(rule: str, alert: Alert, note: str, true_positives: Sequence[Mapping[str, Any]]) -> Proposal:
    """What is proposed without a model."""
    case = _case(rule, alert, note, true_positives)
    return _by_rule(case, list(_candidates(case)) if case.holds(case.rule, case.event) else [])


def _case(rule: str, alert: Alert, note: str, true_positives: Sequence[Mapping[str, Any]]) -> _Case:
    until = time.thread_time() + MAX_SECONDS
    text = read_yaml(rule)
    events = tuple(event_of(one) for one in true_positives)
    return _Case(text, parsed(text), event_of(alert.raw), _plain(note), events, timezone.now().date(), until)


def _by_rule(case: _Case, candidates: list[tuple[str, str]]) -> Proposal:
    """The narrowest of the likely filters that holds up."""
    if not case.holds(case.rule, case.event):
        missing = sorted(fields_of(case.rule) - set(case.event))
        why = f" It has no {', '.join(missing[:8])}." if missing else ""
        return _unchanged(case, f"The rule does not match the alert's raw event, so there is nothing to filter.{why}")
    for chosen in _choices(case, candidates):
        found = _filtered(case, chosen, "")
        if found is not None:
            return found
    return _unchanged(
        case, "No filter holds up: each that drops this case would drop true positives too. Give more of the event, or narrow the rule itself."
    )


def _choices(case: _Case, candidates: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """What the note names; then with one telling field more at a time; then two telling fields, then one."""
    named = [pair for pair in candidates if _named(pair[1], case.note)][:MAX_FILTERED]
    others = [pair for pair in candidates if pair not in named]
    if named:
        if len(named) > 1 or not others:
            yield named
        for more in range(1, MAX_FILTERED - len(named) + 1):
            if others[:more]:
                yield [*named, *others[:more]]
        yield named
    for amount in (2, 3, 1):
        if len(others) >= amount:
            yield others[:amount]


def _candidates(case: _Case) -> Iterator[tuple[str, str]]:
    """Fields of the event that a filter may compare, the most telling first: by Sigma's names, or by the product's where the rule has those."""
    selected = {name.casefold() for name in fields_of(case.rule)}
    order = {name.casefold(): place for place, name in enumerate(_TELLING)}

    def rank(name: str) -> tuple[bool, int]:
        return name.casefold() in selected, order.get((_sigmas_name(name) or name).casefold(), len(order))

    products = any(_sigmas_name(name) for name in fields_of(case.rule))
    twice = {(name, also) for name in case.event if (also := _sigmas_name(name)) in case.event}
    others = {also if products else name for name, also in twice}
    for name in sorted((name for name in case.event if name not in others), key=rank):
        value = case.event[name]
        if _FLEETING.search(name) or isinstance(value, bool | list | None) or not re.fullmatch(r"[\w@$.:/{}\[\]-]{1,128}", name):
            continue
        text = str(value)
        if (rank(name)[1] < len(order) or _named(text, case.note)) and 0 < len(text) <= _MAX_VALUE and text.isprintable():
            yield name, text


def _filtered(case: _Case, chosen: list[tuple[str, str]], why: str) -> Proposal | None:
    """The new version with these fields filtered, if evaluating it shows what it says."""
    version = _version(case, chosen)
    try:
        new = parsed(version)
        drops = not case.holds(new, case.event)
        twins = [twin for twin in _twins(case, chosen) if case.holds(case.rule, twin)]
        kept = [event for event in (*case.true_positives, *twins) if case.holds(case.rule, event)]
        still = bool(kept) and all(case.holds(new, event) for event in kept)
    except (BadRule, CannotEvaluate):
        return None
    if not drops or not still:
        return None
    given = sum(case.holds(case.rule, event) for event in case.true_positives)
    names = ", ".join(name for name, _value in chosen)
    tested = (
        f"It was evaluated: the false positive no longer matches; {given} given true positives and {len(twins)} other cases of the same behaviour do."
    )
    stale = len(case.true_positives) - given
    return Proposal(
        write_rule(version),
        " ".join(
            part
            for part in (
                why,
                f"The new version leaves out events with the same {names}.",
                tested,
                f"{stale} of the given true positives do not match the old rule and were left aside." if stale else "",
            )
            if part
        ),
        still_matches=True,
        drops_false_positive=True,
    )


def _unchanged(case: _Case, why: str) -> Proposal:
    held = [event for event in case.true_positives if case.holds(case.rule, event)]
    still = bool(held) or case.holds(case.rule, case.event)
    return Proposal(write_rule(case.text), why, still_matches=still, drops_false_positive=False)


def _version(case: _Case, chosen: list[tuple[str, str]]) -> dict[str, Any]:
    rule = deepcopy(case.text)
    detection = rule["detection"]
    conditions = detection["condition"] if isinstance(detection["condition"], list) else [detection["condition"]]
    name = _free_name(detection, " ".join(str(condition) for condition in conditions))
    detection.pop("condition")
    detection[name] = {field: _literal(value) for field, value in chosen}
    narrowed = [f"({condition}) and not {name}" if " " in condition.strip() else f"{condition} and not {name}" for condition in conditions]
    detection["condition"] = narrowed if len(narrowed) > 1 else narrowed[0]
    known = rule.get("falsepositives")
    remark = f"Tuned on {case.today.isoformat()}: {case.note[:MAX_NOTE] or 'an analyst called it a false positive'}"
    rule["falsepositives"] = [*(known if isinstance(known, list) else [known] if known else []), remark]
    rule["modified"] = case.today.isoformat()
    return rule


def _free_name(detection: Mapping[str, Any], condition: str) -> str:
    """A name for the filter that no selector of the old condition catches (`1 of them`, `all of filter_*`): those leave out a leading underscore."""
    stem = "filter_tuned" if not re.search(r"\bof\b", condition) else "_filter_tuned"
    return next(name for number in range(1, len(detection) + 2) if (name := f"{stem}_{number}") not in detection)


def _literal(value: str) -> str:
    """The value as Sigma reads it letter by letter: a backslash before a wildcard or another backslash, and the wildcards, are escaped."""
    return re.sub(r"\\(?=[\\*?]|$)|[*?]", lambda found: "\\" + found[0], value)


def _twins(case: _Case, chosen: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """The same event with another value in the filtered fields: in one of them at a time, and in all."""
    changed = {name: other for name, value in chosen if (other := _other(value)) != value}
    for names in [*([name] for name in changed), list(changed)]:
        yield {**case.event, **{name: changed[name] for name in names}}


def _other(value: str) -> Any:
    """A value of the same kind that is not this one; a path keeps its last part, by which rules select programs."""
    try:
        return "192.0.2.77" if str(ip_address(value)) != "192.0.2.77" else "192.0.2.78"
    except ValueError:
        pass
    if value.isascii() and value.isdigit():
        return int(value) + 1
    path = re.match(r"(?:[A-Za-z]:)?(?P<separator>[\\/]).*[\\/]", value)
    if path:
        separator = path["separator"]
        return f"{separator}elsewhere{separator}{value[path.end() :]}"
    return f"{value} elsewhere"


def _named(value: str, note: str) -> bool:
    """Whether the note speaks of the value: of all of it, of its last part, or of the program's name."""
    low, said = value.casefold(), note.casefold()
    last = re.split(r"[\\/]", low)[-1]
    return any(len(part) >= 3 and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", said) for part in (low, last, last.rsplit(".", 1)[0]))


def event_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    event = flat(raw)
    for name, value in list(event.items()):
        if also := _sigmas_name(name):
            event.setdefault(also, value)
    return event


def _sigmas_name(name: str) -> str | None:
    """What Sigma's rules call a field of a product's event."""
    if name.startswith(("winlog.event_data.", "EventData.", "event_data.")):
        return name.rsplit(".", 1)[1]
    return _NAMES.get(name)


def _plain(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
