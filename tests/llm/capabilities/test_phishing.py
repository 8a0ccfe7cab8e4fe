"""Phishing triage by rule: what a name, a link and an e-mail tell, and e-mails that are made to hold up whoever reads them."""

import time

import pytest

from llm import lookups
from llm.capabilities.phishing.capability import BadContent, Kind, by_rule
from llm.capabilities.phishing.mail import read_mail
from llm.capabilities.phishing.names import pretended, registrable, skeleton
from llm.capabilities.phishing.reasons import KNOWN_BAD, Reason, Verdict, judged

MANY = 200_000
HEAD = "From: a@b.example\nTo: x@corp.example\nSubject: s\n"
PAGE = HEAD + "MIME-Version: 1.0\nContent-Type: text/html\n\n"


@pytest.fixture(autouse=True)
def no_indicators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_lookups", [])


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("paypal.com", None),
        ("www.paypal.com", None),
        ("paypa1.com", ("paypal", "lookalike")),
        ("rnicrosoft.com", ("microsoft", "lookalike")),
        ("аpple.com", ("apple", "lookalike")),  # a Cyrillic letter
        ("secure-paypal-login.com", ("paypal", "lookalike")),
        ("paypal.com.evil.example", ("paypal", "carried")),
        ("example.org", None),
        ("groups.example", None),
    ],
)
def test_a_name_that_pretends_is_told_from_the_brands_own(host: str, found: tuple[str, str] | None) -> None:
    assert pretended(host) == found


def test_registrable_names_come_from_the_public_suffix_list() -> None:
    assert registrable("a.b.example.co.uk") == "example.co.uk"
    assert skeleton("раypаl") == "paypal"


def test_the_recipients_own_domain_is_protected_too() -> None:
    assert pretended("c0rp-intern.example", ("corp-intern.example",)) == ("corp-intern.example", "lookalike")


def test_only_the_topmost_authentication_results_are_believed() -> None:
    mail = read_mail(f"Authentication-Results: mx; dmarc=fail (p=none)\nAuthentication-Results: evil; dmarc=pass\n{HEAD}\nx")
    assert mail.results == {"dmarc": "fail"}


def test_links_attachments_and_forms_are_read() -> None:
    mail = read_mail(f"{PAGE}<style>p{{}}</style><p>Hi</p><A HREF='http://x.example/?a=1&amp;b=2'>bank.example</A><input type=password>")
    assert [(link.url, link.text) for link in mail.links] == [("http://x.example/?a=1&b=2", "bank.example")]
    assert mail.form
    assert mail.text.split() == ["Hi", "bank.example"]


def test_an_encoded_name_is_read() -> None:
    assert read_mail("From: =?utf-8?b?UGF5UGFs?= <x@y.example>\n\nx").sender_name == "PayPal"


def test_a_known_bad_indicator_decides_alone() -> None:
    found = judged([Reason(KNOWN_BAD, 1.0, "x"), Reason("authenticated", -5.0, "y")])
    assert found.verdict is Verdict.PHISHING
    assert judged([]).verdict is Verdict.BENIGN


@pytest.mark.parametrize(
    "content",
    [
        PAGE + "<a " * (MANY // 3),
        PAGE + "<!--" * (MANY // 4),
        PAGE + '<a href="' * (MANY // 9),
        PAGE + "<script>" * (MANY // 8),
        PAGE + "&#" * (MANY // 2),
        "From: " + "(" * MANY + "\n\nx",
        "From: " + "a," * (MANY // 2) + "\n\nx",
        HEAD + "Content-Type: text/html; " + "a*0=b; " * (MANY // 7) + "\n\nx",
        HEAD + "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\n" * (MANY // 5),
        HEAD + "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000)),
        HEAD + "Authentication-Results: " + "(" * MANY + "\n\nx",
        HEAD + "Subject: " + "=?utf-8?q?a?= " * (MANY // 14) + "\n\nx",
        HEAD + "\n" + "verify your " * (MANY // 12),
        HEAD + "\n" + "http://a.b/ " * (MANY // 12),
    ],
    ids=[
        "tags",
        "comments",
        "quotes",
        "scripts",
        "references",
        "nested",
        "addresses",
        "parameters",
        "parts",
        "parts-in-parts",
        "results",
        "words",
        "text",
        "links",
    ],
)
def test_a_hostile_email_is_read_in_bounded_time(content: str) -> None:
    """Each took the library's own parsers twenty seconds and more, or the stack; CPU time, so that a busy machine says nothing."""
    start = time.process_time()
    by_rule(Kind.EMAIL, content)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("kind", "content"), [(Kind.URL, "not a url"), (Kind.URL, ""), (Kind.DOMAIN, "a" * 300 + ".com"), (Kind.DOMAIN, "x/y.com"), (Kind.EMAIL, "\n\n")]
)
def test_what_is_not_of_its_kind_is_refused(kind: Kind, content: str) -> None:
    with pytest.raises(BadContent):
        by_rule(kind, content)
