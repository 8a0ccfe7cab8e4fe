"""Phishing triage by rule: what a name, a link and an e-mail tell, and e-mails that are made to hold up whoever reads them."""

import quopri
import time
from base64 import b64encode

import pytest

from llm import lookups
from llm.capabilities.phishing.capability import BadContent, Kind, by_rule
from llm.capabilities.phishing.mail import mail_reasons, read_mail
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
        ("amazon.ca", ("amazon", "other_suffix")),  # it is, and nobody can list them all
        ("paypal.top", ("paypal", "lookalike")),
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


@pytest.mark.parametrize("kind", ["plain", "html"])
@pytest.mark.parametrize("encoding", ["", "8bit", "base64", "base64 (a comment)", "quoted-printable", "quoted-printable raw"])
def test_a_link_in_letters_of_another_script_is_read_however_the_body_is_encoded(kind: str, encoding: str) -> None:
    """Pasted as characters, as mail programs show the source, the name was read as `\\u0430pple.com`, and the e-mail was benign."""
    body = '<p>Überprüfen</p><a href="https://www.аpple.com/">x</a>' if kind == "html" else "Überprüfen https://www.аpple.com/"
    encoded = {"base64": b64encode(body.encode()).decode(), "quoted-printable": quopri.encodestring(body.encode()).decode()}
    head = f"{HEAD}MIME-Version: 1.0\nContent-Type: text/{kind}; charset=iso-8859-1\nContent-Transfer-Encoding: {encoding.removesuffix(' raw')}\n\n"
    if encoding not in ("", "8bit"):
        head = head.replace("iso-8859-1", "utf-8")
    mail = read_mail(head + encoded.get(encoding.removesuffix(" (a comment)"), body.replace("=", "=3D") if " raw" in encoding else body))
    assert [link.url for link in mail.links] == ["https://www.аpple.com/"]
    assert "Überprüfen" in mail.text
    assert judged(mail_reasons(mail)).verdict is Verdict.PHISHING


@pytest.mark.parametrize(
    "content",
    [
        *(
            f"{HEAD}Content-Type: text/plain; charset={name}\n\nhellö \\ud800 xn--a"
            for name in ("idna", "undefined", "a\0b", "unicode_escape", "PunyCode")
        ),
        f"{HEAD}Content-Type: text/plain; charset=utf-7\n\n+2AA-",
        f"{HEAD}Content-Type: application/x; name*=unicode_escape''%5Cud800.exe\n\nx",
        "From: =?utf-8?b?a?= <x@y.example>\nSubject: =?utf-8?b?a?=\n\nx",
        "From: =?ü?b?aGVsbG8=?= <x@y.example>\nSubject: =?unicode_escape?q?=5Cud800?=\n\nx",
        f'{PAGE}&#{"9" * 5000}; <a href="&#x{"f" * 9};">x</a>',
    ],
)
def test_a_part_that_cannot_be_read_takes_the_verdict_from_nobody(content: str) -> None:
    """Each ended the whole triage: one header of the sender's choice, and there was no verdict."""
    found, message = by_rule(Kind.EMAIL, content)
    assert found
    assert (message + "".join(one.detail for one in found)).encode()


@pytest.mark.parametrize(
    "hidden",
    [
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 11 + PAGE.removeprefix(HEAD),
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + PAGE.removeprefix(HEAD) + "--\n" * 201,
        PAGE.removeprefix(HEAD) + "".join(f'<a href="https://h{n}.example/">x</a>' for n in range(61)),
        "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 70 + "--b\nContent-Type: text/html\n\n",
    ],
    ids=["nested", "boundaries", "hosts", "parts"],
)
def test_what_stands_behind_more_than_is_read_is_never_called_benign(hidden: str) -> None:
    """One line of header ended the reading, and the same e-mail went from phishing to benign without a word."""
    form = '<a href="http://paypa1-secure.com/login">paypal.com</a><input type=password>'
    good = "Authentication-Results: mx; dmarc=pass\nList-Unsubscribe: <https://a.example/>\n"
    found, _ = by_rule(Kind.EMAIL, f"{good}{HEAD}{hidden}{form}")
    assert "not_read_whole" in {one.name for one in found}
    assert judged(found).verdict is not Verdict.BENIGN


@pytest.mark.parametrize(
    "text",
    [
        "X-A: " + "multipart/ " * 11 + "\n\nHello.\n",
        "\n" + "".join(f"Re: upgrade\nhttps://lists.example.org/users@lists.example.org/message/{n}/\n" for n in range(15)),
        "\n" + "".join(f"--- a/file{n}\n+++ b/file{n}\n" for n in range(210)),
    ],
    ids=["header", "digest of a mailing list", "patch"],
)
def test_what_looks_like_parts_in_a_text_hides_nothing(text: str) -> None:
    """A mailing list's digest, whose links hold `message/`, and a long patch were suspicious: read to their tenth link."""
    good = "Authentication-Results: mx; dmarc=pass\nList-Unsubscribe: <https://a.example/>\n"
    assert judged(by_rule(Kind.EMAIL, f"{good}{HEAD}{text}")[0]).verdict is Verdict.BENIGN
    names = {one.name for one in by_rule(Kind.EMAIL, f"{good}{HEAD}{text}http://paypa1-secure.com/login\n")[0]}
    assert "link_lookalike" in names
    assert "not_read_whole" not in names


def test_a_link_is_judged_however_many_others_stand_before_it() -> None:
    many = '<a href="https://www.microsoft.com/">x</a>' * 1000
    names = {one.name for one in by_rule(Kind.EMAIL, f'{PAGE}{many}{"word " * 30_000}<a href="http://paypa1-secure.com/login">paypal.com</a>')[0]}
    assert {"link_lookalike", "link_text_mismatch"} <= names
    assert "not_read_whole" not in names


def test_a_letter_behind_zeros_is_the_letter_that_the_browser_shows() -> None:
    assert read_mail(f'{PAGE}<a href="https://www.&#{"0" * 5000}1072;pple.com/&#x{"0" * 5000}aa;">x</a>').links[0].url == "https://www.аpple.com/ª"


def test_a_known_bad_indicator_decides_alone() -> None:
    found = judged([Reason(KNOWN_BAD, 1.0, "x"), Reason("authenticated", -5.0, "y")])
    assert found.verdict is Verdict.PHISHING
    assert judged([]).verdict is Verdict.BENIGN


@pytest.mark.parametrize(
    "body",
    [
        "see https://bad.example/a",
        "see https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fbad.example%2Fa&data=05%7C01",
        "see https://urldefense.com/v3/__https://bad.example/a__;!!x$",
        "see https://urldefense.proofpoint.com/v2/url?u=https-3A__bad.example_a&d=DwMF",
        "go to bad.example/login with your browser",
        "go to www[.]bad[.]example or bad[.]example",
        "ünlü https://bad.example/a",
    ],
)
def test_a_known_bad_host_is_found_in_whatever_form_an_email_carries_it(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_lookups", [lambda values: {value: "x" for value in values if value == "bad.example"}])
    for content in (f"{HEAD}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}\n", f"{PAGE}<p>{body}</p>"):
        assert judged(by_rule(Kind.EMAIL, content)[0]).verdict is Verdict.PHISHING


def test_a_known_bad_host_is_found_in_an_attached_page_and_behind_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_lookups", [lambda values: {value: "x" for value in values if value == "bad.example"}])
    part = "--b\nContent-Type: text/html; name=a.html\n\n<script>location='https://bad.example/x'</script>\n--b--\n"
    assert KNOWN_BAD in {one.name for one in by_rule(Kind.EMAIL, f"{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{part}")[0]}
    assert KNOWN_BAD in {one.name for one in by_rule(Kind.URL, "https://go.example/r?u=https%3A%2F%2Fbad.example%2F")[0]}
    assert KNOWN_BAD in {
        one.name for one in by_rule(Kind.EMAIL, f"{HEAD}\n" + "".join(f"http://a{n}.example/ " for n in range(99)) + "http://bad.example/")[0]
    }


def test_a_rewritten_link_is_as_good_as_where_it_goes() -> None:
    wrapped = "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2F{}%2Fa&data=05"
    names = {one.name for one in by_rule(Kind.URL, wrapped.format("paypa1-login.example"))[0]}
    assert "link_lookalike" in names
    assert "known_site" not in names


def test_letters_of_an_8_bit_body_are_read_as_they_stand() -> None:
    mail = read_mail(f"{HEAD}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße https://раураl.com/login\n")
    assert "Grüße" in mail.text
    assert [link.url for link in mail.links] == ["https://раураl.com/login"]


def test_a_password_is_one_for_an_attachment_only_where_there_is_one() -> None:
    body = "Click to reset your password: Reset password\n"
    assert "archive_password" not in {one.name for one in by_rule(Kind.EMAIL, f"{HEAD}\n{body}")[0]}
    part = "--b\nContent-Type: text/plain\n\nThe password is 4711\n--b\nContent-Type: application/zip; name=a.zip\n\nx\n--b--\n"
    assert "archive_password" in {one.name for one in by_rule(Kind.EMAIL, f"{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{part}")[0]}


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
        HEAD + "Content-Type: text/plain; charset=punycode\n\n" + "ab-" * (MANY // 3),
        PAGE + "&#" + "0" * MANY,
        PAGE + "&#x" + "f" * MANY,
        HEAD + "\n" + "a." * (MANY // 2),
        HEAD + "\n" + "http://a.b/?" + "u=http://" * (MANY // 9),
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
        "charset",
        "zeros",
        "digits",
        "labels",
        "redirects",
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
