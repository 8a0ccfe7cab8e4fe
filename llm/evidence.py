"""The facts of an alert that an analyst looks for first: who, where, what ran, what was touched. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from airgap.policy import Rule, classify
from llm.alerts import Alert, Field
from llm.privacy import without_secrets

MOST: Final = 8
MAX_VALUE: Final = 160  # characters


@dataclass(frozen=True, slots=True)
class Evidence:
    """label: what it is. value: as the alert has it, secrets masked. annotation: what is worth knowing about it, or ""."""

    label: str
    value: str
    annotation: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """One label: the names of fields that hold it (`above.name` asks for both), and its shape in running text, if it has one."""

    label: str
    fields: frozenset[str]
    shape: re.Pattern[str] | None = None


def _kind(label: str, fields: str, shape: str = "") -> _Kind:
    return _Kind(label, frozenset(fields.split()), re.compile(shape, re.IGNORECASE) if shape else None)


# In the order in which they are told.
_KINDS: Final = (
    _kind(
        "User",
        "user username user.name actor.alternateid actor.displayname actor.name account accountname targetusername subjectusername useridentity.arn"
        " useridentity.username userprincipalname upn principal principalname srcuser duser login target.alternateid target.displayname user.email",
        r"(?<![\w\\:.])[A-Z][\w.-]{1,30}\\{1,2}[\w.$-]{2,64}(?![\\\w])|[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,6}[a-z]{2,24}",
    ),
    _kind(
        "Source address",
        "sourceip srcip src clientip ipaddress remoteip source.ip src.ip sourceaddress sourceipaddress client.ip client.ipaddress callerip remoteaddress"
        " srcaddr actor.ip ip",
        r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.]*[0-9])",
    ),
    _kind("Destination address", "destip destinationip dstip dst destination.ip dest.ip destinationaddress dstaddr dest"),
    _kind("Destination port", "destport destinationport dstport destination.port dpt"),
    _kind(
        "Host",
        "host.name host.hostname host hostname computer computername devicename device.hostname workstation workstationname endpoint machine asset",
    ),
    _kind(
        "Process",
        "process process.name processname image process.executable newprocessname exe processpath file.path",
        r"(?<![\w\\/])[\w-]{2,40}\.exe\b",
    ),
    _kind("Command line", "commandline cmdline process.commandline processcommandline cmd command process.args"),
    _kind("Parent process", "parentimage parentprocess parent.name parentprocessname process.parent.name parentcommandline parentprocesspath"),
    _kind("API call", "eventname operationname apioperation operation methodname action eventtype"),
    _kind("File", "filename filepath targetfilename file.name file path targetpath"),
    _kind(
        "Hash", "sha256 sha1 md5 hash hashes filehash hash.sha256 hash.md5", r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-f])"
    ),
    _kind("URL", "url requesturl uri request.url url.full url.original", r"\bhttps?://[^\s\"'<>]{4,500}"),
    _kind("Domain", "domain dnsquery queryname query dns.question.name dest.domain destinationdomain url.domain question.name"),
    _kind("Registry", "registrykey registrypath targetobject registry.path"),
    _kind("Subject", "subject email.subject"),
    _kind("Recipient", "recipient recipients to email.to"),
    _kind("Vulnerability", "cve cveid vulnerability.id", r"\bCVE-[0-9]{4}-[0-9]{4,7}\b"),
    _kind("Result", "outcome result outcome.result outcome.reason errorcode status logonresult"),
    _kind("Place", "country city location geo.country geo.countryname geographicalcontext.country region awsregion"),
    _kind("Client", "useragent useragent.original user_agent client.useragent useragent.rawuseragent"),
    _kind("Event id", "eventid eventcode"),
)
_ENCODED = re.compile(r"(?i)-e(?:nc(?:odedcommand)?)?\s+[a-z0-9+/=]{16}|frombase64string")
_DOWNLOADS = re.compile(r"(?i)downloadstring|downloadfile|invoke-webrequest|urlcache|\bcurl\b|\bwget\b|https?://")
_HASHES = {32: "MD5", 40: "SHA-1", 64: "SHA-256"}


def evidence_of(alert: Alert) -> list[Evidence]:
    """At most MOST, one value a label; from the event's fields, and where it has none, from the running text."""
    found: list[Evidence] = []
    told = [(_names(one), one.text) for one in alert.fields if not _is_placeholder(one.text)]
    for kind in _KINDS:
        value = next(_values(alert, told, kind), "")
        if value:
            shown = without_secrets(" ".join(value.split()))
            found.append(Evidence(kind.label, shown if len(shown) <= MAX_VALUE else f"{shown[: MAX_VALUE - 1]}…", _annotation(kind.label, value)))
    return found[:MOST]


def _values(alert: Alert, told: list[tuple[frozenset[str], str]], kind: _Kind) -> Iterator[str]:
    """told: the alert's fields that say something, each with its names."""
    for names, text in told:
        if not names.isdisjoint(kind.fields):
            yield text.strip()
    if kind.shape is not None and (match := kind.shape.search(alert.prose)):
        yield match[0]


def _names(one: Field) -> frozenset[str]:
    return frozenset((one.name, f"{one.above}.{one.name}"))


def _is_placeholder(text: str) -> bool:
    return text.strip().lower() in ("", "-", "n/a", "none", "null", "unknown", "true", "false") or text.startswith(("{", "["))


def _annotation(label: str, value: str) -> str:
    if label in ("Source address", "Destination address"):
        rule = classify(value)
        return {Rule.PUBLIC: "public address", Rule.PRIVATE_ADDRESS: "internal address"}.get(rule, "")
    if label == "Command line":
        notes = [note for shape, note in ((_ENCODED, "encoded"), (_DOWNLOADS, "reaches for the network")) if shape.search(value)]
        return ", ".join(notes)
    if label == "Hash":
        return _HASHES.get(len(value), "")
    if label == "User":
        return "privileged account" if re.search(r"(?i)\b(?:admin|root|administrator|svc|service|system)", value) else ""
    if label in ("Domain", "URL"):
        return "internal name" if classify(value) in (Rule.PRIVATE_SUFFIX, Rule.PRIVATE_ADDRESS, Rule.SINGLE_LABEL) else ""
    return ""
