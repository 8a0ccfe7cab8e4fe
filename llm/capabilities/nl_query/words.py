"""What questions call the events and fields. Tables, no code; words are lower case, phrases longest first where they are read."""

import re
from collections.abc import Mapping
from typing import Final

from llm.capabilities.nl_query.query import Category, Field, Node, Op, Test, Unit

_C, _F = Category, Field
split: Final = re.compile(r"\S+").findall


def _is(field: Field, *values: str) -> Test:
    return Test(field, Op.IS, values)


_FAILED, _SUCCESS = _is(_F.OUTCOME, "failure"), _is(_F.OUTCOME, "success")
_LOGINS: Final = ("login", "logon", "log-in", "log-on", "sign-in", "signin", "authentication", "login attempt", "logon attempt", "sign-in attempt")
_REMOTE: Final = _is(_F.LOGON, "remote")


def _plural(phrases: tuple[str, ...], category: Category, *tests: Node) -> dict[str, tuple[Category, tuple[Node, ...]]]:
    return {form: (category, tests) for phrase in phrases for form in (phrase, f"{phrase}s")}


# An event phrase: its category and what it says beside that.
EVENTS: Final[Mapping[str, tuple[Category, tuple[Node, ...]]]] = {
    **_plural(_LOGINS, _C.AUTHENTICATION),
    **_plural(tuple(f"failed {word}" for word in _LOGINS), _C.AUTHENTICATION, _FAILED),
    **_plural(tuple(f"unsuccessful {word}" for word in _LOGINS), _C.AUTHENTICATION, _FAILED),
    **_plural(tuple(f"{word} failure" for word in _LOGINS), _C.AUTHENTICATION, _FAILED),
    **_plural(tuple(f"successful {word}" for word in _LOGINS), _C.AUTHENTICATION, _SUCCESS),
    **_plural(tuple(f"rdp {word}" for word in _LOGINS), _C.AUTHENTICATION, _REMOTE),
    **_plural(tuple(f"failed rdp {word}" for word in _LOGINS), _C.AUTHENTICATION, _FAILED, _REMOTE),
    **_plural(tuple(f"network {word}" for word in _LOGINS), _C.AUTHENTICATION, _is(_F.LOGON, "network")),
    **_plural(tuple(f"interactive {word}" for word in _LOGINS), _C.AUTHENTICATION, _is(_F.LOGON, "interactive")),
    **_plural(("process", "process execution", "process creation", "process start", "program", "process event", "execution"), _C.PROCESS),
    "processes": (_C.PROCESS, ()),
    **_plural(("network connection", "connection", "network event", "outbound connection"), _C.NETWORK),
    "network traffic": (_C.NETWORK, ()),
    "traffic": (_C.NETWORK, ()),
    **_plural(("blocked connection", "denied connection", "blocked network connection"), _C.NETWORK, _is(_F.ACTION, "blocked")),
    **_plural(("allowed connection",), _C.NETWORK, _is(_F.ACTION, "allowed")),
    **_plural(("ssh connection",), _C.NETWORK, _is(_F.DESTINATION_PORT, "22")),
    **_plural(("rdp connection",), _C.NETWORK, _is(_F.DESTINATION_PORT, "3389")),
    **_plural(("smb connection",), _C.NETWORK, _is(_F.DESTINATION_PORT, "445")),
    **_plural(("dns request", "dns lookup", "dns event", "domain lookup"), _C.DNS),
    "dns query": (_C.DNS, ()),
    "dns queries": (_C.DNS, ()),
    **_plural(("file event", "file"), _C.FILE),
    "file activity": (_C.FILE, ()),
    **_plural(("file creation", "created file", "new file", "file write"), _C.FILE, _is(_F.ACTION, "created")),
    "files created": (_C.FILE, (_is(_F.ACTION, "created"),)),
    **_plural(("file modification", "modified file", "file change"), _C.FILE, _is(_F.ACTION, "modified")),
    "files modified": (_C.FILE, (_is(_F.ACTION, "modified"),)),
    **_plural(("file deletion", "deleted file"), _C.FILE, _is(_F.ACTION, "deleted")),
    "files deleted": (_C.FILE, (_is(_F.ACTION, "deleted"),)),
    **_plural(("registry event", "registry key"), _C.REGISTRY),
    "registry activity": (_C.REGISTRY, ()),
    **_plural(("registry change", "registry modification", "registry write"), _C.REGISTRY, _is(_F.ACTION, "modified")),
    **_plural(("registry deletion", "deleted registry key"), _C.REGISTRY, _is(_F.ACTION, "deleted")),
    **_plural(("web request", "http request", "proxy request", "web visit", "proxy event", "web event"), _C.WEB),
    "web traffic": (_C.WEB, ()),
    **_plural(("blocked web request", "blocked http request"), _C.WEB, _is(_F.ACTION, "blocked")),
    **_plural(("email", "e-mail", "mail", "message", "email message"), _C.EMAIL),
    **_plural(("blocked email", "blocked mail"), _C.EMAIL, _is(_F.ACTION, "blocked")),
    **_plural(("alert", "detection", "security alert"), _C.ALERT),
    **{
        f"{level} {kind}": (_C.ALERT, (_is(_F.SEVERITY, level.split(" ")[0].split("-")[0]),))
        for word in ("critical", "high", "medium", "low")
        for level in (word, f"{word} severity", f"{word}-severity")
        for kind in ("alert", "alerts")
    },
    **_plural(("account creation", "created account", "new account", "user creation"), _C.ACCOUNT, _is(_F.ACTION, "created")),
    "accounts created": (_C.ACCOUNT, (_is(_F.ACTION, "created"),)),
    **_plural(("account deletion", "deleted account", "user deletion"), _C.ACCOUNT, _is(_F.ACTION, "deleted")),
    **_plural(("account change", "account modification"), _C.ACCOUNT, _is(_F.ACTION, "modified")),
    **_plural(("windows event", "windows security event"), _C.WINDOWS),
    **_plural(("event", "log", "log entry"), _C.ANY),
    "activity": (_C.ANY, ()),
}

# A field's names, as people and as the languages write them.
FIELDS: Final[Mapping[str, Field]] = {
    form: field
    for field, names in {
        _F.USER: ("user", "user name", "username", "account", "account name", "user.name"),
        _F.HOST: ("host", "hostname", "host name", "computer", "device", "machine", "server", "workstation", "endpoint", "host.name"),
        _F.SOURCE_IP: ("source ip", "src ip", "source address", "source ip address", "src_ip", "client ip", "source.ip", "source"),
        _F.DESTINATION_IP: (
            "destination ip", "dest ip", "dst ip", "destination address", "destination ip address", "dest_ip", "remote ip",
            "destination.ip", "destination",
        ),
        _F.SOURCE_PORT: ("source port", "src port", "src_port", "source.port"),
        _F.DESTINATION_PORT: ("port", "destination port", "dest port", "dst port", "dest_port", "remote port", "destination.port"),
        _F.PROCESS: ("process", "process name", "image", "program", "executable", "process_name", "process.name"),
        _F.PARENT: ("parent", "parent process", "parent process name", "parent image", "parent name", "process.parent.name"),
        _F.COMMAND: ("command line", "commandline", "command", "process.command_line", "command-line"),
        _F.DOMAIN: ("domain", "domain name", "query name", "queried domain", "dns.question.name"),
        _F.URL: ("url", "uri", "url.full"),
        _F.FILE: ("file", "file name", "filename", "file.name"),
        _F.PATH: ("path", "file path", "folder", "directory", "file.path"),
        _F.HASH: ("hash", "sha256", "file hash", "sha256 hash", "sha-256"),
        _F.MD5: ("md5", "md5 hash"),
        _F.SHA1: ("sha1", "sha1 hash", "sha-1"),
        _F.KEY: ("key", "registry key", "registry path", "registry.path"),
        _F.COUNTRY: ("country", "source country"),
        _F.SEVERITY: ("severity", "alert severity"),
        _F.RULE: ("rule", "rule name", "alert name", "alert title", "title", "signature"),
        _F.EVENT_ID: ("event id", "eventid", "event code", "eventcode", "event ids"),
        _F.SENDER: ("sender", "from address", "sender address", "sent by", "sent from", "received from"),
        _F.RECIPIENT: ("recipient", "recipient address", "received by", "sent to", "addressed to"),
        _F.SUBJECT: ("subject", "subject line"),
        _F.METHOD: ("method", "http method", "request method"),
        _F.STATUS: ("status", "status code", "http status", "response code", "http status code"),
        _F.USER_AGENT: ("user agent", "user-agent", "useragent"),
    }.items()
    for name in names
    for form in (name, f"{name}s", f"{name}es")
}  # fmt: skip
PLURALS: Final[Mapping[str, Field]] = {
    "countries": _F.COUNTRY,
    "processes": _F.PROCESS,
    "ips": _F.SOURCE_IP,
    "ip addresses": _F.SOURCE_IP,
    "ip": _F.SOURCE_IP,
}

# The category that a field belongs to where no event is named.
IMPLIED: Final[Mapping[Field, Category]] = {
    _F.PROCESS: _C.PROCESS,
    _F.PARENT: _C.PROCESS,
    _F.COMMAND: _C.PROCESS,
    _F.DESTINATION_PORT: _C.NETWORK,
    _F.SOURCE_PORT: _C.NETWORK,
    _F.DESTINATION_IP: _C.NETWORK,
    _F.DOMAIN: _C.DNS,
    _F.URL: _C.WEB,
    _F.METHOD: _C.WEB,
    _F.STATUS: _C.WEB,
    _F.USER_AGENT: _C.WEB,
    _F.FILE: _C.FILE,
    _F.PATH: _C.FILE,
    _F.HASH: _C.FILE,
    _F.MD5: _C.FILE,
    _F.SHA1: _C.FILE,
    _F.KEY: _C.REGISTRY,
    _F.SENDER: _C.EMAIL,
    _F.RECIPIENT: _C.EMAIL,
    _F.SUBJECT: _C.EMAIL,
    _F.SEVERITY: _C.ALERT,
    _F.RULE: _C.ALERT,
    _F.EVENT_ID: _C.WINDOWS,
    _F.LOGON: _C.AUTHENTICATION,
    _F.COUNTRY: _C.AUTHENTICATION,
}

# The field that "containing 'x'" or a bare quoted text means, by category.
TEXT: Final[Mapping[Category, Field]] = {
    _C.PROCESS: _F.COMMAND,
    _C.DNS: _F.DOMAIN,
    _C.WEB: _F.URL,
    _C.FILE: _F.PATH,
    _C.REGISTRY: _F.KEY,
    _C.EMAIL: _F.SUBJECT,
    _C.ALERT: _F.RULE,
}

OPERATORS: Final[Mapping[str, Op]] = {
    "contains": Op.CONTAINS,
    "contain": Op.CONTAINS,
    "containing": Op.CONTAINS,
    "that contain": Op.CONTAINS,
    "that contains": Op.CONTAINS,
    "includes": Op.CONTAINS,
    "including": Op.CONTAINS,
    "like": Op.CONTAINS,
    "matching": Op.CONTAINS,
    "starts with": Op.STARTS,
    "starting with": Op.STARTS,
    "begins with": Op.STARTS,
    "beginning with": Op.STARTS,
    "ends with": Op.ENDS,
    "ending with": Op.ENDS,
    "ending in": Op.ENDS,
    "greater than": Op.ABOVE,
    "higher than": Op.ABOVE,
    "above": Op.ABOVE,
    "over": Op.ABOVE,
    ">": Op.ABOVE,
    ">=": Op.AT_LEAST,
    "at least": Op.AT_LEAST,
    "less than": Op.BELOW,
    "lower than": Op.BELOW,
    "below": Op.BELOW,
    "under": Op.BELOW,
    "<": Op.BELOW,
    "<=": Op.AT_MOST,
    "at most": Op.AT_MOST,
    "in": Op.IS,
    "is": Op.IS,
    "are": Op.IS,
    "was": Op.IS,
    "were": Op.IS,
    "equals": Op.IS,
    "equal to": Op.IS,
    "is equal to": Op.IS,
    "named": Op.IS,
    "called": Op.IS,
    "=": Op.IS,
    "==": Op.IS,
    ":": Op.IS,
}
THRESHOLDS: Final[Mapping[str, Op]] = {
    "more than": Op.ABOVE,
    "over": Op.ABOVE,
    "greater than": Op.ABOVE,
    "at least": Op.AT_LEAST,
    "fewer than": Op.BELOW,
    "less than": Op.BELOW,
    "at most": Op.AT_MOST,
}
UNITS: Final[Mapping[str, tuple[Unit, int]]] = {
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), (Unit.MINUTE, 1)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), (Unit.HOUR, 1)),
    **dict.fromkeys(("d", "day", "days"), (Unit.DAY, 1)),
    **dict.fromkeys(("w", "week", "weeks"), (Unit.DAY, 7)),
    **dict.fromkeys(("month", "months"), (Unit.DAY, 30)),
}
NUMBERS: Final[Mapping[str, int]] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twenty": 20, "thirty": 30,
    "fifty": 50, "hundred": 100,
}  # fmt: skip

# Words that change nothing.
FILLER: Final = frozenset(
    split(
        """a an the all any me us please show list find get give display return search for fetch see us which what that who there were was are is have
        has had made make did do does been we our i want to need can you of with where whose and , happened occurred seen recorded occurring
        happening ever run"""
    )
)

# What stands where a name could, and is nobody's: times, amounts, everybody, and what stands guard.
NO_NAMES: Final = frozenset(
    split(
        """monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays sundays january february
        march april may june july august september october november december day days night nights morning evening afternoon noon midnight
        midday weekend weekends week weeks month months year years hour hours minute minutes second seconds once twice
        all every any each some both several many multiple various different few most least more less other others another same new unknown known
        number count amount total sum average anyone anybody someone somebody everyone everybody nobody none nothing everything something
        people person users user hosts host accounts account servers server internet firewall firewalls proxy proxies gateway antivirus edr ids
        ips waf policy policies us them it here there attackers attacker malware default"""
    )
)
