"""How times, spans and numbers are written."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from console.templatetags.console import ago, breakable, every, moment, took
from console.wording import counted, in_words


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=0), "now"),
        (timedelta(seconds=4), "now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=4, seconds=40), "4 min ago"),
        (timedelta(minutes=119), "119 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=2), "2 d ago"),
        (timedelta(minutes=-12), "in 12 min"),
        (timedelta(seconds=-3), "now"),
    ],
)
def test_ages_read_in_one_unit(age: timedelta, words: str) -> None:
    assert ago(age) == words


@pytest.mark.parametrize(("seconds", "words"), [(86400, "24 h"), (1800, "30 min"), (5400, "90 min"), (90, "90 s"), (3600, "1 h"), (1, "1 s")])
def test_periods_read_exactly(seconds: int, words: str) -> None:
    assert every(seconds) == words


def test_a_moment_of_another_day_has_its_date() -> None:
    assert "2020-02-29 14:03:11Z" in str(moment(datetime(2020, 2, 29, 14, 3, 11, tzinfo=UTC)))
    assert 'datetime="2020-02-29T14:03:11Z"' in str(moment(datetime(2020, 2, 29, 14, 3, 11, tzinfo=UTC)))


def test_a_moment_that_never_was_reads_never() -> None:
    assert moment(None) == "never"
    assert moment(None, "not yet") == "not yet"


def test_a_span_that_is_not_known_is_a_dash() -> None:
    assert took(None) == "–"
    assert took(timedelta(milliseconds=743)) == "0.7 s"


@pytest.mark.parametrize("word", ["OK", "ATTENTION", "FAILING", "REFUSED", "OFF", "UNKNOWN"])
def test_a_badge_is_shape_word_and_colour(word: str) -> None:
    html = Template("{% load console %}{% badge word %}").render(Context({"word": word}))
    assert f'class="badge {word.lower()}"' in html
    assert 'aria-hidden="true"' in html
    assert "<path" in html
    assert html.strip().endswith(f"</svg>{word}</span>")


def test_a_word_that_is_no_verdict_is_an_error() -> None:
    with pytest.raises(ValueError):
        Template("{% load console %}{% badge 'FINE' %}").render(Context())


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 processes"), (1, "1 process"), (1204, "1,204 processes")]
)  # fmt: skip
def test_counts_read_as_words(number: int, words: str) -> None:
    assert counted(number, "process", "processes") == words


@pytest.mark.parametrize(
    ("names", "words"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)
def test_lists_read_as_words(names: list[str], words: str) -> None:
    assert in_words(names) == words


def test_a_long_word_breaks_after_its_joints_and_stays_text() -> None:
    assert breakable("a_b.<i>") == "a_<wbr>b.<wbr>&lt;i&gt;"


def test_a_cell_of_a_markdown_table_stays_one_cell() -> None:
    assert Template("{% load console %}{% autoescape off %}{{ text|cell }}{% endautoescape %}").render(Context({"text": "a|b\nc"})) == "a\\|b c"
