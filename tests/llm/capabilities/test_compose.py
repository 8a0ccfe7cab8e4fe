"""Sigma rules by rule from descriptions: for what they name, never for what they except, and with what they cannot hold said."""

from datetime import date
from typing import Any

import pytest

from llm.capabilities.nl_detection.compose import Composed, compose


def composed(description: str) -> Composed:
    return compose(description, "", (), date(2026, 11, 26))


def selection(description: str) -> dict[str, Any]:
    found = composed(description).rule["detection"]
    return dict(found.get("selection", found))


def test_a_behaviour_of_any_source_of_aws_gives_a_rule() -> None:
    assert selection("Detect AWS root account usage") == {"userIdentity.type": "Root"}  # it names no API's source


@pytest.mark.parametrize(
    ("description", "wanted", "unwanted", "exception"),
    [
        ("Detect any exe except chrome.exe connecting to port 9222", {"DestinationPort": 9222}, "chrome", "except chrome.exe"),
        ("Detect connections not to 10.0.0.0/8 on port 443 by rundll32.exe", {"DestinationPort": 443}, "10.0.0.0", "not to 10.0.0.0/8"),
        ("excel.exe spawning cmd.exe but not from C:\\Tools\\sync.exe", {"ParentImage|endswith": "\\excel.exe"}, "sync", "but not from"),
        ('cmd.exe with "whoami" excluding user svc_scan', {"CommandLine|contains": "whoami"}, "svc_scan", "excluding user svc_scan"),
    ],
)
def test_an_exception_is_never_what_the_rule_looks_for_and_is_said(description: str, wanted: dict[str, Any], unwanted: str, exception: str) -> None:
    found = composed(description)
    assert wanted.items() <= selection(description).items()
    assert unwanted not in str(found.rule["detection"])
    assert exception in found.remark


def test_words_of_an_exception_within_quotes_are_looked_for() -> None:
    assert selection('cmd.exe with command line "does not exist"')["CommandLine|contains"] == "does not exist"
    assert composed('cmd.exe with command line "does not exist"').remark == ""


def test_a_count_is_said_to_be_no_part_of_the_rule() -> None:
    assert "more than 10 times in 5 minutes" in composed("failed logins more than 10 times in 5 minutes, event id 4625").remark


def test_a_network_is_not_taken_for_its_first_address() -> None:
    assert selection("connections to 198.51.100.0/22 from cmd.exe")["DestinationIp|cidr"] == "198.51.100.0/22"
    assert selection("connections to 198.51.100.7 from cmd.exe")["DestinationIp"] == "198.51.100.7"


def test_a_new_access_key_is_not_taken_for_a_new_user() -> None:
    assert selection("Detect a new IAM access key created for another user")["eventName"] == "CreateAccessKey"
