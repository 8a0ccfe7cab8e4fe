"""The cursor of a list of the API: whatever somebody makes of it is answered, and none of it by a 500."""

from base64 import b64encode

import pytest
from django.test import Client

from tenants.accounts import issue_token
from tenants.roles import Role

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["iocs/search", "actions/deliveries"])
@pytest.mark.parametrize("position", ["abc", "", "1.5", "\0", "inf", "9" * 30, "9" * 5000, "-1", "²", "2026-01-01"])
def test_a_cursor_with_a_key_that_is_none_is_answered(path: str, position: str) -> None:
    headers = {"Authorization": f"Token {issue_token('olga', Role.OPERATOR, 1)}"}
    for query in (f"p={position}", f"r=1&p={position}", f"o=1&p={position}"):
        response = Client().get(f"/api/v1/{path}", {"cursor": b64encode(query.encode()).decode()}, headers=headers)
        assert response.status_code in (200, 404)
        assert response.json().keys() == ({"results", "next"} if response.status_code == 200 else {"code", "detail"})
