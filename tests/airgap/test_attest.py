"""Who may vouch for what, and what becomes of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from airgap import attest
from airgap.attest import AttestError
from airgap.models import Attestation
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.airgap.fleet import checked

pytestmark = pytest.mark.django_db
URL = "/api/v1/airgap/checklist/{}/{}"


@pytest.fixture
def post() -> Any:
    tokens = {role: issue_token(f"{role.value}-1", role, 1) for role in (Role.OPERATOR, Role.AUDITOR)}

    def ask(item: str, body: Any, *, role: Role | None = Role.OPERATOR, verb: str = "attest") -> Any:
        headers = {"Authorization": f"Token {tokens[role]}"} if role else {}
        return Client().post(URL.format(item, verb), body, content_type="application/json", headers=headers)

    return ask


def test_an_operator_attests_with_note_ticket_and_days(post: Any) -> None:
    answer = post("firewall", {"note": "rule 12 of fw-1", "ticket": "CHG-1", "days": 30})
    assert answer.status_code == 201
    row = Attestation.objects.get()
    assert (row.by, row.ticket, row.expires_at - row.at) == ("operator-1", "CHG-1", timedelta(days=30))
    assert answer.json()["item"] == "firewall"
    assert checked("firewall").verdict == "OK"


def test_ninety_days_are_the_default(post: Any) -> None:
    assert post("firewall", {"note": "seen"}).status_code == 201
    row = Attestation.objects.get()
    assert row.expires_at - row.at == timedelta(days=90)


def test_an_auditor_attests_nothing_and_nobody_is_401(post: Any) -> None:
    assert post("firewall", {"note": "seen"}, role=Role.AUDITOR).status_code == 403
    assert post("firewall", {"note": "seen"}, role=None).status_code == 401
    assert post("api_airgap", {"note": "seen"}, role=Role.AUDITOR, verb="accept").status_code == 403
    assert not Attestation.objects.exists()


@pytest.mark.parametrize(
    "item", ["api_airgap", "threatintel_airgap", "llm_internal", "no_public_llm_keys", "feeds_internal", "no_blocks", "trail_verified"]
)
def test_an_automatic_item_cannot_be_ticked_by_hand(item: str, post: Any) -> None:
    answer = post(item, {"note": "it is fine"})
    assert (answer.status_code, answer.json()["code"]) == (422, "automatic")
    assert "cannot be ticked by hand" in answer.json()["detail"]
    assert not Attestation.objects.exists()


def test_no_such_item_is_404(post: Any) -> None:
    assert post("rubbish", {"note": "seen"}).status_code == 404
    assert post("rubbish", {"note": "seen"}, verb="accept").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "note"),
        ({"note": " \n"}, "note"),
        ({"note": 7}, "note"),
        ({"note": "x" * 4001}, "note"),
        ({"note": "a\u0000b"}, "note"),
        ({"note": "\u202eb"}, "note"),
        ({"note": "x", "ticket": "t" * 121}, "ticket"),
        ({"note": "x", "days": 0}, "days"),
        ({"note": "x", "days": 367}, "days"),
        ({"note": "x", "days": "90"}, "days"),
        ({"note": "x", "days": True}, "days"),
        ({"note": "x", "days": 1.5}, "days"),
        ({"note": "x", "evidence": "it was fine"}, "evidence"),
        ({"note": "x", "evidence": "e" * 20_001}, "evidence"),
        ([], None),
        ('"text"', None),
    ],
)
def test_bad_input_is_422_and_names_the_field(body: Any, field: str | None, post: Any) -> None:
    answer = post("firewall", body)
    assert answer.status_code == 422
    assert answer.json().get("field") == field
    assert set(answer.json()) == {"code", "detail"} | ({"field"} if field else set())
    assert not Attestation.objects.exists()


def test_a_failing_automatic_item_is_accepted_with_a_reason_and_stays_failing(deployment: Any, post: Any) -> None:
    deployment(OPENAI_API_KEY="k")
    assert post("no_public_llm_keys", {"note": "to be removed with CHG-2", "ticket": "CHG-2", "days": 14}, verb="accept").status_code == 201
    token = issue_token("olga", Role.AUDITOR, 1)
    body = Client().get("/api/v1/airgap/checklist", headers={"Authorization": f"Token {token}"}).json()
    (item,) = [one for one in body["items"] if one["id"] == "no_public_llm_keys"]
    assert (item["verdict"], item["accepted"]["note"], item["accepted"]["by"]) == ("FAILING", "to be removed with CHG-2", "operator-1")
    assert body["verdict"] == "FAILING"


def test_what_is_ok_or_not_known_cannot_be_accepted(deployment: Any, post: Any) -> None:
    assert post("api_airgap", {"note": "x"}, verb="accept").status_code == 409  # UNKNOWN: no process has a heartbeat
    deployment()
    answer = post("api_airgap", {"note": "x"}, verb="accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_accept")
    assert post("firewall", {"note": "x"}, verb="accept").status_code == 422


def test_what_was_attested_is_never_changed() -> None:
    row = attest.attest("firewall", by="alice", note="seen")
    with pytest.raises(TypeError):
        Attestation.objects.update(note="other")
    with pytest.raises(TypeError):
        Attestation.objects.all().delete()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE airgap_attestation SET note = 'other'")
    with pytest.raises(AttestError):
        attest.attest("firewall", by="alice", note="")
    assert Attestation.objects.get().note == row.note == "seen"
