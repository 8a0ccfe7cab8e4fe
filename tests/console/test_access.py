"""Who may open which page."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from airgap.policy import EgressPolicy
from console.nav import blocked_attempts
from tests.airgap.trail import drained, event

PAGES = [
    reverse(f"console:{page}{form}")
    for page in ("deployment", "feeds", "egress")
    for form in ("", "_json", "_md")
] + [reverse("console:indicators"), reverse("console:many"), reverse("console:feed", args=("kev",))]  # fmt: skip
Text = Callable[[Any], str]
pytestmark = pytest.mark.django_db


def test_the_root_goes_to_the_first_page() -> None:
    assert Client().get("/").headers["Location"] == "/settings/deployment/"


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_reader_is_sent_to_the_login_page(page: str) -> None:
    response = Client().get(f"{page}?host=a")
    assert response.status_code == 302
    assert response.headers["Location"] == f"/login/?next={page}%3Fhost%3Da"


@pytest.mark.parametrize("role", ["operator", "auditor"])
@pytest.mark.parametrize("page", PAGES)
def test_each_role_reads_each_page(page: str, role: str, reader: Callable[..., Client]) -> None:
    response = reader(role).get(page)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("page", PAGES)
def test_a_user_without_a_role_sees_a_clear_403(page: str, reader: Callable[..., Client], text: Text) -> None:
    response = reader(None).get(page)
    assert response.status_code == 403
    assert "Your account has no role yet." in text(response)
    assert "You are signed in as nobody-1." in text(response)
    assert "Sign out" in text(response)
    assert "cisa" not in response.content.decode().lower()


def test_a_deactivated_user_is_sent_to_the_login_page(reader: Callable[..., Client]) -> None:
    from django.contrib.auth.models import User

    client = reader("operator")
    User.objects.update(is_active=False)
    assert client.get(PAGES[0]).status_code == 302


def test_login_leads_to_the_page_that_was_asked_for(reader: Callable[..., Client]) -> None:
    reader("auditor")
    client = Client()
    form = {"username": "auditor-1", "password": "correct-horse-9"}
    response = client.post("/login/", {**form, "next": "/settings/feeds/"})
    assert response.headers["Location"] == "/settings/feeds/"
    assert client.get("/settings/feeds/").status_code == 200


def test_login_never_leads_to_another_host(reader: Callable[..., Client]) -> None:
    reader("auditor")
    form = {"username": "auditor-1", "password": "correct-horse-9", "next": "https://evil.example.com/"}
    assert Client().post("/login/", form).headers["Location"] == "/"


def test_a_wrong_password_is_named_next_to_the_fields(text: Text) -> None:
    response = Client().post("/login/", {"username": "alice", "password": "wrong"})
    assert response.status_code == 200
    assert "Please enter a correct username and password" in text(response)
    assert 'aria-describedby="problem"' in response.content.decode()
    assert 'value="alice"' in response.content.decode()


def test_the_login_page_names_neither_node_nor_version(text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.process.socket.gethostname", lambda: "secret-node-1")
    page = text(Client().get("/login/"))
    assert "secret-node-1" not in page
    assert "0.1.0" not in page


def test_logout_is_a_post_with_a_token_and_ends_the_session(reader: Callable[..., Client]) -> None:
    client = reader("operator")
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert client.get("/settings/deployment/").status_code == 302


def test_navigation_shows_admin_to_staff_only(reader: Callable[..., Client]) -> None:
    assert 'href="/admin/"' in reader("operator", staff=True).get(PAGES[0]).content.decode()
    assert 'href="/admin/"' not in reader("auditor").get(PAGES[0]).content.decode()


def test_navigation_leaves_out_a_page_that_does_not_exist(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from console import nav

    monkeypatch.setattr(nav, "NAVIGATION", (*nav.NAVIGATION, nav.NavEntry("Not built yet", "console:not_built_yet")))
    page = operator.get(PAGES[0])
    assert page.status_code == 200
    assert "Not built yet" not in page.content.decode()


@pytest.mark.usefixtures("sealed")
def test_navigation_marks_the_page_and_counts_refused_feeds(operator: Client, text: Text) -> None:
    page = operator.get("/settings/feeds/")
    assert '<a href="/settings/feeds/" aria-current="page">' in page.content.decode()
    assert "Threat-intel feeds 1 refused" in text(page)


def test_a_count_of_zero_is_shown(operator: Client, text: Text) -> None:
    assert "Threat-intel feeds 0 refused" in text(operator.get("/settings/deployment/"))


def test_the_attempts_of_a_day_are_counted_beside_their_page(operator: Client, text: Text, database_away: Callable[[], Any]) -> None:
    assert "Blocked egress 0 in 24 h" in text(operator.get(PAGES[0]))
    drained(event(minute=timezone.now().replace(second=0, microsecond=0), count=1400))
    assert "Blocked egress 1,400 in 24 h" in text(operator.get("/settings/feeds/"))
    with database_away():
        assert blocked_attempts() == "unknown"


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("page", ["/settings/deployment/", "/settings/feeds/", "/settings/egress/"])
@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (("report", True), "Air gap: on Guard: report"),
        (("off", False), "Air gap: on Guard: off"),
        (("enforce", False), "Air gap: on Guard: not working"),
        (("enforce", True), "Air gap: on Times"),
    ],
)
def test_a_guard_that_does_not_hold_stands_in_the_header_of_every_page(
    guard: tuple[str, bool], words: str, page: str, auditor: Client, text: Text, guarded: Callable[..., None]
) -> None:
    mode, works = guard
    guarded(mode, active=works, selftest=works)
    assert words in text(auditor.get(page))


@pytest.mark.usefixtures("sealed")
def test_the_header_says_air_gap_node_and_role_in_words(auditor: Client, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.process.socket.gethostname", lambda: "api-2")
    page = text(auditor.get("/settings/feeds/"))
    assert "Node api-2 Air gap: on" in page
    assert "auditor-1 Auditor, all tenants" in page


def test_the_admin_says_the_state_of_the_air_gap_and_of_a_guard_that_does_not_enforce(
    airgapped: Callable[..., EgressPolicy], settings: Any, admin_client: Client
) -> None:
    airgapped()
    assert "Air gap: on" in admin_client.get("/admin/").content.decode()
    settings.AIRGAP_GUARD = "off"
    body = admin_client.get("/admin/").content.decode()
    assert "Air gap: on · ! " in body
    assert "Guard: off" in body
