"""What llm.needles finds is in every match of the expression: shown by rule, on made matches of each behaviour, and on the shipped cases."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm.alerts import Alert
from llm.attack import _PATTERNS
from llm.needles import needles
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("mimikatz", ("mimikatz",)),
        (r"schtasks|scheduled task", ("eduled task", "tasks")),
        (r"cmd\.exe|cmd /c", ("cmd",)),
        (r"\bnet user \S+ /add", ("net user ",)),
        (r"(?:firewall|netsh).{0,30}(?:off|disabled?)", ("firewall", "netsh")),
        (r"(?:ab)?cd(?:efg)+", ("efg",)),
        (r"a{2}xyz?", ("xy",)),
        (r"(?<!dnsdata)exfil(?!.*dns)", ("exfil",)),
        (r"lsass|[0-9]{4}", ()),
        (r"\w+|", ()),
        (r"(?i)lsass", ()),
        (r"(?i:lsass) dump", (" dump",)),
    ],
)
def test_one_of_these_is_in_every_match(pattern: str, found: tuple[str, ...]) -> None:
    assert needles(pattern) == found


def test_what_is_no_expression_is_an_error() -> None:
    with pytest.raises(re.error):
        needles("(")


@pytest.mark.parametrize(("words", "pattern", "technique"), _PATTERNS)
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_behaviour_is_found_by_its_words(words: tuple[str, ...], pattern: re.Pattern[str], technique: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern))
    assert words, f"{technique} has to be tried on every alert"
    assert pattern.search(text)
    assert any(word in text for word in words)


def test_nothing_is_missed_in_the_shipped_alerts() -> None:
    cases = (ROOT / "evals" / "explain.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [Alert.read(json.loads(case)["alert"]).text.lower() for case in cases]
    matched = [(words, text) for text in texts for words, pattern, _ in _PATTERNS if pattern.search(text)]
    assert len(matched) > len(texts) / 2
    assert [words for words, text in matched if not any(word in text for word in words)] == []
