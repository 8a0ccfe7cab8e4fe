"""Enrichment: the local store and the lists always answer; a live provider does where the gate lets it, and never spoils the answer."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import transaction
from django.test import Client
from django.test.client import FakePayload
from django.utils import timezone

from airgap.drain import drain
from airgap.models import EgressEvent
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.plugins.mirror import Mirror, body, redirect
from tests.threatintel.records import day, page, record
from threatintel import enrich as enrich_module
from threatintel.benign import BenignError
from threatintel.models import FeedCursor
from threatintel.providers import providers, virustotal
from threatintel.specs import Tlp
from threatintel.store import store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_lists")]
Environment = Callable[..., object]
KEY = "canary-4f1e9b7a"
IP = ("ipv4-addr", "198.51.100.7")
SHA256 = "a" * 64


@pytest.fixture(autouse=True)
def _nobody_rests() -> Iterator[None]:
    virustotal._resting.clear()
    yield
    virustotal._resting.clear()


@pytest.fixture
def post() -> Callable[..., Any]:
    """Posts JSON to the endpoint as somebody with that role, and returns the response."""

    def send(content: Any, *, role: Role | None = Role.AUDITOR, raw: bytes | None = None, path: str = "/api/v1/enrich") -> Any:
        headers = {"Authorization": f"Token {issue_token(f'a-{role}', role, 1)}"} if role else {}
        return Client().post(path, data=raw if raw is not None else json.dumps(content), content_type="application/json", headers=headers)

    return send


@pytest.fixture
def vt(environment: Environment, mirror: Mirror) -> Mirror:
    """VirusTotal on loopback, under air gap, with a key."""
    environment(AISOC_AIRGAPPED="1", VT_API_KEY=KEY, VT_BASE_URL=mirror.url)
    return mirror


def stored(*records: Any, feed: str = "misp") -> None:
    with transaction.atomic():
        store(feed, page(*records), run=1)


def stats(**counts: int) -> bytes:
    return json.dumps({"data": {"attributes": {"last_analysis_stats": counts, "last_analysis_date": 1_750_000_000, "other": [1]}}}).encode()


def provider_of(answer: dict[str, Any]) -> dict[str, Any]:
    (one,) = answer["providers"]
    return one


def test_an_alert_is_answered_from_the_store(post: Callable[..., Any], environment: Environment) -> None:
    environment()
    stored(record("evil.example", tlp=Tlp.AMBER, labels=("c2",)))
    FeedCursor.objects.update_or_create(feed="misp", defaults={"data_date": timezone.now() - timedelta(seconds=90), "moved_at": timezone.now()})
    response = post({"alert": {"title": "asked evil[.]example and 10.1.2.3", "n": [1, None, {"x": True}]}})
    answer = response.json()
    assert response.status_code == 200
    assert list(answer) == ["observables", "providers", "data_age", "benign", "cut"]
    evil, inside = sorted(answer["observables"], key=lambda one: one["type"])
    assert (evil["type"], evil["value"], evil["benign_lists"], evil["paths"], evil["verdicts"]) == (
        "domain-name",
        "evil.example",
        [],
        ["$.title"],
        [],
    )
    (match,) = evil["matches"]
    assert (match["status"], match["tlp"], match["labels"], match["sources"][0]["feed"]) == ("active", "amber", ["c2"], "misp")
    search = (
        Client().get("/api/v1/iocs/search", {"value": "evil.example"}, headers={"Authorization": f"Token {issue_token('b', Role.AUDITOR, 1)}"}).json()
    )
    assert search["results"] == [match], "as in search"
    assert (inside["value"], inside["matches"], inside["benign_lists"]) == ("10.1.2.3", [], ["rfc1918"])
    assert 89 <= answer["data_age"]["misp"] <= 100
    assert (answer["benign"]["lists"], answer["benign"]["reason"], bool(answer["benign"]["version"]), answer["cut"]) == (8, "", True, [])
    assert provider_of(answer) == {
        "name": "virustotal",
        "path": "fallback",
        "reason": "Not configured. Set VT_API_KEY, and VT_BASE_URL for a proxy inside.",
        "rule": None,
    }


def test_listed_observables_are_read_as_they_are_pasted(post: Callable[..., Any], environment: Environment) -> None:
    environment()
    listed = [
        "hxxp://evil[.]example/a",
        {"type": "mutex", "value": "Global\\Evil"},
        "evil[.]example",
        "evil.example",
        "a word",
        "",
        {"type": "url", "value": "no"},
    ]
    answer = post({"observables": listed}).json()
    assert [(one["type"], one["value"], one["paths"]) for one in answer["observables"]] == [
        ("url", "http://evil.example/a", ["$[0]"]),
        ("mutex", "Global\\Evil", ["$[1]"]),
        ("domain-name", "evil.example", ["$[2]", "$[3]"]),
    ]
    assert [sentence.split(" ", 1)[0] for sentence in answer["cut"]] == ["$[4]", "$[5]", "$[6]"]


def test_expired_and_revoked_are_reported_and_a_network_names_its_addresses(post: Callable[..., Any], environment: Environment) -> None:
    environment()
    stored(
        record("old.example", valid_until=day(1)),
        record("gone.example", revoked=True),
        record("198.51.100.0/24", type="ipv4-addr"),
        record("named.example", context=True),
    )
    answer = post({"observables": ["old.example", "gone.example", "198.51.100.7", "named.example"]}).json()
    assert [[(match["value"], match["status"]) for match in one["matches"]] for one in answer["observables"]] == [
        [("old.example", "expired")],
        [("gone.example", "revoked")],
        [("198.51.100.0/24", "active")],
        [],
    ]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "alert"),
        ({"alert": {}, "observables": []}, "observables"),
        ({"alert": "text"}, "alert"),
        ({"alert": [1]}, "alert"),
        ({"observables": "1.2.3.4"}, "observables"),
        ({"observables": {"type": "url"}}, "observables"),
        ({"observables": [1]}, "observables.0"),
        ({"observables": ["1.2.3.4", None]}, "observables.1"),
        ({"observables": [{"type": "url"}]}, "observables.0"),
        ({"observables": [{"type": "nothing", "value": "x"}]}, "observables.0.type"),
        ({"observables": [{"type": ["url"], "value": "x"}]}, "observables.0"),
        ({"observables": ["1.2.3.4"] * 1001}, "observables"),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_a_body_of_another_form_is_400_and_names_the_field(content: Any, field: str | None, post: Callable[..., Any]) -> None:
    response = post(content)
    assert (response.status_code, response.json().get("field")) == (400, field)
    assert set(response.json()) == {"code", "detail"} | ({"field"} if field else set())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 200_000, 400),
        (b'{"alert": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_001, 400),
        (b'{"alert": {"n": ' + b"9" * 100_000 + b"}}", 400),
        (b'{"alert": {"n": NaN}}', 400),
        (b'{"alert": {"n": "\xff\xfe"}}', 400),
        (b'{"alert": {"n": "' + b"x" * 1_100_000 + b'"}}', 413),
        (b'{"alert": {"n": "\\u0000evil.com\\ud800", "\\ud800": "1.2.3.4", "\\u0000": "\\u0000"}}', 200),
        (b'{"observables": ["\\ud800", "\\u0000", "evil.com\\u0000", {"type": "file-name", "value": "a\\ud800"}]}', 200),
        (b'{"observables": [{"type": "stix-pattern", "value": "\\ud800"}]}', 200),
        (b'{"alert": {"n": "' + b"[" * 900_000 + b'"}}', 200),
    ],
)
def test_hostile_bodies_are_errors_of_the_caller_s_or_answers(raw: bytes, status: int, post: Callable[..., Any], environment: Environment) -> None:
    environment()
    response = post(None, raw=raw)
    assert response.status_code == status, response.content[:200]
    json.loads(response.content)


def test_a_charset_in_the_header_chooses_no_codec(environment: Environment) -> None:
    environment()
    headers = {"Authorization": f"Token {issue_token('alice', Role.AUDITOR, 1)}"}
    sent = {"CONTENT_TYPE": "application/json; charset=zlib", "wsgi.input": FakePayload(b'{"alert": {}}'), "CONTENT_LENGTH": 13}
    response = Client().generic("POST", "/api/v1/enrich", headers=headers, **sent)
    assert response.status_code == 200


@pytest.mark.parametrize(("role", "status"), [(None, 401), (Role.AUDITOR, 200), (Role.OPERATOR, 200)])
@pytest.mark.parametrize("path", ["/api/v1/enrich", "/api/v1/iocs/lookup"])
def test_whoever_reads_may_ask(path: str, role: Role | None, status: int, post: Callable[..., Any], environment: Environment) -> None:
    environment()
    content = {"alert": {}} if path.endswith("enrich") else {"values": ["1.2.3.4"]}
    assert post(content, role=role, path=path).status_code == status


def test_without_its_lists_the_answer_is_whole(post: Callable[..., Any], environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> None:
        raise BenignError("The disk is full.")

    monkeypatch.setattr(enrich_module, "benign_lists", unreadable)
    environment()
    stored(record("evil.example"))
    answer = post({"observables": ["evil.example"]}).json()
    assert (len(answer["observables"][0]["matches"]), answer["benign"]) == (1, {"version": None, "lists": 0, "reason": "The disk is full."})


# ── The live provider ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_public_provider_under_air_gap_is_refused_with_one_row_and_the_answer_is_whole(post: Callable[..., Any], environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", VT_API_KEY=KEY)
    stored(record("evil.example"))
    answer = post({"observables": ["evil.example", "198.51.100.7", "other.example"]}).json()
    assert len(answer["observables"][0]["matches"]) == 1
    one = provider_of(answer)
    assert (one["path"], one["rule"]) == ("fallback", "public")
    assert "www.virustotal.com" in one["reason"]
    drain()
    event = EgressEvent.objects.get()
    assert (event.host, event.purpose, event.layer, event.count) == ("www.virustotal.com", "enrich.virustotal", "http", 1)


def test_an_allowed_provider_is_asked_and_its_verdicts_are_shown(post: Callable[..., Any], vt: Mirror) -> None:
    vt.answers["/api/v3/ip_addresses/198.51.100.7"] = body(stats(malicious=9, suspicious=1, harmless=60, undetected=20))
    vt.answers[f"/api/v3/files/{SHA256}"] = body(b'{"error": {"code": "NotFoundError"}}', status=404)
    vt.answers["/api/v3/domains/evil.example"] = body(stats(malicious=3))
    vt.answers["/api/v3/urls/aHR0cDovL2V2aWwuZXhhbXBsZS8_cT0x"] = body(stats(harmless=2))
    answer = post({"observables": ["198.51.100.7", SHA256, "evil.example", "http://evil.example/?q=1"]}).json()
    assert provider_of(answer) == {"name": "virustotal", "path": "live", "reason": "", "rule": None}
    verdicts = {one["value"]: one["verdicts"][0] for one in answer["observables"]}
    assert verdicts["198.51.100.7"] == {
        "provider": "virustotal",
        "known": True,
        "malicious": 9,
        "suspicious": 1,
        "harmless": 60,
        "undetected": 20,
        "analysed_at": "2025-06-15T15:06:40Z",
    }
    assert (verdicts[SHA256]["known"], verdicts["evil.example"]["malicious"], verdicts["http://evil.example/?q=1"]["harmless"]) == (False, 3, 2)
    assert {headers["x-apikey"] for _, _, headers in vt.requests} == {KEY}
    drain()
    assert not EgressEvent.objects.exists()


def test_nothing_internal_or_restricted_leaves(post: Callable[..., Any], vt: Mirror) -> None:
    stored(
        record("amber.example", tlp=Tlp.AMBER),
        record("red.example", tlp=Tlp.RED),
        record("green.example", tlp=Tlp.GREEN),
    )
    listed = [
        "10.0.0.1",
        "fd00::1",
        "198.51.100.0/24",
        "dc01.corp",
        "http://wiki/x",
        "http://192.168.0.1/x",
        "http://user:secret@public.example/",
        "amber.example",
        "red.example",
        "green.example",
        "alice@public.example",
        {"type": "file-name", "value": "salaries.xlsx"},
        "https://public.example/" + "x" * 3000,
    ]
    vt.answers["/api/v3/domains/green.example"] = body(stats(malicious=1))
    post({"observables": listed})
    assert [path for _, path, _ in vt.requests] == ["/api/v3/domains/green.example"]


@pytest.mark.parametrize("told", [{"context": True}, {"revoked": True}, {"valid_until": day(-100)}], ids=str)
def test_a_value_that_any_source_restricts_never_leaves(told: dict[str, Any], post: Callable[..., Any], vt: Mirror) -> None:
    """Whatever that source says of it besides, and whatever another one allows."""
    stored(record("red.example", tlp=Tlp.RED, **told), record("both.example", tlp=Tlp.RED, **told))
    stored(record("both.example", external_id="other"))
    answer = post({"observables": ["red.example", "both.example", "https://red.example/gate"]}).json()
    assert [path for _, path, _ in vt.requests] == []
    assert [match["tlp"] for match in answer["observables"][1]["matches"]] == ["red"]


def test_values_that_no_list_knows_are_asked_about_first_and_few_in_all(post: Callable[..., Any], vt: Mirror) -> None:
    for name in ("www.google.com", *(f"evil{number}.example" for number in range(20))):
        vt.answers[f"/api/v3/domains/{name}"] = body(stats(malicious=1))
    answer = post({"observables": ["www.google.com", *(f"evil{number}.example" for number in range(20))]}).json()
    assert len(vt.requests) == virustotal.MAX_VALUES
    assert "google" not in str(vt.requests)
    assert provider_of(answer) == {"name": "virustotal", "path": "live", "reason": "10 of 21 values were asked about.", "rule": None}


def hanging(stop: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda _handler: stop.wait(30) and None


FAULTS: dict[str, tuple[Any, str]] = {
    "401": (body(b'{"error": {"code": "WrongCredentialsError", "message": "planted-words"}}', status=401), "VT_API_KEY"),
    "403": (body(b'{"error": {"code": "ForbiddenError"}}', status=403), "VT_API_KEY"),
    "429": (body(b'{"error": {"code": "QuotaExceededError"}}', status=429, headers={"Retry-After": "120"}), "quota"),
    "500": (body(b"planted-words", status=500), "HTTP 500"),
    "302": (redirect("http://127.0.0.1:9/elsewhere"), "must not get the credentials"),
    "302 to a public host": (redirect("https://www.virustotal.com/elsewhere"), "sent the request on to a place that is refused"),
    "a proxy's 404": (body(b"<html>planted-words", status=404, content_type="text/html"), "VT_BASE_URL"),
    "html": (body(b"<html>planted-words", content_type="text/html"), "no object of VirusTotal's"),
    "a list": (body(b"[1]"), "no object of VirusTotal's"),
    "no attributes": (body(b'{"data": {}}'), "no object of VirusTotal's"),
    "deep": (body(b"[" * 100_000), "no object of VirusTotal's"),
    "long": (body(b'{"data": "' + b"x" * 5_000_000 + b'"}'), "bytes"),
}


@pytest.mark.parametrize("fault", [*FAULTS, "silence", "no server"])
def test_a_faulty_provider_is_a_reason_and_is_then_left_alone(
    fault: str, post: Callable[..., Any], vt: Mirror, monkeypatch: pytest.MonkeyPatch, environment: Environment
) -> None:
    stop = threading.Event()
    if fault == "silence":
        monkeypatch.setattr(virustotal, "WAIT", 0.3)
    if fault == "no server":
        environment(AISOC_AIRGAPPED="1", VT_API_KEY=KEY, VT_BASE_URL="http://127.0.0.1:9")
    answer, words = FAULTS.get(fault, (hanging(stop), "no connection" if fault == "no server" else "no answer in time"))
    vt.answers["/api/v3/ip_addresses/198.51.100.7"] = answer
    stored(record("198.51.100.7", type="ipv4-addr"))
    response = post({"observables": ["198.51.100.7", "1.2.3.4"]})
    one = provider_of(response.json())
    assert (one["path"], words in one["reason"], one["rule"]) == ("fallback", True, "public" if "public" in fault else None), one
    assert "planted-words" not in response.content.decode()
    assert len(response.json()["observables"][0]["matches"]) == 1
    asked = len(vt.requests)
    again = provider_of(post({"observables": ["198.51.100.7"]}).json())
    stop.set()
    assert (words in again["reason"], "asked again in" in again["reason"], len(vt.requests)) == (True, True, asked)
    if fault == "429":
        assert 100 < int(again["reason"].split("asked again in ")[1].split()[0]) <= 120


def test_what_a_provider_counts_is_bounded(post: Callable[..., Any], vt: Mirror) -> None:
    strange = {
        "data": {
            "attributes": {
                "last_analysis_stats": {"malicious": -1, "suspicious": "9", "harmless": 10**30, "undetected": True},
                "last_analysis_date": 1e300,
            }
        }
    }
    vt.answers["/api/v3/ip_addresses/198.51.100.7"] = body(json.dumps(strange).encode())
    (verdict,) = post({"observables": ["198.51.100.7"]}).json()["observables"][0]["verdicts"]
    assert set(verdict.values()) == {"virustotal", True, 0, None}


def test_the_key_is_in_one_header_and_nowhere_else(
    post: Callable[..., Any], vt: Mirror, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(0)
    answers = [post({"observables": ["198.51.100.7", "evil.example"]}).content.decode()]
    vt.answers["/api/v3/ip_addresses/198.51.100.8"] = body(b"", status=401)
    virustotal._resting.clear()
    answers.append(post({"observables": ["198.51.100.8"]}).content.decode())
    drain()
    shown = [*answers, caplog.text, repr(providers()), str(providers()), repr(virustotal._resting), str(list(EgressEvent.objects.values()))]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in shown if KEY in text]
    assert all(
        KEY not in path and KEY not in {name: value for name, value in headers.items() if name != "x-apikey"}.values()
        for _, path, headers in vt.requests
    )
    assert len(vt.requests) == 2


def test_a_key_that_no_header_takes_is_a_reason_without_it(post: Callable[..., Any], environment: Environment, mirror: Mirror) -> None:
    environment(VT_API_KEY="kéy-planted", VT_BASE_URL=mirror.url)
    one = provider_of(post({"observables": ["198.51.100.7"]}).json())
    assert (one["path"], "VT_API_KEY" in one["reason"], "planted" in one["reason"]) == ("fallback", True, False)


def test_httpx_would_say_what_this_test_relies_on() -> None:
    with pytest.raises(UnicodeError):
        httpx.Headers({"x-apikey": "kéy"}).raw  # noqa: B018
