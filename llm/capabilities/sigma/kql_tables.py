"""Which Microsoft table answers a Sigma log source, and what its columns are called. A table, no code.

The pipelines of pysigma-backend-kusto know Defender XDR's process, file, registry, network and image tables and Sentinel's SecurityEvent; the
rows of COLUMNS are for the log sources that they leave out (column names from Microsoft's table references for Azure Monitor and ASIM).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Pipeline(StrEnum):
    """Who maps the fields."""

    XDR = "Microsoft Defender XDR"
    MONITOR = "Azure Monitor"
    COLUMNS = "Microsoft Sentinel"


@dataclass(frozen=True, slots=True)
class Table:
    """Where a log source's events are. `where` is what every query of it begins with."""

    name: str
    pipeline: Pipeline
    columns: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


_XDR: Final = {
    "process_creation": "DeviceProcessEvents",
    "image_load": "DeviceImageLoadEvents",
    "file_event": "DeviceFileEvents",
    "file_change": "DeviceFileEvents",
    "file_delete": "DeviceFileEvents",
    "file_rename": "DeviceFileEvents",
    "file_access": "DeviceFileEvents",
    "registry_add": "DeviceRegistryEvents",
    "registry_delete": "DeviceRegistryEvents",
    "registry_event": "DeviceRegistryEvents",
    "registry_set": "DeviceRegistryEvents",
    "network_connection": "DeviceNetworkEvents",
}

_DNS: Final = Table(
    "_Im_Dns",
    Pipeline.COLUMNS,
    {"QueryName": "DnsQuery", "query": "DnsQuery", "QueryResults": "DnsResponseName", "Image": "SrcProcessName", "record_type": "DnsQueryTypeName"},
)
_SCRIPTS: Final = Table(
    "Event",
    Pipeline.COLUMNS,
    {"ScriptBlockText": "RenderedDescription", "Payload": "RenderedDescription"},
    'Source == "Microsoft-Windows-PowerShell"',
)
_WEB: Final = {
    "c-uri": "Url",
    "cs-uri": "Url",
    "cs-host": "HttpHost",
    "c-useragent": "HttpUserAgent",
    "cs-user-agent": "HttpUserAgent",
    "cs-method": "HttpRequestMethod",
    "sc-status": "EventResultDetails",
    "c-ip": "SrcIpAddr",
    "dst_ip": "DstIpAddr",
}
BY_CATEGORY: Final[Mapping[str, Table]] = {
    **{category: Table(name, Pipeline.XDR) for category, name in _XDR.items()},
    "dns_query": _DNS,
    "dns": _DNS,
    "ps_script": _SCRIPTS,
    "ps_module": _SCRIPTS,
    "ps_classic_start": _SCRIPTS,
    "proxy": Table("_Im_WebSession", Pipeline.COLUMNS, _WEB),
    "webserver": Table(
        "W3CIISLog",
        Pipeline.COLUMNS,
        {
            "cs-uri-stem": "csUriStem",
            "cs-uri-query": "csUriQuery",
            "cs-method": "csMethod",
            "cs-user-agent": "csUserAgent",
            "c-ip": "cIP",
            "sc-status": "scStatus",
        },
    ),
    "firewall": Table(
        "CommonSecurityLog",
        Pipeline.COLUMNS,
        {"dst_port": "DestinationPort", "dst_ip": "DestinationIP", "src_ip": "SourceIP", "src_port": "SourcePort", "action": "DeviceAction"},
    ),
}
BY_SERVICE: Final[Mapping[tuple[str, str], Table]] = {
    ("windows", "security"): Table("SecurityEvent", Pipeline.MONITOR),
    ("windows", "system"): Table("Event", Pipeline.COLUMNS, {"Provider_Name": "Source"}, 'EventLog == "System"'),
    ("windows", "application"): Table("Event", Pipeline.COLUMNS, {"Provider_Name": "Source"}, 'EventLog == "Application"'),
    ("aws", "cloudtrail"): Table(
        "AWSCloudTrail",
        Pipeline.COLUMNS,
        {
            "eventName": "EventName",
            "eventSource": "EventSource",
            "eventType": "EventTypeName",
            "errorCode": "ErrorCode",
            "errorMessage": "ErrorMessage",
            "awsRegion": "AWSRegion",
            "sourceIPAddress": "SourceIpAddress",
            "userAgent": "UserAgent",
            "userIdentity.type": "UserIdentityType",
            "userIdentity.arn": "UserIdentityArn",
            "userIdentity.userName": "UserIdentityUserName",
            "requestParameters": "RequestParameters",
            "responseElements": "ResponseElements",
        },
    ),
    ("azure", "signinlogs"): Table(
        "SigninLogs",
        Pipeline.COLUMNS,
        {"ResultType": "ResultType", "UserPrincipalName": "UserPrincipalName", "AppDisplayName": "AppDisplayName", "IPAddress": "IPAddress"},
    ),
    ("azure", "auditlogs"): Table("AuditLogs", Pipeline.COLUMNS, {"properties.message": "OperationName", "Category": "Category"}),
    ("azure", "activitylogs"): Table("AzureActivity", Pipeline.COLUMNS, {"operationName": "OperationNameValue", "status": "ActivityStatusValue"}),
    ("m365", "exchange"): Table("OfficeActivity", Pipeline.COLUMNS, {"eventName": "Operation", "Operation": "Operation", "UserId": "UserId"}),
    ("gcp", "gcp.audit"): Table("GCPAuditLogs", Pipeline.COLUMNS, {"gcp.audit.method_name": "MethodName", "gcp.audit.service_name": "ServiceName"}),
    ("okta", "okta"): Table(
        "Okta_CL",
        Pipeline.COLUMNS,
        {"eventtype": "eventType_s", "eventType": "eventType_s", "displaymessage": "displayMessage_s", "outcome.result": "outcome_result_s"},
    ),
    ("linux", "sshd"): Table("Syslog", Pipeline.COLUMNS, {"message": "SyslogMessage"}, 'ProcessName == "sshd"'),
    ("linux", "auth"): Table("Syslog", Pipeline.COLUMNS, {"message": "SyslogMessage"}, 'Facility in ("auth", "authpriv")'),
    ("linux", "sudo"): Table("Syslog", Pipeline.COLUMNS, {"message": "SyslogMessage"}, 'ProcessName == "sudo"'),
    ("linux", "syslog"): Table("Syslog", Pipeline.COLUMNS, {"message": "SyslogMessage"}),
}


def table_of(category: str | None, product: str | None, service: str | None) -> Table | None:
    """The table for a log source, or None when none is known."""
    if category and category in BY_CATEGORY:
        return BY_CATEGORY[category]
    return BY_SERVICE.get((product or "", service or ""))
