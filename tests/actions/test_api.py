"""CONTRACTS.md 2.8: channels, a notification, and what came of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from actions import dispatch, tasks
from actions.models import Delivery
from tenants.accounts import issue_token
from tenants.roles import Role
from tests.plugins.receiver import Receiver

Environment = Callable[..., Any]
BODY = {"channel": "slack", "title": "Drift", "message": "worker-2", "severity": "high", "link": "https://aisoc.corp/x", "idempotency_key": "case-7"}
pytestmark = pytest.mark.django_db(transaction=True)


class Caller:
    """Calls the API with a token of one role; `sent`: the deliveries whose task went to the broker."""

    def __init__(self, role: Role, sent: list[Any]) -> None:
        self.headers = {"Authorization": f"Token {issue_token(f'{role.value}-1', role, 1)}"}
        self.sent = sent

    def notify(self, body: Any = None, **parts: Any) -> Any:
        return Client().post("/api/v1/actions/notify", body or {**BODY, **parts}, content_type="application/json", headers=self.headers)

    def get(self, path: str) -> Any:
        return Client().get(f"/api/v1/actions/{path}", headers=self.headers)


@pytest.fixture
def caller(environment: Environment, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Callable[[Role], Caller]:
    environment(
        AISOC_AIRGAPPED="1",
        SLACK_WEBHOOK_URL=f"{receiver.url}/pl4nted-token",
        PAGERDUTY_ROUTING_KEY="pl4nted-key",
        EMAIL_URL="smtp://u:pl4nted@mail.corp",
    )
    sent: list[Any] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: sent.append(options["args"][0]))
    return lambda role: Caller(role, sent)


@pytest.fixture
def operator(caller: Callable[[Role], Caller]) -> Caller:
    return caller(Role.OPERATOR)


def test_a_notification_is_taken_kept_and_sent(operator: Caller, receiver: Receiver) -> None:
    answer = operator.notify()
    assert answer.status_code == 202
    number = answer.json()["delivery"]
    assert answer.json() == {"delivery": number}
    assert operator.sent == [number]
    assert operator.get(f"deliveries/{number}").json()["state"] == "queued"
    dispatch.deliver(number)
    found = operator.get(f"deliveries/{number}").json()
    assert (found["state"], found["attempts"], found["reason"]) == ("sent", 1, "")
    assert (found["channel"], found["origin"]) == ("slack", "operator-1")
    assert receiver.keys == ["case-7"]


def test_the_same_key_is_the_same_delivery_and_another_message_is_422(operator: Caller) -> None:
    first = operator.notify().json()["delivery"]
    assert operator.notify().json() == {"delivery": first}
    other = operator.notify(title="Something else")
    assert other.status_code == 422
    assert (other.json()["code"], other.json()["field"]) == ("key_taken", "idempotency_key")
    assert Delivery.objects.count() == 1


def test_without_a_key_each_call_is_a_delivery(operator: Caller) -> None:
    body = {"channel": "slack", "title": "Drift"}
    assert operator.notify(body).json() != operator.notify({**body, "link": None, "idempotency_key": None}).json()


def test_a_channel_without_a_destination_is_failed_and_no_task_is_sent(operator: Caller) -> None:
    number = operator.notify(channel="mail").json()["delivery"]
    found = operator.get(f"deliveries/{number}").json()
    assert found["state"] == "failed"
    assert "Not configured" in found["reason"]
    assert operator.sent == []


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"channel": "slcak"}, "channel"),
        ({"channel": ""}, "channel"),
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"title": ["x"]}, "title"),
        ({"message": "x" * 4001}, "message"),
        ({"severity": "loud"}, "severity"),
        ({"link": "javascript:alert(1)"}, "link"),
        ({"link": "https://u:p@aisoc.corp/"}, "link"),
        ({"link": "https://aisoc.corp/|evil>"}, "link"),
        ({"link": "https://aisoc.corp/ü"}, "link"),
        ({"idempotency_key": "x" * 201}, "idempotency_key"),
        ({"idempotency_key": "ü"}, "idempotency_key"),
        ({"idempotency_key": "a\r\nb"}, "idempotency_key"),
        ({"idempotencykey": "case-7"}, "idempotencykey"),
    ],
)
def test_bad_input_names_its_field(operator: Caller, parts: dict[str, Any], field: str) -> None:
    answer = operator.notify(**parts)
    assert answer.status_code == 400
    body = answer.json()
    assert set(body) == {"code", "detail", "field"}
    assert body["field"] == field
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(("content", "status"), [(b"[]", 400), (b"{", 400), (b'"x"', 400), (b"[" * 50_000, 400), (b"{" + b" " * 70_000 + b"}", 413)])
def test_a_body_that_is_no_object_of_a_bounded_size_is_refused(operator: Caller, content: bytes, status: int) -> None:
    answer = Client().post("/api/v1/actions/notify", content, content_type="application/json", headers=operator.headers)
    assert answer.status_code == status
    assert {"code", "detail"} <= set(answer.json())


def test_text_that_no_database_takes_is_kept_readable(operator: Caller) -> None:
    body = b'{"channel": "slack", "title": "a\\u0007b", "message": "x\\u0007\\u202ey\\ud800"}'
    answer = Client().post("/api/v1/actions/notify", body, content_type="application/json", headers=operator.headers)
    assert answer.status_code == 202
    row = Delivery.objects.get()
    assert (row.title, row.text) == ("a?b", "x??y\ufffd")


def test_an_auditor_reads_everything_and_sends_nothing(caller: Callable[[Role], Caller], operator: Caller) -> None:
    number = operator.notify().json()["delivery"]
    auditor = caller(Role.AUDITOR)
    assert auditor.notify().status_code == 403
    for path in ("channels", "deliveries", f"deliveries/{number}"):
        assert auditor.get(path).status_code == 200
        assert Client().get(f"/api/v1/actions/{path}").status_code == 401
    assert Client().post("/api/v1/actions/notify", BODY, content_type="application/json").status_code == 401


@pytest.mark.parametrize("number", ["0", "x", "-1", "9" * 30, "²"])
def test_a_delivery_that_is_not_there_is_404(operator: Caller, number: str) -> None:
    assert operator.get(f"deliveries/{number}").status_code == 404


def test_channels_say_what_the_gate_says_and_show_no_more_of_a_url_than_its_host(operator: Caller) -> None:
    number = operator.notify().json()["delivery"]
    dispatch.deliver(number)
    answer = operator.get("channels")
    assert list(answer.json()) == ["results", "next"]
    found = {one["name"]: one for one in answer.json()["results"]}
    assert list(found) == ["slack", "teams", "webhook", "pagerduty", "opsgenie", "mail"]
    slack, teams, pagerduty = found["slack"], found["teams"], found["pagerduty"]
    assert (slack["configured"], slack["host"], slack["allowed"], slack["rule"]) == (True, "127.0.0.1", True, "private_address")
    assert (slack["last_delivery"]["delivery"], slack["last_delivery"]["state"]) == (number, "sent")
    assert (teams["configured"], teams["host"], teams["allowed"], teams["rule"], teams["last_delivery"]) == (False, None, None, None, None)
    assert teams["reason"] == "Not configured. Set TEAMS_WEBHOOK_URL."
    assert (pagerduty["host"], pagerduty["allowed"], pagerduty["rule"]) == ("events.pagerduty.com", False, "public")
    assert "pl4nted" not in answer.content.decode()


def test_deliveries_are_listed_latest_first_and_filtered(operator: Caller) -> None:
    numbers = [operator.notify(channel=name).json()["delivery"] for name in ("slack", "mail")]
    assert [one["delivery"] for one in operator.get("deliveries").json()["results"]] == numbers[::-1]
    assert [one["delivery"] for one in operator.get("deliveries?channel=slack").json()["results"]] == numbers[:1]
    assert [one["delivery"] for one in operator.get("deliveries?state=failed").json()["results"]] == numbers[1:]
    assert operator.get("deliveries?state=lost").json()["field"] == "state"
    assert operator.get("deliveries?page_size=1").json()["next"]
