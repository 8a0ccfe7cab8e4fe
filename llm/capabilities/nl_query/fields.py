"""What each query language calls the events and fields that a question can name. Tables, no code.

ES|QL: Elastic Common Schema 8. SPL: Splunk's Common Information Model 6. KQL: the tables of Microsoft Defender XDR's advanced hunting, and
ASIM's where it has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llm.capabilities.nl_query.query import Category, Field

_C, _F = Category, Field


@dataclass(frozen=True, slots=True)
class Events:
    """Where a category's events are: a condition in ES|QL and SPL, a table and its time column in KQL."""

    esql: str
    spl: str
    kql: str
    time: str = "Timestamp"


EVENTS: Final[Mapping[Category, Events]] = {
    _C.ANY: Events("", "", "union isfuzzy=true DeviceLogonEvents, DeviceProcessEvents, DeviceNetworkEvents, DeviceFileEvents, DeviceRegistryEvents"),
    _C.AUTHENTICATION: Events('event.category == "authentication"', "tag=authentication", "DeviceLogonEvents"),
    _C.PROCESS: Events('event.category == "process"', "tag=process", "DeviceProcessEvents"),
    _C.NETWORK: Events('event.category == "network"', "tag=network", "DeviceNetworkEvents"),
    _C.DNS: Events('network.protocol == "dns"', "tag=dns", "_Im_Dns", "TimeGenerated"),
    _C.FILE: Events('event.category == "file"', "tag=filesystem", "DeviceFileEvents"),
    _C.REGISTRY: Events('event.category == "registry"', "tag=registry", "DeviceRegistryEvents"),
    _C.WEB: Events('event.category == "web"', "tag=web", "_Im_WebSession", "TimeGenerated"),
    _C.EMAIL: Events('event.category == "email"', "tag=email", "EmailEvents"),
    _C.ALERT: Events('event.kind == "alert"', "tag=alert", "AlertEvidence"),
    _C.ACCOUNT: Events('event.category == "iam"', "tag=account tag=change", "IdentityDirectoryEvents"),
    _C.WINDOWS: Events('winlog.channel == "Security"', 'source="WinEventLog:Security"', "SecurityEvent", "TimeGenerated"),
}

ESQL: Final[Mapping[Field, str]] = {
    _F.USER: "user.name",
    _F.HOST: "host.name",
    _F.SOURCE_IP: "source.ip",
    _F.DESTINATION_IP: "destination.ip",
    _F.SOURCE_PORT: "source.port",
    _F.DESTINATION_PORT: "destination.port",
    _F.PROCESS: "process.name",
    _F.PARENT: "process.parent.name",
    _F.COMMAND: "process.command_line",
    _F.DOMAIN: "dns.question.name",
    _F.URL: "url.full",
    _F.FILE: "file.name",
    _F.PATH: "file.path",
    _F.HASH: "file.hash.sha256",
    _F.MD5: "file.hash.md5",
    _F.SHA1: "file.hash.sha1",
    _F.KEY: "registry.path",
    _F.COUNTRY: "source.geo.country_name",
    _F.SEVERITY: "kibana.alert.severity",
    _F.RULE: "rule.name",
    _F.EVENT_ID: "event.code",
    _F.SENDER: "email.from.address",
    _F.RECIPIENT: "email.to.address",
    _F.SUBJECT: "email.subject",
    _F.METHOD: "http.request.method",
    _F.STATUS: "http.response.status_code",
    _F.USER_AGENT: "user_agent.original",
    _F.OUTCOME: "event.outcome",
    _F.ACTION: "event.type",
    _F.LOGON: "winlog.logon.type",
}
ESQL_IN: Final[Mapping[Category, Mapping[Field, str]]] = {
    _C.NETWORK: {_F.DOMAIN: "destination.domain"},
    _C.WEB: {_F.DOMAIN: "url.domain"},
    _C.PROCESS: {_F.PATH: "process.executable", _F.HASH: "process.hash.sha256", _F.MD5: "process.hash.md5", _F.SHA1: "process.hash.sha1"},
}
ESQL_KEYWORDS: Final = frozenset({"event.code"})  # numbers that ECS keeps as texts

SPL: Final[Mapping[Field, str]] = {
    _F.USER: "user",
    _F.HOST: "host",
    _F.SOURCE_IP: "src_ip",
    _F.DESTINATION_IP: "dest_ip",
    _F.SOURCE_PORT: "src_port",
    _F.DESTINATION_PORT: "dest_port",
    _F.PROCESS: "process_name",
    _F.PARENT: "parent_process_name",
    _F.COMMAND: "process",
    _F.DOMAIN: "query",
    _F.URL: "url",
    _F.FILE: "file_name",
    _F.PATH: "file_path",
    **dict.fromkeys((_F.HASH, _F.MD5, _F.SHA1), "file_hash"),
    _F.KEY: "registry_path",
    _F.COUNTRY: "src_country",
    _F.SEVERITY: "severity",
    _F.RULE: "signature",
    _F.EVENT_ID: "EventCode",
    _F.SENDER: "src_user",
    _F.RECIPIENT: "recipient",
    _F.SUBJECT: "subject",
    _F.METHOD: "http_method",
    _F.STATUS: "status",
    _F.USER_AGENT: "http_user_agent",
    _F.OUTCOME: "action",
    _F.ACTION: "action",
    _F.LOGON: "Logon_Type",
}
SPL_IN: Final[Mapping[Category, Mapping[Field, str]]] = {
    _C.NETWORK: {_F.DOMAIN: "dest_host"},
    _C.WEB: {_F.DOMAIN: "url_domain"},
    _C.PROCESS: {_F.PATH: "process_path", **dict.fromkeys((_F.HASH, _F.MD5, _F.SHA1), "process_hash")},
}

_DEVICE: Final = {
    _F.USER: "InitiatingProcessAccountName",
    _F.HOST: "DeviceName",
    _F.SOURCE_IP: "LocalIP",
    _F.DESTINATION_IP: "RemoteIP",
    _F.SOURCE_PORT: "LocalPort",
    _F.DESTINATION_PORT: "RemotePort",
    _F.PROCESS: "InitiatingProcessFileName",
    _F.PARENT: "InitiatingProcessParentFileName",
    _F.COMMAND: "InitiatingProcessCommandLine",
    _F.DOMAIN: "RemoteUrl",
    _F.URL: "RemoteUrl",
    _F.FILE: "FileName",
    _F.PATH: "FolderPath",
    _F.HASH: "SHA256",
    _F.MD5: "MD5",
    _F.SHA1: "SHA1",
    _F.KEY: "RegistryKey",
    _F.ACTION: "ActionType",
    _F.OUTCOME: "ActionType",
}
_ASIM: Final = {
    _F.USER: "SrcUsername",
    _F.HOST: "SrcHostname",
    _F.SOURCE_IP: "SrcIpAddr",
    _F.DESTINATION_IP: "DstIpAddr",
    _F.SOURCE_PORT: "SrcPortNumber",
    _F.DESTINATION_PORT: "DstPortNumber",
    _F.OUTCOME: "EventResult",
    _F.COUNTRY: "SrcGeoCountry",
}
KQL: Final[Mapping[Category, Mapping[Field, str]]] = {
    _C.ANY: _DEVICE,
    _C.NETWORK: _DEVICE,
    _C.FILE: _DEVICE,
    _C.REGISTRY: _DEVICE,
    _C.AUTHENTICATION: _DEVICE
    | {
        _F.USER: "AccountName",
        _F.SOURCE_IP: "RemoteIP",
        _F.LOGON: "LogonType",
        _F.COUNTRY: "tostring(geo_info_from_ip_address(RemoteIP).country)",
    },
    _C.PROCESS: _DEVICE | {_F.USER: "AccountName", _F.PROCESS: "FileName", _F.PARENT: "InitiatingProcessFileName", _F.COMMAND: "ProcessCommandLine"},
    _C.DNS: _ASIM | {_F.DOMAIN: "DnsQuery", _F.PROCESS: "SrcProcessName"},
    _C.WEB: _ASIM
    | {
        _F.URL: "Url",
        _F.DOMAIN: "HttpHost",
        _F.METHOD: "HttpRequestMethod",
        _F.STATUS: "EventResultDetails",
        _F.USER_AGENT: "HttpUserAgent",
        _F.ACTION: "DvcAction",
    },
    _C.EMAIL: {
        _F.SENDER: "SenderFromAddress",
        _F.RECIPIENT: "RecipientEmailAddress",
        _F.SUBJECT: "Subject",
        _F.SOURCE_IP: "SenderIPv4",
        _F.ACTION: "DeliveryAction",
    },
    _C.ALERT: {
        _F.SEVERITY: "Severity",
        _F.RULE: "Title",
        _F.HOST: "DeviceName",
        _F.USER: "AccountName",
        _F.SOURCE_IP: "LocalIP",
        _F.DESTINATION_IP: "RemoteIP",
        _F.FILE: "FileName",
        _F.HASH: "SHA256",
        _F.SHA1: "SHA1",
    },
    _C.ACCOUNT: {_F.USER: "AccountName", _F.HOST: "DeviceName", _F.SOURCE_IP: "IPAddress", _F.ACTION: "ActionType"},
    _C.WINDOWS: {
        _F.EVENT_ID: "EventID",
        _F.USER: "TargetUserName",
        _F.HOST: "Computer",
        _F.SOURCE_IP: "IpAddress",
        _F.PROCESS: "NewProcessName",
        _F.PARENT: "ParentProcessName",
        _F.COMMAND: "CommandLine",
        _F.LOGON: "LogonType",
    },
}

# Words that a language has its own for: (field, word) by category (None: any).
Spoken = Mapping[tuple[Field, str], str]
ESQL_WORDS: Final[Spoken] = {
    (_F.ACTION, "created"): "creation",
    (_F.ACTION, "modified"): "change",
    (_F.ACTION, "deleted"): "deletion",
    (_F.ACTION, "blocked"): "denied",
    (_F.ACTION, "allowed"): "allowed",
    (_F.LOGON, "interactive"): "Interactive",
    (_F.LOGON, "network"): "Network",
    (_F.LOGON, "remote"): "RemoteInteractive",
    (_F.LOGON, "service"): "Service",
}
SPL_WORDS: Final[Spoken] = {
    (_F.LOGON, "interactive"): "2",
    (_F.LOGON, "network"): "3",
    (_F.LOGON, "remote"): "10",
    (_F.LOGON, "service"): "5",
}
_KQL_ANY: Final = {
    (_F.LOGON, "interactive"): "Interactive",
    (_F.LOGON, "network"): "Network",
    (_F.LOGON, "remote"): "RemoteInteractive",
    (_F.LOGON, "service"): "Service",
    (_F.OUTCOME, "failure"): "Failure",
    (_F.OUTCOME, "success"): "Success",
}
KQL_WORDS: Final[Mapping[Category, Spoken]] = {
    **dict.fromkeys(Category, _KQL_ANY),
    _C.AUTHENTICATION: _KQL_ANY | {(_F.OUTCOME, "failure"): "LogonFailed", (_F.OUTCOME, "success"): "LogonSuccess"},
    _C.NETWORK: _KQL_ANY
    | {
        (_F.OUTCOME, "failure"): "ConnectionFailed",
        (_F.OUTCOME, "success"): "ConnectionSuccess",
        (_F.ACTION, "blocked"): "ConnectionFailed",
        (_F.ACTION, "allowed"): "ConnectionSuccess",
    },
    _C.FILE: _KQL_ANY | {(_F.ACTION, "created"): "FileCreated", (_F.ACTION, "modified"): "FileModified", (_F.ACTION, "deleted"): "FileDeleted"},
    _C.REGISTRY: _KQL_ANY
    | {(_F.ACTION, "created"): "RegistryKeyCreated", (_F.ACTION, "modified"): "RegistryValueSet", (_F.ACTION, "deleted"): "RegistryKeyDeleted"},
    _C.WEB: _KQL_ANY | {(_F.ACTION, "blocked"): "Deny", (_F.ACTION, "allowed"): "Allow"},
    _C.EMAIL: _KQL_ANY | {(_F.ACTION, "blocked"): "Blocked", (_F.ACTION, "allowed"): "Delivered"},
    _C.ACCOUNT: _KQL_ANY
    | {(_F.ACTION, "created"): "Account created", (_F.ACTION, "modified"): "Account modified", (_F.ACTION, "deleted"): "Account deleted"},
}
