"""Patterns taken apart: what stands alone becomes an indicator, what does not is told, nothing is half-read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatintel import stix_pattern
from threatintel.stix_pattern import MAX_COMPARISONS, MAX_PATTERN, NotAPattern, read_pattern

MD5, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", "a" * 64
IP, DOMAIN = ("ipv4-addr", "198.51.100.7"), ("domain-name", "evil.example")
IS_IP, IS_DOMAIN = "ipv4-addr:value = '198.51.100.7'", "domain-name:value = 'evil.example'"


@pytest.mark.parametrize(
    ("pattern", "indicators", "skipped", "kept"),
    [
        (f"[{IS_IP}]", [IP], 0, False),
        ("[ ipv4-addr:value='198.51.100.7/24' ]", [("ipv4-addr", "198.51.100.0/24")], 0, False),
        ("[ipv4-addr:value ISSUBSET '10.0.0.0/8']", [("ipv4-addr", "10.0.0.0/8")], 0, False),
        (f"[{IS_IP} OR {IS_DOMAIN}]", [IP, DOMAIN], 0, False),
        (f"[{IS_IP}] OR [{IS_DOMAIN}]", [IP, DOMAIN], 0, False),
        ("[domain-name:value IN ('evil.example', 'Bad.Example')]", [DOMAIN, ("domain-name", "bad.example")], 0, False),
        (f"[{IS_IP} AND {IS_DOMAIN}]", [IP, DOMAIN], 0, True),
        (f"[{IS_IP}] AND [{IS_DOMAIN}]", [IP, DOMAIN], 0, True),
        (f"[{IS_IP}] FOLLOWEDBY [{IS_DOMAIN}]", [IP, DOMAIN], 0, True),
        (f"([{IS_IP}] FOLLOWEDBY [{IS_DOMAIN}]) WITHIN 300 SECONDS", [IP, DOMAIN], 0, True),
        (f"[{IS_IP}] REPEATS 5 TIMES", [IP], 0, True),
        (f"[{IS_IP}] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z'", [IP], 0, True),
        (f"[file:hashes.MD5 = '{MD5.upper()}']", [("file-hash:md5", MD5)], 0, False),
        (f"[file:hashes.'SHA-256' = '{SHA256}' AND file:name = 'evil.exe' AND file:size = 7]", [("file-hash:sha256", SHA256)], 2, True),
        ("[file:name = 'evil.exe']", [("file-name", "evil.exe")], 0, False),
        ("[file:name = 'evil.exe' OR file:name = 'bad.exe']", [("file-name", "evil.exe"), ("file-name", "bad.exe")], 0, False),
        (r"[file:name = 'it\'s \\ here']", [("file-name", r"it's \ here")], 0, False),
        ("[network-traffic:dst_ref.value = '198.51.100.7' AND network-traffic:dst_port = 443]", [IP], 1, True),
        ("[email-message:sender_ref.value = 'A@Evil.Example']", [("email-addr", "a@evil.example")], 0, False),
        ("[windows-registry-key:key = 'HKLM\\\\Evil']", [("windows-registry-key", "hkey_local_machine\\evil")], 0, False),
        ("[autonomous-system:number = 64500]", [("autonomous-system", "AS64500")], 0, False),
        ("[ipv4-addr:value NOT = '198.51.100.7']", [], 1, True),
        ("[ipv4-addr:value != '198.51.100.7']", [], 1, True),
        ("[url:value LIKE 'http://evil%']", [], 1, True),
        ("[url:value MATCHES '^http']", [], 1, True),
        ("[process:pid > 5]", [], 1, True),
        ("[ipv4-addr:value = 'not an address']", [], 1, True),
        (f"[ipv4-addr:value = 'nonsense' OR {IS_DOMAIN}]", [DOMAIN], 1, True),
        ("[x509-certificate:issuer = 'CN=Evil']", [], 1, True),
        ("[EXISTS file:name]", [], 1, True),
    ],
)
def test_a_pattern_is_taken_apart(pattern: str, indicators: list[tuple[str, str]], skipped: int, kept: bool) -> None:
    read = read_pattern(pattern)
    assert (list(read.indicators), len(read.skipped), read.kept) == (indicators, skipped, kept)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[",
        "[]",
        "[a:b = 'c'",
        "[ipv4-addr:value = 'x'] AND",
        "[ipv4-addr:value = 'x']]",
        "'",
        "[" * 5000,
        "(" * 5000 + "[a:b = 1]",
        "a" * (MAX_PATTERN + 1),
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(NotAPattern):
        read_pattern(text)


def test_a_pattern_of_too_many_comparisons_is_refused() -> None:
    with pytest.raises(NotAPattern, match="comparisons"):
        read_pattern(f"[{' OR '.join(['a:b = 1'] * (MAX_COMPARISONS + 1))}]")


@pytest.mark.parametrize(
    "text",
    [
        f"[{' AND '.join(['a:b = 1'] * 1400)}]",
        f"[a:b IN ({','.join(['1'] * 9000)})]",
        "[" + " OR ".join(["a:b MATCHES 'x'"] * 1001) + "]",
        f"[{' OR '.join(['EXISTS a:b'] * 1100)}]",
    ],
    ids=["comparisons", "set", "matches", "exists"],
)
def test_a_pattern_of_far_too_many_parts_never_reaches_the_parser(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threatintel.stix_pattern.ParsedPattern", lambda _text: pytest.fail("it was parsed"))
    assert len(text) <= MAX_PATTERN
    with pytest.raises(NotAPattern, match="more than"):
        read_pattern(text)


def test_signs_within_a_text_are_no_comparisons() -> None:
    value = "=," * 3000
    assert read_pattern(f"[url:value = 'http://x.example/{value}' OR url:value = 'http://y.example/']").indicators[1][1] == "http://y.example/"


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(
    st.sampled_from(
        ["ipv4-addr:value", "domain-name:value", "url:value", "file:hashes.MD5", "file:hashes.'SHA-256'", "file:name", "mutex:name", "x-y:z"]
    ),
    st.one_of(_TEXT, st.sampled_from(["198.51.100.7", "evil.example", "http://evil.example/", MD5, SHA256])),
)
def test_the_plain_pattern_is_read_as_the_parser_reads_it(path: str, value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    pattern = f"[{path} = '{escaped}']"
    listener = stix_pattern._parsed(pattern)
    assert read_pattern(pattern) == stix_pattern._taken_apart(listener.comparisons, joined=listener.joined)
