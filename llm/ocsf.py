"""The OCSF class of an alert: by the product that speaks, narrowed by what the event holds. Pure but for the table.

A product that reports findings always gives 2004 Detection Finding (2001 Security Finding is deprecated since OCSF 1.1), whatever the finding
is about. A product that reports activity gives its own class, unless the event clearly shows another that such a product reports too.
Without a known product the event alone decides; what shows nothing is a Detection Finding: somebody detected it.
"""

import re
from dataclasses import dataclass
from typing import Final

from llm.alerts import Alert
from llm.tables import OcsfClass, ocsf_classes

FINDING: Final = 2004
PROCESS: Final = 1007
AUTHENTICATION: Final = 3002
ACCOUNT: Final = 3001
API: Final = 6003
NETWORK: Final = 4001
_ANY: Final = frozenset(ocsf_classes())


@dataclass(frozen=True, slots=True)
class Classified:
    """A class with the reason, in a sentence."""

    ocsf: OcsfClass
    why: str


@dataclass(frozen=True, slots=True)
class _Product:
    """Products by the words of their names; the class they report; the classes that the event may narrow it to."""

    words: re.Pattern[str]
    uid: int
    narrowed: frozenset[int] = frozenset()


def _product(words: str, uid: int, *narrowed: int) -> _Product:
    return _Product(re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])"), uid, frozenset(narrowed))


# In lower case, which is four times as fast as ignoring case. The first that matches the source decides, so the narrower names come first.
_PRODUCTS: Final = (
    _product(r"nessus|tenable|qualys|rapid7|insightvm|openvas|trivy|inspector|vulnerability(?: scanner| management)?", 2002),
    _product(r"macie|dlp|data loss prevention|purview", 2006),
    _product(r"aws config|prowler|compliance|cis benchmark", 2003),
    _product(
        r"guard ?duty|splunk(?:[ _-]?es)?|elastic(?:[ _-]?(?:security|siem))?|security ?hub|(?:microsoft|azure) sentinel|sentinel(?![ _-]?one)|qradar|chronicle|siem"
        r"|suricata|snort|wazuh|sumo ?logic|exabeam|securonix|logrhythm|arcsight|defender for cloud|wiz|detective|xdr alert|ids|ips|nids|darktrace|vectra",
        FINDING,
    ),
    _product(
        r"okta|azure[ _-]?ad|aad|entra(?:[ _-]?id)?|auth0|ping(?:[ _-]?(?:id|federate|one))?|duo|one ?login|jumpcloud|cyberark identity|google[ _-]workspace login"
        r"|keycloak|radius|identity(?: provider| protection)?|idp|adfs|kerberos|sign-?in(?: logs?)?",
        AUTHENTICATION,
        ACCOUNT,
        3003,
    ),
    _product(
        r"crowd ?strike|falcon|defender(?: for endpoint| atp)?|mde|sentinel ?one|carbon ?black|cybereason|cortex(?: xdr)?|sysmon|edr"
        r"|osquery|tanium|sophos|trellix|mcafee"
        r"|symantec|eset|trend ?micro|kaspersky|harfanglab|limacharlie|velociraptor|endpoint(?: security| protection)?|auditd|falco",
        PROCESS,
        1001,
        1002,
        1004,
        1005,
        1006,
        1010,
        201001,
        201002,
        NETWORK,
        4003,
    ),
    _product(r"cloud ?trail", API, AUTHENTICATION),
    _product(
        r"git(?:hub|lab)|bitbucket|azure ?activity|gcp(?:[ _-]?audit)?|google cloud audit|kubernetes(?:[ _-]audit)?|k8s|office ?365|o365"
        r"|m365|slack audit|salesforce|api gateway"
        r"|jenkins|terraform|atlassian|jira",
        API,
        AUTHENTICATION,
    ),
    _product(
        r"proofpoint|mimecast|exchange(?: online)?|email(?: security| gateway)?|mail(?: gateway)?|o365 atp|defender for office(?: 365)?|barracuda|ironport",
        4009,
    ),
    _product(r"dns(?: server| logs?)?|route ?53|umbrella|infoblox|bind|unbound|pi-?hole|dnsfilter", 4003),
    _product(r"waf|modsecurity|nginx|apache|iis|zscaler|proxy|squid|bluecoat|web(?: server| gateway| proxy)|haproxy|akamai|cloudflare|http", 4002),
    _product(r"dhcp", 4004),
    _product(r"sshd|openssh|ssh", 4007, AUTHENTICATION),
    _product(
        r"palo ?alto|pan-?os|forti(?:gate|net|os)|check ?point|cisco(?: asa| ftd)?|asa|firewall|fw|vpc ?flow(?: logs?)?|net ?flow|ipfix"
        r"|zeek|bro|network|pfsense|opnsense|juniper"
        r"|iptables",
        NETWORK,
        4002,
        4003,
        4005,
        4006,
        4007,
        4009,
    ),
    _product(r"postgres(?:ql)?|mysql|oracle db|mssql|sql server|mongodb|snowflake|database(?: audit)?", 6005, AUTHENTICATION),
    _product(r"tripwire|aide|fim|file integrity(?: monitoring)?", 1001),
)


@dataclass(frozen=True, slots=True)
class _Sign:
    """What shows a class: names of fields in the event, or words in the text. `shown` ends the sentence `The event shows …`."""

    uid: int
    shown: str
    fields: re.Pattern[str] | None = None
    words: re.Pattern[str] | None = None


def _sign(uid: int, shown: str, *, fields: str = "", words: str = "") -> _Sign:
    return _Sign(uid, shown, re.compile(rf"(?:{fields})") if fields else None, re.compile(words) if words else None)


_PROCESS_FIELDS: Final = re.compile(
    r"^(?:process|commandline|cmdline|image$|parentimage|parentprocess|processname|exe$|newprocessname|processcommandline|pid$)"
)
_EVENT_ID: Final = r"event_?\s?(?:id|code)[\"': =]*"
# In order: what is more particular comes first. Field names are without case and separators.
_SIGNS: Final = (
    _sign(ACCOUNT, "a change to an account", words=_EVENT_ID + r"(?:4720|4722|4723|4724|4725|4726|4738|4740|4767|4728|4732|4756)\b"),
    _sign(AUTHENTICATION, "a log-in", words=_EVENT_ID + r"(?:4624|4625|4634|4647|4648|4768|4769|4771|4776)\b|\bconsolelogin\b"),
    _sign(PROCESS, "a process", words=_EVENT_ID + r"4688\b"),
    _sign(1006, "a scheduled job", words=_EVENT_ID + r"(?:4698|4699|4700|4702|106)\b"),
    _sign(1008, "a change to an event log", words=_EVENT_ID + r"(?:1102|104)\b|(?:event|audit|security) log (?:was |were )?cleared"),
    _sign(201002, "a registry value", fields=r"^registryvalue", words=r"registry value|currentversion\\{1,2}run"),
    _sign(201001, "a registry key", fields=r"^registry(?:key|path)|^targetobject$", words=r"registry key|\bhk(?:lm|cu|ey_)"),
    _sign(1006, "a scheduled job", fields=r"^(?:taskname|scheduledtask)", words=r"scheduled task|scheduled job|\bcron ?(?:job|tab)|schtasks"),
    _sign(1005, "a loaded module", fields=r"^(?:imageloaded|loadedmodule)", words=r"(?:dll|module|library) (?:was )?(?:load|side-?load)"),
    _sign(1002, "a kernel extension", words=r"kernel (?:module|driver|extension)|driver (?:was )?loaded"),
    _sign(1010, "a peripheral", words=r"usb (?:device|drive|stick|mass|storage)|removable media"),
    _sign(
        4009,
        "an e-mail",
        fields=r"^(?:recipients?|senderaddress|messageid|mailfrom|attachmentname)",
        words=r"\be-?mail (?:message|from|with)|phishing (?:e-?mail|message)|inbox|spear-?phish",
    ),
    _sign(
        4003,
        "a DNS query",
        fields=r"^(?:dnsquery|queryname|dnsquestionname|rrname|qname|qtype)",
        words=r"\bdns (?:quer|request|tunnel|lookup|txt)|domain generation",
    ),
    _sign(
        4002,
        "an HTTP request",
        fields=r"^(?:httpmethod|httprequest|httpstatus|requesturi|useragentoriginal|uripath|urlpath)",
        words=r"\bhttp (?:get|post|request|response)|web (?:request|shell|application attack)|sql injection|path traversal",
    ),
    _sign(4005, "a remote desktop session", words=r"\brdp (?:session|connection|traffic)|remote desktop (?:session|connection|protocol)"),
    _sign(4006, "an SMB session", fields=r"^(?:sharename|smb)", words=r"\bsmb\b"),
    _sign(4007, "an SSH session", words=r"\bssh (?:session|connection|traffic|tunnel)"),
    _sign(
        ACCOUNT,
        "a change to an account",
        words=r"(?:user|account|password|mfa|factor|group) (?:was |has been |were )?(?:created|deleted|added|removed|reset|changed|enrolled"
        r"|registered|locked|disabled|enabled|unlocked)|password (?:change|reset)|new (?:local |domain |admin(?:istrator)? )?(?:user"
        r"|account)|account lifecycle|user\.(?:lifecycle|account|mfa\.factor)\.|(?:added|member).{0,30}(?:group|role)",
    ),
    _sign(3003, "rights given to a session", words=r"special privileges assigned|assumed role session"),
    _sign(
        AUTHENTICATION,
        "a log-in",
        fields=r"^(?:logontype|authenticationmethod|mfaresult|signinstatus|loginresult|authmethod)",
        words=r"log-?[io]n\b|log(?:ged|ging) (?:in|on)|sign-?in|signed in|authenticat|brute[- ]?forc|password spray|credential stuffing"
        r"|impossible travel|mfa|failed password|kerberos|kerberoast",
    ),
    _sign(
        1001,
        "a file",
        words=r"\bfiles? (?:was |were |is |has been )?(?:creat|delet|modif|writ|renam|encrypt|access|open|copied|dropp|quarantin|download)"
        r"|(?:creat|delet|modif|wrote|renam|encrypt|dropp|quarantin)\w* (?:a |an |the |many |multiple |[0-9]+ )?(?:\w+ )?files?\b"
        r"|file integrity|ransomware",
    ),
    _sign(
        PROCESS,
        "a process",
        fields=_PROCESS_FIELDS.pattern,
        words=r"\bprocess(?:es)?\b|command[- ]line|\w\.exe\b|powershell|/bin/\w|\bspawn|executed|execution|\blaunch",
    ),
    _sign(
        API,
        "a call of an API",
        fields=r"^(?:eventname|apioperation|requestparameters|useridentity|operationname|methodname)$",
        words=r"\bapi call|iam (?:user|role|policy)|s3 bucket|access key",
    ),
    _sign(6005, "a query of a database", words=r"database (?:query|dump|export)|select \* from"),
    _sign(2002, "a vulnerability", words=r"vulnerabilit(?:y|ies) (?:found|detected|scan)|unpatched"),
    _sign(
        NETWORK,
        "network traffic",
        fields=r"^(?:destip|destinationip|dstip|destport|destinationport|dstport|bytesout|bytesin|protocol)$",
        words=r"port ?scan|network (?:connection|traffic|scan|flow)|outbound|inbound|beacon|firewall|exfiltrat|c2\b"
        r"|command[- ]and[- ]control|connect(?:ed|ion|s) to|\btor\b|syn flood|netflow",
    ),
)


def classify(alert: Alert) -> Classified:
    """Never raises; the same alert always gives the same class."""
    source = alert.source.lower()
    product = next((one for one in _PRODUCTS if one.words.search(source)), None)
    if product is None:
        product = next((one for one in _PRODUCTS if any(one.words.fullmatch(tag.strip().lower()) for tag in alert.tags)), None)
    named = f"{alert.source[:60]} reports" if alert.source else "The product reports"
    if product is None:
        sign = _shown(alert, _ANY)
        if sign is None:
            return _classified(FINDING, "Neither the product nor the event shows a kind of activity; somebody detected it.")
        return _classified(sign.uid, f"The event shows {sign.shown}.")
    sign = _shown(alert, product.narrowed | {product.uid}) if product.narrowed else None
    if sign is None or sign.uid == product.uid:
        return _classified(product.uid, f"{named} {_article(_name(product.uid))}.")
    if product.uid == PROCESS and _has_process(alert):
        return _classified(PROCESS, f"{named} {_article(_name(PROCESS))}, and the event names the process.")
    return _classified(sign.uid, f"The event shows {sign.shown}.")


def _shown(alert: Alert, among: frozenset[int]) -> _Sign | None:
    names = {one.name for one in alert.fields} | {one.above for one in alert.fields}
    text = alert.text.lower()
    for sign in _SIGNS:
        if sign.uid not in among:
            continue
        if sign.words is not None and sign.words.search(text):
            return sign
        if sign.fields is not None and any(sign.fields.search(name) for name in names):
            return sign
    return None


def _has_process(alert: Alert) -> bool:
    """A command line or a program is named: whatever else happened, the product reports the process that did it."""
    return (
        any(_PROCESS_FIELDS.search(one.name) for one in alert.fields)
        or re.search(r"\w\.exe\b|powershell|command[- ]line", alert.prose.lower()) is not None
    )


def _name(uid: int) -> str:
    return ocsf_classes()[uid].name


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}" if name.endswith("Finding") else name


def _classified(uid: int, why: str) -> Classified:
    return Classified(ocsf_classes()[uid], why)
