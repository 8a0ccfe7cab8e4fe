"""Look up many: what is pasted is told apart, counted and looked up in a few questions."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.bulk import MOST_BYTES, MOST_LINES
from tests.console.intel import record, stored
from threatintel.canonical import canonical
from threatintel.models import FeedRun

URL = "/settings/indicators/many/"
Text = Callable[[Any], str]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealed")]


@pytest.fixture
def some() -> None:
    stored(
        record(labels=("apt1",)),
        record("ipv4-addr", "198.51.100.0/24", "indicator--2"),
        record("domain-name", "benign.example", "indicator--3", context=True),
    )


def test_the_page_says_how_much_it_takes(auditor: Client, text: Text) -> None:
    page = text(auditor.get(URL))
    assert "At most 10,000 lines" in page
    assert "Answer" not in page


@pytest.mark.usefixtures("some")
def test_known_unknown_and_unreadable_lines_are_told_apart(auditor: Client, text: Text) -> None:
    pasted = "evil[.]example\n\n  EVIL.example \n198.51.100.7\nbenign.example\nnothing.example\nhello world\n"
    page = auditor.post(URL, {"values": pasted})
    assert [match.value for match in page.context["page"].matches] == ["evil.example", "198.51.100.7"]
    words = text(page)
    assert "2 known, 2 not known, 1 line that is no observable, 1 said twice; 6 lines in all: 3 domain-name, 1 ipv4-addr." in words
    assert "line 7: hello world" in words
    assert "198[.]51[.]100[.]7 198[.]51[.]100[.]0/24 Details" in words
    assert "What feeds name as context alone counts as not known" in words


def test_whatever_the_api_and_the_search_know_is_known_here_too(auditor: Client, text: Text) -> None:
    named = {
        "file-name": "~tmp.doc",
        "mutex": "Global\\Evil",
        "windows-registry-key": "HKLM\\Software\\Evil",
        "user-agent": "Evil/1.0",
    }
    stored(*(record(type, canonical(type, value), f"indicator--{type}") for type, value in named.items()))
    stored(record("file-name", "evil.com", "indicator--com"))
    pasted = [*named.values(), "evil.com", "~tmp.doc", "~other.doc"]
    page = auditor.post(URL, {"values": "\n".join(pasted)})
    assert [match.type for match in page.context["page"].matches] == [*named, "domain-name"]
    assert [row.view.type for row in page.context["page"].matches[-1].rows] == ["file-name"], "a domain is also looked for as a file name"
    assert "5 known, 0 not known, 1 line that is no observable, 1 said twice; 7 lines in all" in text(page)
    assert "line 7: ~other.doc" in text(page)
    answer = auditor.post("/api/v1/iocs/lookup", {"values": pasted}, content_type="application/json").json()
    assert [hit["index"] for hit in answer["hits"]] == [0, 1, 2, 3, 4, 5]


def test_nothing_known_says_so(auditor: Client, text: Text) -> None:
    assert "None of these values is known." in text(auditor.post(URL, {"values": "evil.example"}))


@pytest.mark.parametrize(
    ("pasted", "problem"),
    [
        ("", "Values: paste at least one, a line each."),
        (" \n\r\n\t", "Values: paste at least one, a line each."),
        ("a.example\n" * (MOST_LINES + 1), "Values: 10,001 lines; at most 10,000 are looked up at once."),
    ],
)
def test_what_cannot_be_looked_up_is_told_beside_the_field(pasted: str, problem: str, auditor: Client, text: Text) -> None:
    page = auditor.post(URL, {"values": pasted})
    assert page.status_code == 400
    assert problem in text(page)
    assert 'aria-invalid="true"' in page.content.decode()


def test_too_much_text_is_refused_before_it_is_read(auditor: Client, text: Text) -> None:
    page = auditor.post(URL, {"values": "a" * (MOST_BYTES + 1)})
    assert page.status_code == 413
    assert "Values: more than 2 MB of text. Paste them in parts." in text(page)


def test_ten_thousand_lines_are_looked_up_in_few_questions(auditor: Client) -> None:
    stored(*(record(value=f"h{number}.example", external_id=f"indicator--{number}") for number in range(1200)))
    with CaptureQueriesContext(connection) as queries:
        page = auditor.post(URL, {"values": "\n".join(f"h{number}.example" for number in range(MOST_LINES))})
    assert len(page.context["page"].matches) == 1200
    assert page.content.decode().count('scope="rowgroup"') == 500
    assert len(queries) <= 8 + (12 if connection.vendor == "sqlite" else 1 + 6)  # PostgreSQL's scope, in which the navigation counts tenants


@pytest.mark.usefixtures("some")
def test_the_csv_has_every_match_and_no_formula(auditor: Client) -> None:
    stored(record(value="formula.example", external_id="indicator--9", labels=("=cmd|' /C calc'!A0",)))
    answer = auditor.post(URL, {"values": "evil.example\nformula.example\n198.51.100.7", "form": "csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["value"] for row in rows] == ["evil.example", "formula.example", "198.51.100.0/24"]
    assert rows[1]["labels"].startswith("'=cmd")


def test_a_paste_without_a_token_is_refused_and_nobody_else_may(auditor: Client, text: Text) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = auditor.cookies
    assert strict.post(URL, {"values": "evil.example"}).status_code == 403
    assert Client().post(URL, {"values": "evil.example"}).headers["Location"] == "/login/?next=/"
    assert not FeedRun.objects.exists()
