"""An upload to the API: the four kinds, tried or stored; who may, how much, and what is wrong with it, by field."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tenants.accounts import issue_token
from tenants.roles import TENANT_ROLES, WRITERS, Role
from tests.plugins.kev import catalogue, row
from tests.plugins.taxii_server import stix_indicator
from tests.threatintel.misp_samples import attribute, event
from tests.threatintel.test_otx import pulse
from threatintel import runs
from threatintel.models import FeedRun, Indicator, IndicatorSource

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]
SAMPLES = {
    "kev": catalogue([row(0), row(1)]),
    "stix": json.dumps({"type": "bundle", "objects": [stix_indicator(1), stix_indicator(2)]}).encode(),
    "misp": json.dumps({"response": [event(attribute(), attribute("192.0.2.7", "ip-dst"))]}).encode(),
    "otx": json.dumps({"results": [pulse(1), pulse(2)], "next": None}).encode(),
}


@pytest.fixture
def send() -> Send:
    """send(kind, content, …) is the answer to an upload by an operator, or by a role."""

    def post(kind: str, content: bytes | None, query: str = "", *, role: Role | None = Role.OPERATOR, name: str = "feed.json", **fields: str) -> Any:
        headers = {"Authorization": f"Token {issue_token(f'user-{role}', role, 1, 'acme' if role in TENANT_ROLES else '')}"} if role else {}
        file = {} if content is None else {"file": SimpleUploadedFile(name, content)}
        return Client(enforce_csrf_checks=True).post(f"/api/v1/threatintel/feeds/{kind}/import{query}", {**file, **fields}, headers=headers)

    return post


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_kind_is_tried_then_stored_and_changes_nothing_the_second_time(kind: str, send: Send) -> None:
    content = SAMPLES[kind]
    tried = send(kind, content, "?dry_run=true")
    assert (tried.status_code, tried.json()["added"], tried.json()["run"], tried.json()["dry_run"]) == (200, 2, None, True)
    assert not IndicatorSource.objects.exists()
    assert not FeedRun.objects.exists()
    packed = gzip.compress(content)
    stored = send(kind, packed, sha256=hashlib.sha256(packed).hexdigest()).json()
    assert (stored["added"], stored["dry_run"], stored["file"], stored["kind"]) == (2, False, "feed.json", kind)
    run = FeedRun.objects.get(pk=stored["run"])
    assert (run.feed, run.state, run.source) == (kind, "ok", f"feed.json {stored['sha256']}")
    again = send(kind, content).json()
    assert (again["fetched"], again["added"], again["changed"], again["retired"]) == (2, 0, 0, 0)
    assert Indicator.objects.count() == 2


@pytest.mark.parametrize(
    ("kind", "content", "query", "fields", "status", "field"),
    [
        ("yara", b"{}", "", {}, 404, None),
        ("taxii", b"{}", "", {}, 404, None),
        ("kev", None, "", {}, 400, "file"),
        ("kev", b"", "", {}, 400, "file"),
        ("kev", b"no JSON", "", {}, 400, "file"),
        ("kev", b"no JSON", "?dry_run=1", {}, 400, "file"),
        ("kev", SAMPLES["stix"], "?dry_run=1", {}, 400, "file"),
        ("kev", SAMPLES["kev"], "?dry_run=maybe", {}, 400, "dry_run"),
        ("kev", SAMPLES["kev"], "?dry_run=", {}, 400, "dry_run"),
        ("kev", SAMPLES["kev"], "", {"sha256": "12"}, 400, "sha256"),
        ("kev", SAMPLES["kev"], "", {"sha256": "0" * 64}, 400, "sha256"),
    ],
    ids=str,
)
def test_what_cannot_be_imported_names_the_field(
    kind: str, content: bytes | None, query: str, fields: dict[str, str], status: int, field: str | None, send: Send
) -> None:
    answer = send(kind, content, query, **fields)
    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert answer.json().keys() - {"field"} == {"code", "detail"}
    assert not IndicatorSource.objects.exists()


@pytest.mark.parametrize(("role", "status"), [*((role, 403) for role in Role if role not in WRITERS), (None, 401)])
def test_only_an_operator_imports(role: Role | None, status: int, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_framework.parsers.MultiPartParser.parse", lambda *_args, **_options: pytest.fail("the upload was read"))
    assert send("kev", SAMPLES["kev"], role=role).status_code == status


def test_a_session_needs_its_token() -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(get_user_model().objects.create_superuser("root"))
    answer = browser.post("/api/v1/threatintel/feeds/kev/import", {"file": SimpleUploadedFile("k", SAMPLES["kev"])})
    assert answer.status_code == 403
    assert not FeedRun.objects.exists()


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threatintel.import_api.MOST_BYTES", 100)
    answer = send("kev", SAMPLES["kev"])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_of_another_media_type_is_415(send: Send) -> None:
    header = {"Authorization": f"Token {issue_token('alice', Role.OPERATOR, 1)}"}
    assert Client().post("/api/v1/threatintel/feeds/kev/import", SAMPLES["kev"], content_type="application/json", headers=header).status_code == 415


def test_a_feed_that_is_busy_is_409(send: Send) -> None:
    runs.open_run("kev", "slot")
    assert runs.claim("kev", "slot") is not None
    answer = send("kev", SAMPLES["kev"])
    assert (answer.status_code, answer.json()["code"]) == (409, "busy")


def test_a_name_with_a_path_or_controls_is_only_a_name(send: Send) -> None:
    assert send("kev", SAMPLES["kev"], name="../../etc/pass\x1b[2Jwd").json()["file"] == "pass[2Jwd"


def test_the_real_files_are_read(send: Send, shared_data: Path) -> None:
    for kind, file, added in (("kev", "kev.json", 1404), ("stix", "stix_apt1.json", 12), ("misp", "misp_event_370.json", 1)):
        answer = send(kind, (shared_data / file).read_bytes()).json()
        assert answer["added"] >= added, answer


def test_an_unknown_address_below_the_api_is_404_for_a_post_too() -> None:
    answer = Client(enforce_csrf_checks=True).post("/api/v1/nothing/here")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
