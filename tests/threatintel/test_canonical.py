"""One written form for each value: the table of docs/indicators.md, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from threatintel.canonical import TYPES, NotCanonical, canonical, recognise, typed

_PAGE = (ROOT / "docs" / "indicators.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[tuple[str, ...]]:
    """Cells of the table below a heading, without its head."""
    part = _PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [re.split(r" \| ", line.strip("| ")) for line in part.splitlines() if line.startswith("|")][2:]
    return [tuple(cell[1:-1] if cell.startswith("`") else cell for cell in line) for line in lines]


@pytest.mark.parametrize(("type", "written", "kept"), rows("Canonical forms"))
def test_a_value_has_one_form(type: str, written: str, kept: str) -> None:
    assert canonical(type, written) == kept
    assert canonical(type, kept) == kept


@pytest.mark.parametrize(("pasted", "type", "value"), rows("What a person pastes"))
def test_what_a_person_pastes_is_recognised(pasted: str, type: str, value: str) -> None:
    assert recognise(pasted) == (type, value)


@pytest.mark.parametrize(
    ("type", "text"),
    [
        ("ipv4-addr", "1.2.3"),
        ("ipv4-addr", "01.2.3.4"),
        ("ipv4-addr", "1.2.3.4/33"),
        ("ipv4-addr", "1.2.3.4/255.255.255.0"),
        ("ipv4-addr", "16909060"),
        ("ipv6-addr", "fe80::1%eth0"),
        ("ipv6-addr", "1.2.3.4"),
        ("domain-name", "localhost"),
        ("domain-name", "evil.123"),
        ("domain-name", "a..b"),
        ("domain-name", f"{'a' * 64}.example"),
        ("url", "evil.example/a"),
        ("url", "http:///a"),
        ("url", "http://evil.example:99999/"),
        ("url", "http://e\x00vil.example/"),
        ("email-addr", "evil.example"),
        ("email-addr", "a@b@evil.example"),
        ("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427"),
        ("file-hash:sha256", "g" * 64),
        ("vulnerability", "CVE-21-1"),
        ("autonomous-system", "AS0"),
        ("mac-addr", "00:1b:44"),
        ("mutex", "a\x07b"),
        ("mutex", "\ud800"),
        ("mutex", "  "),
        ("nonsense", "x"),
        ("url", f"http://evil.example/{'a' * 9000}"),
        ("url", "http://evil.example:\u2460/"),
        ("url", "http://evil.example:" + "9" * 5000),
        ("stix-pattern", "[url:value = '\ud800']"),
    ],
)
def test_text_that_is_no_value_of_its_type_is_refused(type: str, text: str) -> None:
    with pytest.raises(NotCanonical):
        canonical(type, text)


@pytest.mark.parametrize("text", ["", "word", "two words", "C:\\evil.exe", "deadbeef", "a" * 9000, "\x00", "[.]"])
def test_what_is_no_observable_is_not_recognised(text: str) -> None:
    assert recognise(text) is None


@given(st.sampled_from(TYPES), st.text(max_size=60))
def test_the_form_of_a_form_is_itself_and_nothing_else_is_raised(type: str, text: str) -> None:
    try:
        kept = canonical(type, text)
    except NotCanonical:
        return
    assert canonical(type, kept) == kept


@given(st.from_regex(r"https?://[a-z]{1,8}\.example(:[0-9]{1,4})?(/[a-z%.~ü -]{0,8}){0,3}(\?[a-z=%&]{0,8})?", fullmatch=True))
def test_a_url_has_one_form(text: str) -> None:
    try:
        kept = canonical("url", text)
    except NotCanonical:
        return
    assert canonical("url", kept) == kept


@pytest.mark.parametrize(
    ("type", "text", "found"),
    [
        ("domain-name", "1.2.3.4", ("ipv4-addr", "1.2.3.4")),
        ("ipv4-addr", "2001:DB8::1", ("ipv6-addr", "2001:db8::1")),
        ("ipv6-addr", "::ffff:1.2.3.4", ("ipv4-addr", "1.2.3.4")),
        ("domain-name", "a.example", ("domain-name", "a.example")),
    ],
)
def test_an_address_is_stored_as_what_it_is(type: str, text: str, found: tuple[str, str]) -> None:
    assert typed(type, text) == found
