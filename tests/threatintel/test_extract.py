"""Observables out of alerts: what is one, what only looks like one, and bounds for hostile input."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatintel import extract
from threatintel.canonical import canonical
from threatintel.extract import MAX_OBSERVABLES, MAX_SCANNED, observables_of

MD5, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", "a" * 64


def of(alert: Any) -> set[tuple[str, str]]:
    return set(observables_of(alert).paths)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("beacon to hxxps[:]//evil[.]example[.]com/gate.php?x=1 seen", {("url", "https://evil.example.com/gate.php?x=1")}),
        ("asked evil[.]example, then 198.51.100[.]7.", {("domain-name", "evil.example"), ("ipv4-addr", "198.51.100.7")}),
        ("mail from mallory[at]evil[.]com arrived", {("email-addr", "mallory@evil.com")}),
        ("mail from mallory@evil.example arrived", {("email-addr", "mallory@evil.example")}),
        ("from 10.0.0.5:8080 to [2001:DB8::1]", {("ipv4-addr", "10.0.0.5"), ("ipv6-addr", "2001:db8::1")}),
        ("scans of 203.0.113.9/24 and 2001:db8::/32 today", {("ipv4-addr", "203.0.113.0/24"), ("ipv6-addr", "2001:db8::/32")}),
        (f"hash {MD5.upper()} / {SHA256}", {("file-hash:md5", MD5), ("file-hash:sha256", SHA256)}),
        ("log4shell (cve-2021-44228) from AS64500", {("vulnerability", "CVE-2021-44228"), ("autonomous-system", "AS64500")}),
        ("see http://[2001:db8::1]:8080/x and http://ollama:11434/v1", {("url", "http://[2001:db8::1]:8080/x"), ("url", "http://ollama:11434/v1")}),
        ("see http://dc01.corp/x. End", {("url", "http://dc01.corp/x")}),
        ("see bücher.de now", {("domain-name", "xn--bcher-kva.de")}),
        ("set HKLM\\Software\\Evil\\Run here", {("windows-registry-key", "hkey_local_machine\\software\\evil\\run")}),
        # what only looks like a name
        ("ran cmd.exe, kernel32.dll, readme.md, run.sh and evil.py", set()),
        ("dropped bad[.]zip there", {("domain-name", "bad.zip")}),
        ("called System.Net.WebClient.DownloadString", set()),
        ("version 10.4 at 12:30:45", set()),
        ("in /opt/tool.sh and C:\\x\\evil.pl", set()),
        # the domain of a URL or a mail address is none by itself
        ("https://evil.com/x", {("url", "https://evil.com/x")}),
        ("", set()),
        (" \n\t ", set()),
        ("\0\ud800\uffff", set()),
        ("evil.com\0", {("domain-name", "evil.com")}),
        # over these the library itself stumbles
        ("AS1 \u0130md44228 and evil.com", {("domain-name", "evil.com"), ("autonomous-system", "AS1")}),
    ],
)
def test_running_text(text: str, found: set[tuple[str, str]]) -> None:
    assert of({"description": text}) == found


def test_each_observable_comes_once_with_the_places_where_it_stands() -> None:
    alert = {"src": {"ip": "1.2.3.4"}, "more": ["1.2.3[.]4", {"note": "from 1.2.3.4 on"}], "n": 1234, "b": True, "x": None}
    assert observables_of(alert).paths == {("ipv4-addr", "1.2.3.4"): ["$.src.ip", "$.more[0]", "$.more[1].note"]}


@pytest.mark.parametrize(
    ("alert", "found"),
    [
        ({"file": {"name": "evil.exe"}}, {("file-name", "evil.exe")}),
        ({"FileName": "evil.exe"}, {("file-name", "evil.exe")}),
        ({"http": {"user_agent": "Evil/1.0 (http://evil.com)"}}, {("user-agent", "Evil/1.0 (http://evil.com)")}),
        ({"hash": {"imphash": MD5}}, {("file-hash:imphash", MD5)}),
        ({"hash": {"md5": MD5}}, {("file-hash:md5", MD5)}),
        ({"process": {"name": "powershell.exe"}}, set()),
        ({"host": "DC01.corp"}, {("domain-name", "dc01.corp")}),
        ({"mutex": "Global\\Evil"}, {("mutex", "Global\\Evil")}),
        ({"list": {"type": "ipv4-addr", "value": "198.51.100[.]7"}}, {("ipv4-addr", "198.51.100.7")}),
        ({"1.2.3.4": "a name of a field is none"}, set()),
        ({"urls": "http://a.com/x,http://b.com/y"}, {("url", "http://a.com/x"), ("url", "http://b.com/y")}),
    ],
)
def test_fields(alert: Any, found: set[tuple[str, str]]) -> None:
    assert of(alert) == found


def test_json_of_any_depth_is_read_to_a_bound_and_said_so() -> None:
    alert: Any = {"ip": "1.2.3.4"}
    for _ in range(900):
        alert = {"a": [alert]}
    found = observables_of({"top": "5.6.7.8", "deep": alert})
    assert (set(found.paths), len(found.cut)) == ({("ipv4-addr", "5.6.7.8")}, 1)
    assert "deeper" in found.cut[0]


def test_more_observables_texts_and_characters_than_are_taken_are_said() -> None:
    many = observables_of({"ips": [f"10.{number // 250}.{number % 250}.1" for number in range(MAX_OBSERVABLES + 3)]})
    assert (len(many.paths), len(many.cut)) == (MAX_OBSERVABLES, 1)
    texts = observables_of({"words": ["word"] * 6000})
    assert (len(texts.paths), len(texts.cut)) == (0, 1)
    long = observables_of({"raw": "x" * (MAX_SCANNED + 1)})
    assert (len(long.paths), len(long.cut)) == (0, 1)
    both = observables_of({"raw": [f"{number} words at evil{number}.com " * 400 for number in range(12)]})
    assert both.cut
    assert both.paths


@pytest.mark.parametrize("text", ["[", "]", "a@", "http://", "xmpp://a@b.com ", "1.1.1.1/", "HKLM\\", "a.", "{[("])
def test_hostile_text_takes_a_bounded_time(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "MAX_SECONDS", 0.2)
    begun = time.thread_time()
    found = observables_of({"raw": (text * 200_000)[:200_000], "field": (text * 2000)[:2000]})
    assert time.thread_time() - begun < 3
    assert found.cut


def test_an_alert_of_ordinary_size_takes_less_than_a_blink() -> None:
    alert = {"title": "Beacon to evil.com", "event": {f"field{number}": f"value {number}" for number in range(200)}}
    alert["description"] = "Process cmd.exe of 10.0.0.5 asked https://evil.com/a and 198.51.100.7 for an answer. " * 10
    observables_of(alert)
    begun = time.monotonic()
    observables_of(alert)
    assert time.monotonic() - begun < 0.5


PIECES = [
    "http://",
    "hxxps[:]//",
    "[",
    "]",
    "(",
    "[.]",
    "[at]",
    "@",
    ".",
    ":",
    "::",
    "/",
    "%",
    "\\",
    " ",
    "\0",
    "\ud800",
    "evil",
    "com",
    "corp",
    "1",
    "10.0.0.1",
    "/24",
]
PIECES += ["2001:db8", "xn--", "\u0130", "\u2460", "\u3002", "CVE-2021-1", "AS", "HKLM", "imphash", MD5, "xmpp:", "[IPv6:1::]", "\u202e", "mailto:"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_is_read_and_what_is_found_is_canonical(text: str) -> None:
    for type, value in observables_of({"text": text, "user_agent": text, "more": [text]}).paths:
        assert canonical(type, value) == value
