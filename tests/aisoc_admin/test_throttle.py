"""Guessing passwords ends after a few attempts, for everybody's processes at once, and a user is not locked out by another address."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from django.utils import timezone
from structlog.testing import capture_logs

from aisoc_admin import throttle
from aisoc_admin.expiry import remove_expired
from aisoc_admin.models import LoginAttempts

pytestmark = pytest.mark.django_db
PASSWORD = "correct-horse-9"


@pytest.fixture(autouse=True)
def _alice(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes its time, on purpose
    get_user_model().objects.create_superuser("alice", password=PASSWORD)


def sign_in(name: str = "alice", password: str = PASSWORD, address: str = "192.0.2.1", path: str = "/login/") -> int:
    return Client(REMOTE_ADDR=address).post(path, {"username": name, "password": password}).status_code


def test_the_right_password_does_not_help_after_five_wrong_ones() -> None:
    assert [sign_in(password=f"wrong-{number}") for number in range(5)] == [200] * 5
    with capture_logs() as logs:
        assert sign_in() == 429
    assert logs == [{"event": "login.throttled", "log_level": "warning", "address": "192.0.2.1", "attempts": 6, "limit": 5}]
    response = Client(REMOTE_ADDR="192.0.2.1").post("/login/", {"username": "alice", "password": PASSWORD})
    assert "Too many attempts to sign in. Try again in 15 min." in response.content.decode()
    assert sign_in(address="192.0.2.2") == 302, "from elsewhere the user gets in"
    assert sign_in(name="bob") == 200, "and the address may try another name"


def test_the_admin_has_the_same_limit() -> None:
    for number in range(5):
        sign_in(password=f"wrong-{number}", path="/admin/login/")
    assert sign_in(path="/admin/login/") == 200, "the form again"
    assert sign_in() == 429


def test_one_password_tried_on_many_names_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "OF_ONE_ADDRESS", 8)
    assert [sign_in(name=f"user-{number}", password="spring-2026") for number in range(8)] == [200] * 8
    assert sign_in() == 429
    assert sign_in(address="192.0.2.2") == 302


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    for number in range(5):
        sign_in(password="wrong", address=f"2001:db8::{number}")
    assert sign_in(address="2001:db8::ffff") == 429
    assert sign_in(address="2001:db8:0:1::1") == 302


def test_logins_that_go_well_are_no_guesses() -> None:
    assert [sign_in() for _ in range(7)] == [302] * 7
    assert LoginAttempts.objects.count() == 1
    assert LoginAttempts.objects.get().count == 0


def test_the_window_ends_and_its_rows_go() -> None:
    for number in range(6):
        sign_in(password=f"wrong-{number}")
    LoginAttempts.objects.update(since=timezone.now() - throttle.WINDOW + timedelta(seconds=5))
    assert sign_in() == 429
    LoginAttempts.objects.update(since=timezone.now() - throttle.WINDOW - timedelta(seconds=1))
    assert sign_in() == 302
    LoginAttempts.objects.update(since=timezone.now() - throttle.WINDOW - timedelta(seconds=1))
    remove_expired()
    assert not LoginAttempts.objects.exists()


def test_what_was_typed_is_not_stored() -> None:
    sign_in(name="hunter2-in-the-wrong-field", password="x")
    assert "hunter2" not in str(list(LoginAttempts.objects.values()))


@pytest.mark.django_db(transaction=True)
def test_attempts_made_at_once_are_counted_before_any_is_looked_at() -> None:
    def attempt(number: int) -> int:
        try:
            return sign_in(password=f"wrong-{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as threads:
        assert Counter(threads.map(attempt, range(10))) == {200: 5, 429: 5}
