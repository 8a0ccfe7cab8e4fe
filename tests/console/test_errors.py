"""What went wrong is answered calmly: a page that says what to do, JSON below /api/, and no traceback anywhere."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from console import errors

Text = Callable[[Any], str]
HANDLERS = [
    (errors.bad_request, (SuspiciousOperation("x"),), 400, "bad_request"),
    (errors.forbidden, (PermissionDenied("x"),), 403, "permission_denied"),
    (errors.not_found, (Exception("x"),), 404, "not_found"),
    (errors.server_error, (), 500, "server_error"),
    (errors.csrf_failure, ("CSRF cookie not set.",), 403, "csrf_failed"),
]


@pytest.mark.parametrize(("handler", "arguments", "status", "code"), HANDLERS)
def test_below_api_errors_have_the_one_shape(handler: Any, arguments: tuple[Any, ...], status: int, code: str) -> None:
    import json

    response = handler(RequestFactory().get("/api/v1/anything"), *arguments)
    body = json.loads(response.content)
    assert (response.status_code, list(body), body["code"]) == (status, ["code", "detail"], code)


@pytest.mark.parametrize(("handler", "arguments", "status", "code"), HANDLERS)
def test_elsewhere_errors_are_pages_that_say_what_to_do_without_a_context_processor(
    handler: Any, arguments: tuple[Any, ...], status: int, code: str, settings: Any, text: Text
) -> None:
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "OPTIONS": {"context_processors": ["nowhere.that_exists"]}},
    ]
    request = HttpRequest()
    request.path = request.path_info = "/settings/anything/"
    response = handler(request, *arguments)
    assert response.status_code == status
    assert f"Error {status}" in text(response)
    assert "Go to the first page" in text(response)
    assert "Traceback" not in text(response)


def test_an_unknown_address_is_a_page_without_a_query(text: Text) -> None:
    response = Client().get("/nowhere/")
    assert response.status_code == 404
    assert "There is nothing at this address." in text(response)


def test_an_unknown_host_name_is_a_page(text: Text) -> None:
    response = Client().get("/login/", headers={"host": "evil.example.com"})
    assert response.status_code == 400
    assert "The request could not be read." in text(response)
    assert "evil.example.com" not in text(response)


def test_a_broken_page_shows_no_traceback_and_no_message(operator: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the secret detail")

    monkeypatch.setattr("console.views.deployment_page", broken)
    operator.raise_request_exception = False
    response = operator.get("/settings/deployment/")
    assert response.status_code == 500
    assert "This request failed." in text(response)
    assert "secret detail" not in text(response)
    assert response.headers["Content-Security-Policy"]


# ── The database is away ─────────────────────────────────────────────────────────────────────────────────────────────
PUBLIC = ("All outbound HTTP is blocked except to private/loopback/link-local addresses", "mirror.example.internal", "http://ollama:11434/v1")
HIDDEN = ("api-2", "0.1.0", "otx", "kev", "AISOC_AIRGAPPED", "planted", "operator")


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.process.socket.gethostname", lambda: "api-2")


@pytest.mark.django_db
@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("path", ["/settings/deployment/", "/settings/feeds/", "/settings/feeds/feeds.json", "/settings/egress/", "/login/"])
@pytest.mark.parametrize("who", ["anonymous", "unknown session", "operator"])
def test_without_the_database_every_page_is_503_unknown_and_public_only(
    path: str, who: str, reader: Callable[..., Client], database_away: Callable[[], Any], text: Text
) -> None:
    client = reader("operator") if who == "operator" else Client()
    if who == "unknown session":
        client.cookies["sessionid"] = "abcdefghijklmnopqrstuvwxyz012345"
    with database_away():
        response = client.get(path)
    page = text(response)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    assert response.headers["Cache-Control"] == "no-store"
    assert "UNKNOWN The database is away, so this page cannot be computed." in page
    for words in PUBLIC:
        assert words in page
    for words in HIDDEN:
        assert words not in page


@pytest.mark.django_db
@pytest.mark.usefixtures("sealed")
def test_without_the_database_a_guard_that_does_not_hold_is_told_all_the_same(
    guarded: Callable[..., None], database_away: Callable[[], Any], text: Text
) -> None:
    guarded("report")
    with database_away():
        assert "Process guard: report. It logs and counts, and stops nothing." in text(Client().get("/settings/deployment/"))


@pytest.mark.django_db
@pytest.mark.usefixtures("sealed")
def test_without_the_database_admin_and_api_are_503_too(operator: Client, database_away: Callable[[], Any], text: Text) -> None:
    operator.raise_request_exception = False
    with database_away():
        page = operator.get("/admin/")
        api = operator.get("/api/v1/threatintel/feeds")
    assert page.status_code == 503
    assert "The database is away" in text(page)
    assert (api.status_code, api.json()["code"], api.headers["Retry-After"]) == (503, "database_away", "10")


def test_a_broken_constraint_is_a_fault_and_no_missing_database(operator: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise IntegrityError("duplicate key")

    monkeypatch.setattr("console.views.deployment_page", broken)
    operator.raise_request_exception = False
    response = operator.get("/settings/deployment/")
    assert response.status_code == 500
    assert "duplicate key" not in text(response)


@pytest.mark.django_db
@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("path", ["/login/", "/logout/", "/settings/feeds/kev/poll/", "/settings/deployment/processes/x/forget/"])
def test_without_the_database_forms_are_503_too(path: str, operator: Client, database_away: Callable[[], Any], text: Text) -> None:
    with database_away():
        response = operator.post(path, {"username": "alice", "password": "x"})
    assert response.status_code == 503
    assert "The database is away" in text(response)


@pytest.mark.django_db
@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("connection already closed")])
def test_a_reader_already_known_sees_the_feeds_as_far_as_settings_say(
    error: Exception, operator: Client, text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise error

    monkeypatch.setattr("console.feeds.feeds_snapshot", gone)
    response = operator.get("/settings/feeds/")
    page = text(response)
    assert response.status_code == 503
    assert "UNKNOWN The state of the feeds could not be computed." in page
    assert "UNKNOWN The state of this feed is kept in the database, which is away. not known not known not known –every 24 h not known" in page
    assert "REFUSED otx.alienvault.com is a public name and not on AISOC_AIRGAP_ALLOWLIST." in page
    assert operator.get("/settings/feeds/feeds.md").status_code == 503
    download = operator.get("/settings/feeds/feeds.json")
    assert download.status_code == 503
    assert [one["indicators"] for one in download.json()["results"]] == [None] * 5


@pytest.mark.django_db
@pytest.mark.usefixtures("sealed")
def test_an_unconfigured_feed_stays_off_without_the_database(
    operator: Client, environment: Callable[..., object], text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OperationalError("gone")

    environment(AISOC_AIRGAPPED="1")
    monkeypatch.setattr("console.feeds.feeds_snapshot", gone)
    page = text(operator.get("/settings/feeds/"))
    assert "OFF Not configured. Set OTX_API_KEY" in page


@pytest.mark.django_db
def test_the_chrome_asks_no_database(rf: RequestFactory) -> None:
    from django.db import connection

    from console.context import chrome

    with CaptureQueriesContext(connection) as queries:
        around = chrome(rf.get("/anything/"))["chrome"]
        assert (around.witness, around.user, around.acting, around.nav) == (None, "", None, ())
    assert len(queries) == 0
