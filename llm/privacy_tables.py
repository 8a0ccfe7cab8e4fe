"""What is not to leave with a prompt, as tables: the kinds and their tokens, the shapes that give a value away, and the fields that name one. Pure."""

import re
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a token stands for."""

    IP = "IP"
    EMAIL = "EMAIL"
    PATH = "PATH"
    USER = "USER"
    HOST = "HOST"
    MAC = "MAC"
    SECRET = "SECRET"  # noqa: S105
    TEXT = "TEXT"  # text of the alert that looks like one of these


_KINDS = "|".join(Kind)
TOKEN: Final = re.compile(rf"(?<![A-Za-z0-9_])(?:{_KINDS})_[0-9]{{1,6}}(?![A-Za-z0-9_])")

# ── Shapes ───────────────────────────────────────────────────────────────────────────────────────────────────────────
DOT = r"(?:\.|\[\.\]|\(\.\)|\[dot\])"
_EXTENSION = r"\.[A-Za-z0-9]{1,8}(?![A-Za-z0-9])"
_PART = r"[^\\/:*?\"<>|\r\n]{1,255}"
_LAST = rf"(?:[^\\/:*?\"<>|\r\n]{{1,200}}?{_EXTENSION}|[^\s\\/:*?\"<>|]*)"
_SECRET_WORD = r"(?:password|passwd|passphrase|secret|token|(?:api|access|private|account|shared)[_-]?key|credential|connectionstring)"  # noqa: S105 - the words for one
_SECRET_NAME = rf"(?:[\w-]{{0,40}}{_SECRET_WORD}[\w-]{{0,40}}|pwd|pass|pw)"
_HOST_WORD = r"(?:host|computer|workstation|server|machine|device|endpoint)"
_VALUE = r"(?P<it>\"[^\"\r\n]+\"|'[^'\r\n]+'|[^\s\"',;&]+)"
_NO_PORT = r"(?!(?:[0-9]{1,5}(?:[,:-][0-9]{1,5})*|tcp|udp|icmp)(?:[\s\"']|$))"  # -p is also an option for ports
SHAPES: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    (Kind.TEXT, TOKEN),
    (Kind.SECRET, re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----(?:[^-]|-(?!----)){0,20000}(?:-----END [A-Z0-9 ]{1,40}-----)?")),
    (Kind.SECRET, re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?")),
    (Kind.SECRET, re.compile(r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<it>(?:[a-z]{3,12}\s{1,4})?[^\s\"',;]+)")),
    (Kind.SECRET, re.compile(r"(?i)(?<![\w-])(?:basic|bearer)\s{1,4}(?P<it>[\w.~+/=-]{8,})")),
    (Kind.SECRET, re.compile(r"(?i)(?<![\w-])(?:set-)?cookie[\"']?\s{0,4}:\s{0,4}(?P<it>[^\r\n\"]{3,})")),
    (Kind.SECRET, re.compile(rf"(?i)(?<!\w){_SECRET_NAME}[\"']?(?:\s{{0,4}}:?[:=]\s{{0,4}}|\sis\s){_VALUE}")),
    (Kind.SECRET, re.compile(rf"(?i)(?<!\w)(?:-{{1,2}}|/)(?:password|passwd|pass|pwd|pw|token|secret)[\s:=]{{1,4}}{_VALUE}")),
    (
        Kind.SECRET,
        re.compile(rf"(?i)(?<!\w){_SECRET_NAME}\s{{1,4}}(?P<it>(?=\S*[0-9])(?=\S*[a-z])[^\s\"',;]{{8,}})"),
    ),  # … aws_secret_access_key wJal…
    (
        Kind.SECRET,
        re.compile(rf"(?i)(?<![^\s\"'])[-/]p(?:w|ass|wd)?[\s:=]{{1,4}}{_NO_PORT}(?P<it>\"[^\"\r\n]+\"|'[^'\r\n]+'|[^\s\"'/-][^\s\"',;]*)"),
    ),  # psexec -p …
    (Kind.SECRET, re.compile(rf"(?<![^\s\"'])-p{_NO_PORT}(?=[^\s\"']*[0-9!@#$%^&*])[^\s\"'=:]{{4,}}")),  # mysql -p…
    (Kind.SECRET, re.compile(r"(?<![^\s\"'])(?:-u|--user)[\s=]{1,4}[\"']?[^\s:\"'/]{1,64}:(?P<it>[^\s\"']+)")),  # curl -u user:…
    (Kind.SECRET, re.compile(r"(?<![^\s\"'])(?:-U|--user)[\s=]{1,4}[\"']?[^\s%\"']{1,64}%(?P<it>[^\s\"']+)")),  # smbclient -U user%…
    (Kind.SECRET, re.compile(rf"(?i)ConvertTo-SecureString\s{{1,4}}(?:-String\s{{1,4}})?{_VALUE}")),
    (Kind.SECRET, re.compile(r"(?i)\bnet1?(?:\.exe)?[\"']?\s{1,4}user\s{1,4}[^\s/]\S*\s{1,4}(?P<it>[^\s/]\S*)")),  # net user name …
    (Kind.SECRET, re.compile(r"(?i)\bnet1?(?:\.exe)?[\"']?\s{1,4}use\s[^\r\n|&]{0,200}?/u(?:ser)?:\S+\s{1,4}(?P<it>[^\s/]\S*)")),
    (Kind.SECRET, re.compile(r"(?i)\bnet1?(?:\.exe)?[\"']?\s{1,4}use\s{1,4}(?:\S:\s{1,4})?\\\\\S+\s{1,4}(?P<it>[^\s/]\S*)")),
    (Kind.SECRET, re.compile(r"(?i)(?<=[?&;])(?:sig|code|key|auth|session|sid)=(?P<it>[^\s\"'&;<>]{4,})")),  # of a URL's query
    (Kind.SECRET, re.compile(r"(?<![\w$])\$(?:[156y]|2[abxy])\$[\w./$=,+-]{8,}")),  # what /etc/shadow holds
    (Kind.SECRET, re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{32}:[0-9a-f]{32}(?![0-9a-f])")),  # what a dump of the SAM holds
    (Kind.SECRET, re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])")),
    (
        Kind.SECRET,
        re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,})"),
    ),
    (Kind.SECRET, re.compile(r"(?<![A-Za-z0-9])(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}")),
    (Kind.SECRET, re.compile(r"(?<=://)[^\s/@\"'<>]{1,200}(?=@)")),
    (Kind.EMAIL, re.compile(rf"[\w.+%'-]{{1,64}}(?:@|%40|\[@\]|\[at\])(?:[\w-]{{1,63}}{DOT}){{1,8}}[A-Za-z]{{2,24}}")),
    (Kind.PATH, re.compile(rf"(?<![A-Za-z0-9])[A-Za-z]:\\{{1,2}}(?!\\)(?:{_PART}\\{{1,2}})*{_LAST}")),
    (Kind.PATH, re.compile(rf"(?<![A-Za-z0-9])[A-Za-z]:/(?!/)(?:[^\\/:*?\"<>|\s]{{1,255}}/)*{_LAST}")),
    (Kind.PATH, re.compile(rf"(?<![\\\w])\\\\{{1,3}}[\w.$-]{{1,63}}\\{{1,2}}(?:{_PART}\\{{1,2}})*{_LAST}")),
    (Kind.PATH, re.compile(r"%\w{2,40}%(?:\\{1,2}[^\\\s\"'|<>]+)+")),
    (Kind.PATH, re.compile(r"(?<![\w:/.\\<-])~?/(?:[\w.@+~$-]+/)+[\w.@+~$-]*")),
    (Kind.PATH, re.compile(r"(?<![\w:/.\\<-])~?/[\w.@+~-]*\.[A-Za-z0-9]{1,8}(?![\w/])")),
    (Kind.PATH, re.compile(r"(?<=file://)/[^\s\"'<>]+")),
    (Kind.USER, re.compile(r"(?<![\w\\:.%/-])[A-Za-z][\w.-]{0,30}\\{1,2}[\w.$-]{1,64}(?![\\\w])")),
    (Kind.USER, re.compile(r"(?<![\w-])S-1-5-21(?:-[0-9]{1,10}){3,5}(?![\w-])")),
    (
        Kind.USER,  # user=…, "username": "…", Account Name: …
        re.compile(
            r"(?i)(?<![a-z])(?:[sd]?user|(?:sam)?account|acct|login|logon)(?:[ _-]?name)?[\"']?\s{0,4}[:=]\s{0,8}[\"']?"
            r"(?P<it>(?!(?:account|security|logon|user)\s?(?:name|id|guid|domain|type)\b)(?:[\w.-]{1,63}\\{1,2})?[\w.@$-]{2,64})"
        ),
    ),
    (Kind.USER, re.compile(r"(?i)(?<![\w-])(?:user|account|employee)\s[\"']?(?P<it>[a-z0-9](?:[\w.-]{0,62}\w)?)(?!\w)")),
    (Kind.USER, re.compile(r"(?i)(?<![^\s\"'])/u:(?P<it>(?:[\w.-]{1,63}\\{1,2})?[\w.@$-]{2,64})")),
    (Kind.USER, re.compile(r"(?<!\w)by (?P<it>[\w.-]{2,32})(?=\(uid=)")),  # PAM
    (Kind.USER, re.compile(r"(?i)(?<![\w-])for (?:invalid )?(?:user )?(?P<it>[a-z_][\w.-]{1,31}) from(?!\w)")),  # sshd
    (Kind.USER, re.compile(r"(?i)sudo(?:\[[0-9]{1,8}\])?:\s{1,4}(?P<it>[\w.-]{2,32}) :")),
    (Kind.USER, re.compile(r"(?i):(?:user|assumed-role)/(?P<it>[^\s\"',;]{2,128})")),  # ARN
    (Kind.USER, re.compile(r"(?i)(?<!\w)(?:CN|OU|UID)=[^,;=\r\n]{1,128}(?:,\s?(?:CN|OU|DC|UID|O|C)=[^,;=\s]{1,128}){1,16}")),  # LDAP
    (Kind.USER, re.compile(r"(?i)Name=[\"'](?:Target|Subject|Caller)?(?:User|Account)(?:Name|Sid)?[\"']>(?P<it>[^<]{2,128})<")),  # Windows events
    (Kind.HOST, re.compile(r"(?i)Name=[\"'](?:(?:Target|Subject)DomainName|WorkstationName|TargetServerName)[\"']>(?P<it>[^<]{2,128})<")),
    (Kind.HOST, re.compile(r"(?i)<Computer>(?P<it>[^<]{2,128})<")),
    (
        Kind.HOST,
        re.compile(
            rf"(?i)(?<![a-z])(?:dev(?=name)|(?:[sd]|src|dst|dest)?{_HOST_WORD})(?:[ _-]?name)?[\"']?\s{{0,4}}[:=]\s{{0,8}}[\"']?(?P<it>[\w-]{{2,63}})(?!\.?[\w-])"
        ),
    ),
    (Kind.HOST, re.compile(r"(?i)(?<![a-z])account domain\s{0,4}:\s{0,8}(?P<it>[\w.-]{2,63})")),
    (Kind.HOST, re.compile(rf"(?i)(?<![\w-]){_HOST_WORD}\s[\"']?(?P<it>[a-z][\w-]{{0,62}}[0-9-][\w-]{{0,62}})(?![\w.])")),
    (Kind.HOST, re.compile(r"(?i)(?<![\w-])ip-[0-9]{1,3}(?:-[0-9]{1,3}){3}(?![\w-])")),  # what clouds call a machine
    (Kind.HOST, re.compile(r"(?i)(?<=://)(?!localhost\b)(?P<it>[a-z][\w-]{0,62})(?=[:/?#\s\"'<>]|$)")),  # of a URL, a name without a domain
    (Kind.HOST, re.compile(r"(?i)(?<![\w:/])//(?P<it>[a-z][\w-]{0,62})(?=/\w)")),
    (Kind.MAC, re.compile(r"(?<![\w:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w:-])")),
)
IPV4 = re.compile(rf"(?<![\w.])[0-9]{{1,3}}(?:{DOT}[0-9]{{1,3}}){{3}}(?![0-9])")
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![\w:])")
NAME = re.compile(rf"(?<![\w.-])[A-Za-z0-9_](?:[\w-]{{0,62}}{DOT}){{1,8}}[A-Za-z]{{2,24}}(?![\w-])")
BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/]{24,}={0,2}(?![\w+/=])")
IN_USER_INFO = re.compile(r"://[^\s/@]*$")  # what stands before the @ of a URL is hidden as a secret, its host is no mailbox's
HOME = re.compile(r"(?i)(?:\\users\\{1,2}|/users/|/home/|\\documents and settings\\{1,2})([\w.$@-]{2,64})")

_words = re.compile(r"\S+").findall

# ── Fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────
# Names of fields, without case and separators. What they hold is hidden wherever it stands.
USER_FIELDS = frozenset(
    _words(
        """user username users account accountname useraccount actor actorname srcuser suser duser dstuser targetuser targetusername
        subjectusername principal principalname login loginname logon logonname owner ownername displayname samaccountname upn
        userprincipalname userid useridentity employee fullname alternateid email mail subjectaccount targetaccount actoralternateid
        initiatedby requestedby sender recipient realname givenname surname"""
    )
)
HOST_FIELDS = frozenset(
    _words(
        """host hosts hostname hostnames computers devices machines servers endpoints workstations assets computer computername device devicename
        devicehostname dvc dvchost workstation workstationname endpoint endpointname machine machinename server servername agenthostname srchost
        sourcehost sourcehostname srchostname asset assetname node nodename domaincontroller ou ntdomain userdomain targetdomainname
        subjectdomainname"""
    )
)
# How the names of fields end that hold one, whatever they begin with (InitiatingProcessAccountName, src_nt_host).
USER_ENDS = ("username", "accountname", "accountupn", "principalname")
HOST_ENDS = ("hostname", "devicename", "nthost", "computername", "machinename", "workstationname")
SECRET_FIELDS = re.compile(r"password|passwd|passphrase|secret|token|apikey|accesskey|privatekey|credential|authorization|cookie|^pwd$|^auth$")
LABELS = frozenset(("name", "key", "field", "header", "attribute", "parameter"))  # of a pair, and what the pair says of it
LABELLED = frozenset(("value", "text", "content", "values"))
NAMING = frozenset(("name", "id", "hostname", "alternateid", "displayname", "email", "value", "username", "fqdn", "uid", "login"))
NOBODY = frozenset(
    _words(
        """- n/a na none null unknown system root admin administrator administrators guest user users nobody everyone anonymous service localhost
        local network true false yes no host server computer workstation builtin nt authority nt_authority public default www-data daemon iam
        assumedrole name login account info support noreply no-reply security root$ windows linux macos the"""
    )
)
# What follows "user" or "account" in a sentence without being anybody's name.
ORDINARY = NOBODY | frozenset(
    _words(
        """access accessed account accounts activity added agent also and are as at attempted attempts authenticated been before behavior behaviour by
        can change changed changes clicked connected could created creation data deactivated deleted denied did disabled does domain downloaded
        enabled entered executed failed failure for from group groups had has have his id identity if in interaction is lifecycle locked
        lockout logged login logon management may might modified moved name names never not of on opened or owner password performed policy
        principal privileges profile ran received removed renamed reported requested reset risk role roles session sessions should sid
        sign signed signs started take takeover that then this through to tried type unlocked until used was were when where which who
        whose will with without"""
    )
)
# Letters that look like others or like nothing, which would part an address for the search and not for a reader.
LIKE_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | dict.fromkeys((0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
