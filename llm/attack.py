"""ATT&CK techniques of an alert: named in its tags, named in its text, or recognised by what it describes. Pure but for the table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llm.alerts import Alert
from llm.needles import needles
from llm.tables import Technique, technique_by_name, techniques

MOST: Final = 5
_ID = re.compile(r"(?<![A-Za-z0-9])t(1[0-9]{3})(?:[./]([0-9]{3}))?(?![0-9A-Za-z])", re.IGNORECASE)
_MAX_SEARCHED: Final = 20_000  # characters of an alert that behaviours are looked for in


class How(StrEnum):
    """Where a technique was found."""

    TAG = "tag"
    TEXT = "text"
    NAME = "name"
    BEHAVIOUR = "behaviour"


@dataclass(frozen=True, slots=True)
class Found:
    """A technique with how it was found: `seen` is the tag, the id, or the words that show the behaviour."""

    technique: Technique
    how: How
    seen: str


# What alerts and command lines say, and the technique it is. Sources: ATT&CK's own technique pages, LOLBAS, and CloudTrail's API names.
_BEHAVIOURS: Final[tuple[tuple[str, str], ...]] = (
    # Execution
    (r"powershell|pwsh(?:\.exe)?\b|invoke-expression|\biex\s*\(|encodedcommand", "T1059.001"),
    (r"\bosascript\b|applescript", "T1059.002"),
    (r"cmd\.exe|\bcmd /[ck]\b|command prompt|\bbatch (?:file|script)", "T1059.003"),
    (r"/bin/(?:ba|z|da|k)?sh\b|\bbash -[ic]\b|unix shell|shell script|reverse shell", "T1059.004"),
    (r"wscript|cscript|vbscript|\.vbs\b|visual basic", "T1059.005"),
    (r"python3? -c\b|python script", "T1059.006"),
    (r"\.jse?\b(?=.{0,40}(?:wscript|download|execut))|malicious javascript", "T1059.007"),
    (r"\bwmic\b|wmiprvse|win32_process|windows management instrumentation", "T1047"),
    (r"schtasks|scheduled task|\bevent ?id[\"': =]*4698\b|task scheduler", "T1053.005"),
    (r"\bcron(?:tab|\b)", "T1053.003"),
    (r"psexec|psexesvc|service execution", "T1569.002"),
    (
        r"malicious (?:attachment|document|macro)|(?:opened|enabled?) (?:a |the )?(?:macro|attachment)|office (?:document|application) spawn",
        "T1204.002",
    ),
    (r"clicked (?:a |the |on a )?(?:malicious |phishing )?link", "T1204.001"),
    (r"kubectl exec|exec (?:in)?to (?:a |the )?(?:pod|container)", "T1609"),
    # Initial access
    (r"spear-?phishing attachment|phishing.{0,40}attachment|attachment.{0,40}phishing", "T1566.001"),
    (r"spear-?phishing link|phishing.{0,40}\b(?:link|url)|(?:link|url).{0,40}phishing|credential harvest", "T1566.002"),
    (r"phishing(?!.{0,60}(?:attachment|link|url))", "T1566"),
    (r"log4shell|jndi:|exploit(?:ation|ing|ed)?.{0,40}(?:public|web|internet|server|vpn|gateway)|sql injection|remote code execution", "T1190"),
    (r"proxyshell|proxylogon|path traversal|directory traversal", "T1190"),
    (r"external remote service|vpn (?:log-?in|access|session)|exposed rdp", "T1133"),
    (r"impossible travel|atypical travel|unfamiliar (?:sign-?in|location)|new (?:country|location|device)|anonymous (?:ip|proxy)|tor exit", "T1078"),
    (r"valid accounts?|compromised (?:account|credential)|stolen credential|account take-?over", "T1078"),
    (r"drive-?by", "T1189"),
    (r"supply chain", "T1195"),
    (r"usb (?:device|drive|stick|storage|mass)|removable media", "T1091"),
    # Persistence and privilege
    (r"currentversion\\{1,2}run|run key|startup folder|autorun", "T1547.001"),
    (r"new service|service (?:was )?(?:installed|created)|sc(?:\.exe)? create|event ?id[\"': =]*7045", "T1543.003"),
    (r"systemd (?:service|unit)", "T1543.002"),
    (r"launch ?agent", "T1543.001"),
    (r"launch ?daemon", "T1543.004"),
    (r"web ?shell", "T1505.003"),
    (r"event ?id[\"': =]*4720|net user \S+ \S* ?/add|(?:local|user) account (?:was )?created|useradd", "T1136.001"),
    (r"createuser\b|new iam user|iam user (?:was )?created|createloginprofile", "T1136.003"),
    (r"createaccesskey|new access key|additional (?:cloud )?credential|service principal credential|addkey|updateaccesskey", "T1098.001"),
    (r"attachuserpolicy|attachrolepolicy|putuserpolicy|administratoraccess|global administrator|role assignment|added to .{0,30}role", "T1098.003"),
    (r"authorized_keys", "T1098.004"),
    (
        r"mfa (?:method|device|factor) (?:was )?(?:added|registered|enrolled|reset|changed)|new (?:mfa|authenticator)|deactivatemfadevice|device registration",
        "T1098.005",
    ),
    (r"(?:added|member).{0,40}(?:domain admins|privileged group|administrators group)|event ?id[\"': =]*(?:4728|4732|4756)", "T1098"),
    (r"inbox rule|mail(?:box)? forward|forwarding rule", "T1114.003"),
    (r"sudo(?:ers)?\b.{0,60}(?:abuse|escalat|nopasswd|root)|nopasswd", "T1548.003"),
    (r"setuid|suid (?:bit|binary)", "T1548.001"),
    (r"uac bypass|bypass(?:ing|ed)? (?:user account control|uac)|fodhelper|eventvwr\.exe", "T1548.002"),
    (r"privilege escalation.{0,40}(?:exploit|vulnerab)|(?:exploit|vulnerab).{0,40}privilege escalation|printnightmare|dirty ?pipe", "T1068"),
    (r"createremotethread|process injection|code injection|reflective(?:ly)? load", "T1055"),
    (r"process hollowing", "T1055.012"),
    (r"dll (?:side-?loading|hijack|search order)", "T1574.001"),
    (r"sticky keys|sethc\.exe|utilman\.exe", "T1546.008"),
    (r"wmi event subscription|__eventfilter|commandlineeventconsumer", "T1546.003"),
    (r"group policy (?:object )?(?:was )?modif|gpo (?:was )?(?:modif|chang)", "T1484.001"),
    # Defence evasion
    (r"rundll32", "T1218.011"),
    (r"regsvr32", "T1218.010"),
    (r"mshta", "T1218.005"),
    (r"msiexec(?:\.exe)? .{0,40}(?:http|/q)", "T1218.007"),
    (r"installutil", "T1218.004"),
    (r"cmstp", "T1218.003"),
    (r"-enc(?:odedcommand)?\s+[a-z0-9+/=]{16}|base64.{0,20}(?:encoded|obfuscat)|obfuscated (?:script|command|file)", "T1027"),
    (r"certutil(?:\.exe)?.{0,60}-?decode", "T1140"),
    (
        r"set-mppreference|disable.{0,20}(?:defender|antivirus|real-?time|edr|security tool)|(?:defender|antivirus|edr|sensor"
        r"|agent).{0,25}(?:disabled|stopped|tamper|uninstall)",
        "T1562.001",
    ),
    (r"(?:firewall|netsh advfirewall).{0,30}(?:off|disabled?|rule (?:was )?(?:added|changed))", "T1562.004"),
    (r"stoplogging|deletetrail|updatetrail|deleteflowlogs|(?:cloud ?trail|audit log|logging).{0,30}(?:disabled|stopped|deleted)", "T1562.008"),
    (r"wevtutil(?:\.exe)?\s+cl|(?:event|audit|security) log (?:was |were )?cleared|clear-eventlog|event ?id[\"': =]*1102", "T1070.001"),
    (r"bash_history|clear(?:ed)? command history|history -c", "T1070.003"),
    (r"timestomp", "T1070.006"),
    (r"masquerad", "T1036"),
    (r"renamed (?:\w+ )?(?:binary|executable|system|copy|utility)|double extension|\.pdf\.exe", "T1036"),
    (r"bitsadmin|start-bitstransfer|bits job", "T1197"),
    (r"rootkit", "T1014"),
    # Credentials
    (r"lsass|mimikatz|sekurlsa|procdump", "T1003.001"),
    (r"reg(?:\.exe)? save.{0,20}hklm\\{1,2}(?:sam|system|security)|\bsam (?:database|hive)", "T1003.002"),
    (r"ntds\.dit|ntdsutil", "T1003.003"),
    (r"dcsync|drsuapi|replicating directory changes|getncchanges", "T1003.006"),
    (r"/etc/shadow", "T1003.008"),
    (r"password spray", "T1110.003"),
    (r"credential stuffing", "T1110.004"),
    (r"password guess", "T1110.001"),
    (
        r"brute[- ]?forc|(?:multiple|many|repeated|excessive|several|[0-9]{2,}) failed (?:log-?(?:in|on)|sign-?in|authentication|ssh|password)",
        "T1110",
    ),
    (r"kerberoast|event ?id[\"': =]*4769.{0,60}rc4", "T1558.003"),
    (r"as-?rep roast", "T1558.004"),
    (r"golden ticket", "T1558.001"),
    (r"silver ticket", "T1558.002"),
    (r"pass[- ]the[- ]hash", "T1550.002"),
    (r"pass[- ]the[- ]ticket", "T1550.003"),
    (
        r"(?:mfa|push) (?:fatigue|bombing|spam|flood)|(?:repeated|multiple|many|[0-9]{2,}) (?:mfa|push) (?:push(?:es)?|prompt|request|notification|challenge)",
        "T1621",
    ),
    (r"keylog", "T1056.001"),
    (r"session (?:cookie|token) (?:theft|hijack|replay|stolen)|stolen (?:session|cookie)|cookie theft", "T1539"),
    (r"adversary[- ]in[- ]the[- ]middle|\baitm\b|llmnr|responder\.py|evilginx", "T1557"),
    (r"(?:browser|chrome|firefox|edge).{0,30}(?:saved|stored) (?:password|credential)|login data\b", "T1555.003"),
    (r"169\.254\.169\.254|instance metadata|imds", "T1552.005"),
    (r"getsecretvalue|secrets? manager|key vault secret", "T1555.006"),
    (
        r"(?:credential|password|secret|api key)s? (?:found |exposed |committed |leaked )?in (?:a |the )?(?:file|repositor|source|code|script)|secret scanning",
        "T1552.001",
    ),
    (r"consent (?:grant|phish)|oauth (?:app|application).{0,30}(?:consent|grant|malicious|suspicious)|application access token", "T1528"),
    # Discovery
    (r"port ?scan|network scan|nmap|masscan", "T1046"),
    (r"ldap (?:query|quer|enumerat)|bloodhound|sharphound|net group .{0,30}/domain", "T1087.002"),
    (r"\bwhoami\b", "T1033"),
    (r"nltest|domain trust", "T1482"),
    (r"listbuckets|describeinstances|cloud (?:service )?(?:discovery|enumerat)", "T1580"),
    # Movement
    (r"\brdp\b|remote desktop|logon ?type[\"': =]*10\b", "T1021.001"),
    (r"admin\$|\\{2}[\w.-]+\\{1,2}c\$|\bsmb\b.{0,40}(?:lateral|admin|share|copy)", "T1021.002"),
    (r"\bwinrm\b|wsmprovhost|enter-pssession|invoke-command", "T1021.006"),
    (r"\bssh\b.{0,40}(?:lateral|login|log-in|session|brute)|sshd", "T1021.004"),
    (r"eternalblue|ms17-010|exploitation of remote service", "T1210"),
    # Command and control, exfiltration
    (r"dns tunnel|dnscat|iodine|long txt|(?:high|large|many|unusual).{0,30}(?:txt|dns) quer", "T1071.004"),
    (r"beacon|cobalt ?strike|c2 (?:traffic|server|channel|callback|communication|domain)|command[- ]and[- ]control|sliver|http c2", "T1071.001"),
    (r"domain generation algorithm|\bdga\b", "T1568.002"),
    (
        r"certutil(?:\.exe)?.{0,40}urlcache|downloadstring|downloadfile|invoke-webrequest|\b(?:wget|curl)\b.{0,60}https?://"
        r"|downloaded (?:a |an )?(?:payload|tool|binary|executable)",
        "T1105",
    ),
    (r"anydesk|teamviewer|screenconnect|atera|remote (?:access|management) (?:tool|software)", "T1219"),
    (r"\btor\b (?:traffic|network|connection|client)|multi-?hop proxy", "T1090.003"),
    (r"ngrok|protocol tunnel|ssh tunnel|chisel", "T1572"),
    (r"rclone|megasync|dropbox|(?:exfiltrat|upload).{0,50}(?:cloud|mega\.|google drive|onedrive)", "T1567.002"),
    (r"(?<!dnsdata)exfiltrat(?!.{0,60}(?:cloud|dns|mega|drive))|(?:large|unusual) (?:outbound|upload|data transfer)", "T1041"),
    (r"s3.{0,30}(?:public|getobject|anonymous)|public bucket|bucket.{0,30}public|mass(?:ive)? download.{0,30}(?:sharepoint|bucket|storage)", "T1530"),
    (r"putbucketpolicy|modifysnapshotattribute|shared (?:ebs )?snapshot|snapshot.{0,30}(?:external|shared)", "T1537"),
    (r"\brar(?:\.exe)? a\b|7z(?:\.exe)? a\b|archive.{0,20}(?:staged|collected|compress)", "T1560.001"),
    # Impact
    (r"ransom|encrypted (?:files|many)|mass file (?:encrypt|renam)|lockbit|\.locked\b", "T1486"),
    (r"vssadmin|shadow cop|wbadmin delete|bcdedit.{0,60}recovery", "T1490"),
    (r"cryptomin|coin ?min|crypto-?currency|xmrig|mining pool|stratum\+tcp", "T1496"),
    (r"\bd?dos\b|denial[- ]of[- ]service|syn flood", "T1498"),
    (r"wiper|data destruction|mass delet|deleteobjects?\b|deletebucket", "T1485"),
    (r"defacement", "T1491"),
)
# For lower case: to ignore case takes four times as long.
_PATTERNS: Final = tuple((needles(pattern), re.compile(pattern), id) for pattern, id in _BEHAVIOURS)


def techniques_of(alert: Alert) -> list[Found]:
    """At most MOST, the alert's own words for them first. A parent goes where one of its sub-techniques is; ids that ATT&CK has not are dropped."""
    found: dict[str, Found] = {}
    for one in _all(alert):
        found.setdefault(one.technique.id, one)
    parents = {id.split(".", 1)[0] for id in found if "." in id}
    kept = [one for id, one in found.items() if not (id in parents and one.how in (How.BEHAVIOUR, How.NAME))]
    return kept[:MOST]


def ids_in(text: str) -> list[str]:
    """The technique ids that a text names, each once, in its order, as ATT&CK writes them; also those that do not exist."""
    return list(dict.fromkeys(f"T{match[1]}.{match[2]}" if match[2] else f"T{match[1]}" for match in _ID.finditer(text)))


def _all(alert: Alert) -> Iterator[Found]:
    known = techniques()
    for how, texts in ((How.TAG, alert.tags), (How.TEXT, (alert.title, alert.description, *(one.text for one in alert.fields)))):
        for text in texts:
            for id in ids_in(text):
                if id in known:
                    yield Found(known[id], how, id)
    prose = alert.prose.lower()
    for name, id in technique_by_name().items():
        if name in prose:
            yield Found(known[id], How.NAME, known[id].name)
    text = alert.text[:_MAX_SEARCHED]
    searched = text.lower()
    written = text if len(text) == len(searched) else searched  # a few letters change their length in lower case
    likely = ((pattern, id) for words, pattern, id in _PATTERNS if not words or any(word in searched for word in words))
    by_place = sorted((*match.span(), id) for pattern, id in likely if (match := pattern.search(searched)))
    for start, end, id in by_place:
        if id in known:
            yield Found(known[id], How.BEHAVIOUR, " ".join(written[start:end].split())[:80])
