"""Makes a Sigma rule of a description: what it names letter by letter, the behaviour it is recognised by, else its own words. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_network
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from llm.capabilities.nl_detection.behaviours import Behaviour, recognised

LEVELS: Final = ("informational", "low", "medium", "high", "critical")
TECHNIQUE: Final = re.compile(r"T\d{4}(?:\.\d{3})?")
MAX_TITLE: Final = 100
UNKNOWN: Final = "No behaviour was recognised: the rule looks for the description's own words in command lines. Sharpen it before use."

_PROGRAM: Final = re.compile(r"(?<![\w\\/.-])[\w.+-]{1,60}\.(?:exe|com|scr|bat|cmd|ps1|vbs|js|hta)\b", re.IGNORECASE)
_QUOTED: Final = re.compile(r"(?<!\w)[\"'`“]([^\"'`”\n]{2,200})[\"'`”](?!\w)")
_REGISTRY: Final = re.compile(r"(?:HKLM|HKCU|HKU|HKCR|HKEY_[A-Z_]+)\\[^\s\"',;]+|(?<![\w:])\\(?:Software|System)\\[^\s\"',;]+", re.IGNORECASE)
_PATH: Final = re.compile(r"[A-Za-z]:\\[^\s\"',;]+|%\w+%\\[^\s\"',;]+")
_ADDRESS: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?![\w.]\w)")
# What is not to be found: one thing after "not" or "except", all of the clause after "but not" or "unless".
_EXCEPTION: Final = (
    r",?\s*\b(?:(?:but not|unless)\b[^;]*?(?=[.;](?:\s|$)|$)"
    r"|(?:and |that (?:is|are) |which (?:is|are) )?(?:not|except(?:ing)?(?: for)?|excluding|other than|apart from)\b"
    r"(?:\s(?:when|if|by|from|to|in|on|for|as|with))?[^,;]*?(?=\s(?:on|by|from|to|in|with|using|over|that|which|when|\w+ing)\s|[,;]|\.(?:\s|$)|$))"
)
_COUNTED: Final = re.compile(
    r"(?i)\b(?:(?:more|fewer|less) than|at least|over|exceed(?:s|ing)?) \d+\b[^,.;]{0,60}|\b(?:within|in) (?:less than )?\d+ (?:second|minute|hour|day)s?\b"
)
_PORT: Final = re.compile(r"\bports? (\d{1,5}(?:(?:,| or| and|, or)? \d{1,5})*)", re.IGNORECASE)
_DOMAIN: Final = re.compile(r"(?<![\w@.\\/-])(?:[a-z0-9-]{1,63}\.)+(?:[a-z]{2,18})\b(?![\\/(]|\.\w)", re.IGNORECASE)
_EVENTS: Final = re.compile(r"\bevent ?(?:ids?|codes?) ?:?((?:(?:,| or| and|, or)? ?\d{3,5})+)", re.IGNORECASE)
_CALL: Final = re.compile(
    r"\b(?:Create|Delete|Stop|Start|Put|Attach|Detach|Update|Modify|Authorize|Revoke|Assume|Get|List|Disable|Enable|Run|Add|Remove|Console|Describe)[A-Z]\w{2,60}\b"
)
_CHILD: Final = re.compile(r"spawn|launch|start|child|creat|execut|run", re.IGNORECASE)
_BY: Final = re.compile(
    r"\b(?:spawned|launched|started|created|executed|run) (?:by|from)\b|\b(?:child(?:ren)?(?: process(?:es)?)?) of\b", re.IGNORECASE
)
_CONNECTS: Final = re.compile(r"connect|network|traffic|outbound|beacon|communicat|contact", re.IGNORECASE)
_RESOLVES: Final = re.compile(r"\bdns\b|resol|look-?ups?|quer(?:y|ies)", re.IGNORECASE)
_WRITES: Final = re.compile(r"\b(?:creat|writ|drop|sav|download|copi|plac)\w*", re.IGNORECASE)
_SCRIPTED: Final = re.compile(r"script ?block|powershell script|4104", re.IGNORECASE)
_SYSTEM_EVENTS: Final = frozenset({7034, 7035, 7036, 7040, 7045, 104})
_NOT_NAMES: Final = frozenset(
    {"exe", "dll", "ps1", "bat", "cmd", "vbs", "js", "hta", "txt", "iso", "img", "lnk", "com", "php", "aspx", "jsp", "docm", "zip"}
)
_PLAIN: Final = frozenset(
    """about after alert alerts all also and any anything attacker attackers before behavior behaviour being between both could detect detected
    detecting detection detects does each events every find flag from have hosts identify into machine machines malicious monitor notify other over
    process processes program rule runs someone something suspicious system that their them there these they this those through trigger unusual
    used user users using when where whenever which while windows with within without would""".split()  # noqa: SIM905 - read as a text
)


@dataclass(frozen=True, slots=True)
class Composed:
    """The rule as a mapping, and a remark for people when it is a weak one."""

    rule: dict[str, Any]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class _Draft:
    source: Mapping[str, str]
    selection: Mapping[str, Any]
    techniques: tuple[str, ...] = ()
    level: str = "medium"
    false_positives: str = "Legitimate software and administrators with the same behaviour"
    remark: str = ""


def compose(description: str, severity: str, techniques: Sequence[str], today: date) -> Composed:
    """A rule that parses and converts, whatever the description. severity: "" for the behaviour's own."""
    text = " ".join("".join(character if character.isprintable() else " " for character in description).split())
    wanted, remarks = _wanted(text)
    behaviour = recognised(wanted)
    draft = _named(wanted, behaviour) or _known(wanted, behaviour) or _plain(wanted)
    tags = dict.fromkeys(f"attack.{one.lower()}" for one in (*techniques, *draft.techniques) if TECHNIQUE.fullmatch(one.upper()))
    rule: dict[str, Any] = {
        "title": _title(text),
        "id": str(uuid5(NAMESPACE_URL, f"aisoc-admin:detection:{text}")),
        "status": "experimental",
        "description": text,
        "date": today.isoformat(),
        **({"tags": list(tags)} if tags else {}),
        "logsource": dict(draft.source),
        "detection": _detection(draft.selection),
        "falsepositives": [draft.false_positives],
        "level": severity if severity in LEVELS else draft.level,
    }
    return Composed(rule, " ".join((*remarks, draft.remark)).strip())


def _wanted(text: str) -> tuple[str, list[str]]:
    """The text without what is not to be found, of which no selection may be made, and what people should know of it."""
    left_out: list[str] = []

    def take(found: re.Match[str]) -> str:
        if found["quoted"]:
            return found[0]
        left_out.append(found[0].strip(" ,"))
        return " "

    kept = " ".join(re.sub(rf"(?P<quoted>{_QUOTED.pattern})|{_EXCEPTION}", take, text, flags=re.IGNORECASE).split())
    remarks = [f"The rule does not know of the exception “{one[:200]}”: add a filter for it." for one in left_out[:3]]
    if counted := _COUNTED.search(text):
        remarks.append(f"The rule counts nothing: “{counted[0].strip()}” needs a correlation of it.")
    return (kept, remarks) if re.search(r"\w{3}", kept) else (text, remarks)


def _detection(selection: Mapping[str, Any]) -> dict[str, Any]:
    if keywords := selection.get("|contains"):
        return {"keywords": list(keywords), "condition": "keywords"}
    return {"selection": {name: list(value) if isinstance(value, list) else value for name, value in selection.items()}, "condition": "selection"}


def _title(text: str) -> str:
    sentence = re.split(r"(?<=[a-z\d)])[.;:] ", text)[0].strip(" .")
    plain = re.sub(
        r"^(?:please |write |create |build |a |an |the |sigma |rule |that |to |detect(?:s|ion of|ion for|ing)? |alert (?:on|when|if) )+",
        "",
        sentence,
        flags=re.IGNORECASE,
    )
    title = (plain or sentence or "Described behaviour")[:MAX_TITLE].rstrip()
    return title[0].upper() + title[1:]


# ── What the description names ───────────────────────────────────────────────────────────────────────────────────────
def _named(text: str, behaviour: Behaviour | None) -> _Draft | None:
    """A selection of the names, paths, addresses and numbers in the text, where they are enough for one."""
    for read in (_events, _calls, _keys, _script, _lookups, _connections, _files, _programs):
        found = read(text, behaviour)
        if found is not None:
            source, selection, own = found
            if behaviour is not None and behaviour.source == source:
                return _Draft(source, selection, behaviour.techniques, behaviour.level, behaviour.false_positives)
            return _Draft(source, selection, own)
    return None


_Named = tuple[Mapping[str, str], dict[str, Any], tuple[str, ...]] | None


def _events(text: str, behaviour: Behaviour | None) -> _Named:
    numbers = [int(number) for match in _EVENTS.finditer(text) for number in re.findall(r"\d{3,5}", match[1])]
    numbers = [number for number in dict.fromkeys(numbers) if number != 4104]
    if not numbers:
        return None
    source = {"product": "windows", "service": "system" if set(numbers) <= _SYSTEM_EVENTS else "security"}
    selection = {"EventID": _one(numbers)}
    if behaviour is not None and behaviour.source == source:
        selection |= {name: value for name, value in behaviour.selection.items() if name != "EventID"}
    return source, selection, ()


def _calls(text: str, behaviour: Behaviour | None) -> _Named:
    if not re.search(r"\b(?:aws|cloudtrail|amazon|iam|s3|ec2|sts|api)\b", text, re.IGNORECASE):
        return None
    calls = list(dict.fromkeys(_CALL.findall(text)))
    if not calls:
        return None
    selection: dict[str, Any] = {"eventName": _one(calls)}
    if behaviour is not None and behaviour.source.get("service") == "cloudtrail" and set(calls) <= set(_many(behaviour.selection.get("eventName"))):
        selection = {name: value for name, value in behaviour.selection.items() if name == "eventSource"} | selection
    return {"product": "aws", "service": "cloudtrail"}, selection, ()


def _keys(text: str, behaviour: Behaviour | None) -> _Named:
    keys = [re.sub(r"(?i)^(?:HKLM|HKCU|HKU|HKCR|HKEY_[A-Z_]+)", "", key).rstrip("\\.") for key in _REGISTRY.findall(text)]
    return ({"category": "registry_set", "product": "windows"}, {"TargetObject|contains": _one(keys)}, ("T1112",)) if any(keys) else None


def _script(text: str, behaviour: Behaviour | None) -> _Named:
    quoted = _quoted(text)
    if not quoted or not _SCRIPTED.search(text):
        return None
    return {"category": "ps_script", "product": "windows"}, {"ScriptBlockText|contains": _one(quoted)}, ("T1059.001",)


def _lookups(text: str, behaviour: Behaviour | None) -> _Named:
    domains = _domains(text)
    endings = [f".{ending}" for ending in re.findall(r"(?<![\w.])\.([a-z]{2,12})\b", text) if ending not in _NOT_NAMES or ending == "com"]
    if not _RESOLVES.search(text) or not (domains or endings):
        return None
    return {"category": "dns_query", "product": "windows"}, {"QueryName|endswith": _one([*domains, *endings])}, ("T1071.004",)


def _connections(text: str, behaviour: Behaviour | None) -> _Named:
    if not _CONNECTS.search(text):
        return None
    addresses = [address for address in _ADDRESS.findall(text) if _is_address(address)]
    ports = [int(port) for match in _PORT.finditer(text) for port in re.findall(r"\d{1,5}", match[1])]
    domains = _domains(text)
    if not addresses and not ports and not domains:
        return None
    programs = _programs_in(text)
    selection: dict[str, Any] = {"Image|endswith": _one(programs)} if programs else {}
    if addresses:
        networks = any("/" in address for address in addresses)
        selection["DestinationIp|cidr" if networks else "DestinationIp"] = _one(
            [str(ip_network(one, strict=False)) for one in addresses] if networks else addresses
        )
    if ports:
        selection["DestinationPort"] = _one(list(dict.fromkeys(ports)))
    if domains and not addresses:
        selection["DestinationHostname|endswith"] = _one(domains)
    return {"category": "network_connection", "product": "windows"}, selection | {"Initiated": "true"}, ("T1071",)


def _files(text: str, behaviour: Behaviour | None) -> _Named:
    if not _WRITES.search(text) or not re.search(r"\bfiles?\b|\bpayload\b|\bbinar", text, re.IGNORECASE):
        return None
    folders = [path.rstrip("\\.") for path in _PATH.findall(text)]
    endings = [f".{ending}" for ending in re.findall(r"(?<![\w\\])\.([a-z0-9]{2,5})\b", text, re.IGNORECASE)]
    selection: dict[str, Any] = {}
    if folders:
        selection["TargetFilename|contains"] = _one([re.sub(r"^(?:[A-Za-z]:|%\w+%)", "", folder) for folder in folders])
    if endings:
        selection["TargetFilename|endswith"] = _one(endings)
    if not selection:
        return None
    by = re.search(r"\bby ([\w.+-]+\.exe)\b", text, re.IGNORECASE)
    if by:
        selection = {"Image|endswith": f"\\{by[1]}"} | selection
    return {"category": "file_event", "product": "windows"}, selection, ("T1105",)


def _programs(text: str, behaviour: Behaviour | None) -> _Named:
    programs = _programs_in(text)
    quoted = _quoted(text)
    if not programs or (len(programs) == 1 and not quoted):
        return None
    source = {"category": "process_creation", "product": "windows"}
    words: dict[str, Any] = {"CommandLine|contains|all": quoted} if len(quoted) > 1 else {"CommandLine|contains": quoted[0]} if quoted else {}
    by = _BY.search(text)
    related = len(programs) > 1 and _CHILD.search(text)
    if not related:
        return source, {"Image|endswith": _one(programs)} | words, ("T1059",)
    parents = [name for name in programs if text.lower().find(name[1:].lower()) > by.start()] if by else programs[:1]
    children = [name for name in programs if name not in parents]
    if not parents or not children:
        return source, {"Image|endswith": _one(programs)} | words, ("T1059",)
    return source, {"ParentImage|endswith": _one(parents), "Image|endswith": _one(children)} | words, ("T1059",)


# ── What it is recognised by, and the rest ───────────────────────────────────────────────────────────────────────────
def _known(text: str, behaviour: Behaviour | None) -> _Draft | None:
    if behaviour is None:
        return None
    selection = dict(behaviour.selection)
    quoted = _quoted(text)
    if quoted and behaviour.source.get("category") == "process_creation" and "CommandLine|contains|all" not in selection:
        selection["CommandLine|contains|all"] = quoted
    return _Draft(behaviour.source, selection, behaviour.techniques, behaviour.level, behaviour.false_positives)


def _plain(text: str) -> _Draft:
    """The longest words of the text in a command line. Says that it is no more."""
    programs = _programs_in(text)
    source = {"category": "process_creation", "product": "windows"}
    if programs:
        return _Draft(source, {"Image|endswith": _one(programs)}, ("T1059",), "low")
    quoted = _quoted(text)
    terms = [word for word in re.findall(r"[A-Za-z0-9][\w-]{3,40}", text) if word.lower() not in _PLAIN]
    chosen = quoted or sorted(dict.fromkeys(term.lower() for term in terms), key=len, reverse=True)[:3] or [text[:60] or "unnamed"]
    return _Draft(source, {"CommandLine|contains|all": sorted(chosen)}, (), "low", "Any command line that holds these words", UNKNOWN)


def _programs_in(text: str) -> list[str]:
    return list(dict.fromkeys(f"\\{name.lower()}" for name in _PROGRAM.findall(text)))


def _quoted(text: str) -> list[str]:
    """The quoted texts, for a selection: Sigma's wildcards in them are meant letter by letter."""
    return list(
        dict.fromkeys(
            re.sub(r"([*?])", r"\\\1", quote) for quote in _QUOTED.findall(text) if not _PROGRAM.fullmatch(quote) and not _REGISTRY.match(quote)
        )
    )[:8]


def _domains(text: str) -> list[str]:
    return list(dict.fromkeys(name.lower() for name in _DOMAIN.findall(text) if name.rsplit(".", 1)[1].lower() not in _NOT_NAMES - {"com"}))


def _is_address(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _one(values: Iterable[Any]) -> Any:
    """A single value as it is, several as a list: what Sigma's own rules look like."""
    listed = list(values)
    return listed[0] if len(listed) == 1 else listed


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
