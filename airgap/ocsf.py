"""Refused attempts as OCSF 1.4 events: class Network Activity (4001), activity Refuse, disposition Blocked. Pure.

https://schema.ocsf.io/1.4.0/classes/network_activity
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

VERSION: Final = "1.4.0"
REFUSE: Final = 5  # activity_id
DENIED: Final = 2  # action_id
BLOCKED: Final = 2  # disposition_id
LOW: Final = 2  # severity_id: it did not get out


def network_activity(event: Mapping[str, Any], product_version: str) -> dict[str, Any]:
    """One summed event of the trail (CONTRACTS.md 2.4) as an OCSF event. Times are Unix milliseconds."""
    node, _colon, pid = str(event["process"]).rpartition(":")
    found = {
        "activity_id": REFUSE,
        "activity_name": "Refuse",
        "category_uid": 4,
        "category_name": "Network Activity",
        "class_uid": 4001,
        "class_name": "Network Activity",
        "type_uid": 400100 + REFUSE,
        "type_name": "Network Activity: Refuse",
        "action_id": DENIED,
        "action": "Denied",
        "disposition_id": BLOCKED,
        "disposition": "Blocked",
        "severity_id": LOW,
        "severity": "Low",
        "status_id": 2,
        "status": "Failure",
        "status_detail": event["reason"],
        "message": f"Refused {event['host']}: {event['reason']}",
        "time": _milliseconds(event["minute"]),
        "start_time": _milliseconds(event["first_seen"]),
        "end_time": _milliseconds(event["last_seen"]),
        "count": event["count"],
        "dst_endpoint": _endpoint(event),
        "src_endpoint": {"hostname": node or str(event["process"]), "svc_name": event["service"]},
        "connection_info": {"direction_id": 2, "direction": "Outbound", "protocol_name": "udp" if event["layer"] == "dns" else "tcp"},
        "firewall_rule": {"name": event["rule"], "desc": event["reason"]},
        "app_name": event["service"],
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "AiSOC Admin", "vendor_name": "AiSOC", "version": product_version},
            "log_name": "airgap.block",
            "uid": _uid(event),
        },
        "unmapped": {name: event[name] for name in ("layer", "purpose", "tenant", "caller", "path") if event[name]} | ({"pid": pid} if pid else {}),
    }
    return found


def _endpoint(event: Mapping[str, Any]) -> dict[str, Any]:
    host = str(event["host"])
    try:
        name = {"ip": str(ip_address(host))}
    except ValueError:
        name = {"hostname": host}
    return {**name, **({"port": event["port"]} if event["port"] else {})}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _uid(event: Mapping[str, Any]) -> str:
    """The same for the same record, so that a SIEM that reads twice counts once; it changes when the record's count does."""
    names = ("minute", "process", "host", "port", "path", "rule", "layer", "purpose", "tenant", "caller", "count")
    return hashlib.sha256("\n".join(str(event[name]) for name in names).encode()).hexdigest()[:32]
