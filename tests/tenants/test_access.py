"""Roles and tokens: an anonymous call is 401, an auditor reads everything and changes nothing, a token is stored hashed."""

import io
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tenants.accounts import first_login, issue_token
from tenants.models import ApiToken, Membership
from tenants.roles import Role

pytestmark = pytest.mark.django_db


def get(path: str, token: str) -> int:
    return Client().get(path, headers={"Authorization": f"Token {token}"}).status_code


def made_token(*args: str) -> str:
    out = io.StringIO()
    call_command("create_token", *args, stdout=out)
    return out.getvalue().splitlines()[-1]


def test_create_token_prints_a_token_that_works() -> None:
    token = made_token("alice", "--role", "operator")
    assert get("/api/v1/threatintel/feeds", token) == 200
    assert get("/api/v1/iocs/search?value=CVE-2025-48384", token) == 200


def test_the_token_is_stored_as_a_digest_only() -> None:
    token = made_token("alice", "--role", "auditor")
    row = ApiToken.objects.get()
    assert token not in (row.digest, row.token_key)
    assert len(row.token_key) == 15
    assert token[15:] not in str(vars(row))


def test_an_auditor_reads_and_changes_nothing() -> None:
    token = issue_token("olga", Role.AUDITOR, 1)
    assert get("/api/v1/threatintel/feeds", token) == 200
    response = Client().post("/api/v1/threatintel/feeds/kev/poll", headers={"Authorization": f"Token {token}"})
    assert response.status_code == 403
    assert response.json()["code"] == "permission_denied"


@pytest.mark.parametrize("token", ["", "rubbish", "ü", "a b", "0" * 64, "\xff"])
def test_a_wrong_token_is_401(token: str) -> None:
    made_token("alice", "--role", "operator")
    response = Client().get("/api/v1/threatintel/feeds", HTTP_AUTHORIZATION=f"Token {token}")
    assert response.status_code == 401
    assert set(response.json()) == {"code", "detail"}


def test_an_expired_token_is_401() -> None:
    token = issue_token("alice", Role.OPERATOR, 1)
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert get("/api/v1/threatintel/feeds", token) == 401


def test_a_token_never_gives_more_than_its_role_and_never_more_than_its_user_has() -> None:
    auditor = issue_token("alice", Role.AUDITOR, 1)
    operator = issue_token("alice", Role.OPERATOR, 1)
    assert Client().post("/api/v1/threatintel/feeds/nope/poll", headers={"Authorization": f"Token {auditor}"}).status_code == 403
    assert Client().post("/api/v1/threatintel/feeds/nope/poll", headers={"Authorization": f"Token {operator}"}).status_code == 404
    Membership.objects.filter(role=Role.OPERATOR).delete()
    assert get("/api/v1/threatintel/feeds", operator) == 403


def test_a_user_who_is_switched_off_is_out() -> None:
    token = issue_token("alice", Role.OPERATOR, 1)
    get_user_model().objects.update(is_active=False)
    assert get("/api/v1/threatintel/feeds", token) == 401


def test_a_session_without_a_role_is_403() -> None:
    client = Client()
    client.force_login(get_user_model().objects.create_user("bob"))
    assert client.get("/api/v1/threatintel/feeds").status_code == 403


@pytest.mark.parametrize("arguments", [("alice", "--role", "operator", "--days", "0"), ("al ice!", "--role", "operator"), ("", "--role", "auditor")])
def test_create_token_refuses_bad_arguments(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        made_token(*arguments)
    assert not ApiToken.objects.exists()


def test_a_user_made_for_a_token_cannot_log_in_with_a_password() -> None:
    issue_token("robot", Role.AUDITOR, 1)
    assert not get_user_model().objects.get().has_usable_password()


def test_the_first_login_is_made_once() -> None:
    made = first_login()
    assert made is not None
    username, password = made
    assert len(password) >= 20
    assert Client().login(username=username, password=password)
    assert first_login() is None
