"""Channels: states, deliveries with their reasons, the one button, and nothing of a URL but its host."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from actions import tasks
from actions.models import Delivery
from actions.registry import notifiers
from console.advice import CHANNELS
from tests.actions.samples import SECRET, VARIABLES, delivered

URL = "/settings/channels/"
Text = Callable[[Any], str]
Environment = Callable[..., Any]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def configured(environment: Environment) -> None:
    environment(**VARIABLES)


def states(page: Any) -> dict[str, str]:
    return {row.channel.name: row.state.value for row in page.context["page"].rows}


def test_without_any_delivery_the_gate_and_the_settings_speak(auditor: Client, text: Text) -> None:
    page = auditor.get(URL)
    assert states(page) == {
        "slack": "UNKNOWN", "teams": "REFUSED", "webhook": "UNKNOWN", "pagerduty": "REFUSED", "opsgenie": "OFF", "mail": "UNKNOWN"
    }  # fmt: skip
    shown = text(page)
    assert "UNKNOWN 5 channels configured · 2 refused by the gate · 1 off." in shown
    assert "contoso.webhook.office.com is a public name and not on AISOC_AIRGAP_ALLOWLIST." in shown
    assert "Not configured. Set OPSGENIE_API_KEY, and OPSGENIE_URL for a relay inside." in shown
    assert "Nothing was sent yet." in shown
    assert "AISOC_NOTIFY_CHANNEL is not set" in shown


@pytest.mark.parametrize(
    ("state", "values", "verdict", "said"),
    [
        ("sent", {}, "OK", "–"),
        ("sent", {"reason": "The relay refused 1 of 2 receivers."}, "OK", "refused 1 of 2"),
        ("failed", {"reason": "HTTP 400 from slack-relay.corp."}, "FAILING", "HTTP 400 from slack-relay.corp."),
        ("refused", {"reason": "Public answer.", "rule": "private_name_public_answer"}, "REFUSED", "Public answer."),
        ("queued", {"reason": "HTTP 500 from slack-relay.corp."}, "ATTENTION", "It is tried again. HTTP 500"),
        ("queued", {"attempts": 0, "minutes_ago": 0}, "UNKNOWN", "waits for the worker"),
        ("queued", {"attempts": 0, "minutes_ago": 5}, "ATTENTION", "no worker takes it"),
    ],
)
def test_the_last_delivery_is_the_state_of_a_channel(
    auditor: Client, text: Text, state: str, values: dict[str, Any], verdict: str, said: str
) -> None:
    delivered("slack", "failed", minutes_ago=60, reason="long ago")
    delivered("slack", state, **values)
    page = auditor.get(URL)
    assert states(page)["slack"] == verdict
    assert said in text(page)


def test_the_banner_is_the_worst_of_what_may_send(auditor: Client, text: Text) -> None:
    delivered("slack", "failed", reason="HTTP 400 from slack-relay.corp.")
    delivered("mail", "sent")
    assert "FAILING 5 channels configured, 1 of them needs attention · 2 refused by the gate · 1 off." in text(auditor.get(URL))


def test_no_channel_at_all_is_off_and_not_green(auditor: Client, environment: Environment, text: Text) -> None:
    environment()
    assert "OFF No channel is configured: nobody is told anything." in text(auditor.get(URL))


@pytest.mark.parametrize(("channel", "said"), [("teams", "is refused by the gate"), ("opsgenie", "is not configured")])
def test_what_the_product_tells_nobody_hears_is_failing(auditor: Client, environment: Environment, text: Text, channel: str, said: str) -> None:
    environment(**VARIABLES, AISOC_NOTIFY_CHANNEL=channel, AISOC_NOTIFY_EVENTS="drift,egress")
    page = text(auditor.get(URL))
    assert f"AISOC_NOTIFY_CHANNEL names {channel}, which {said}" in page
    assert "FAILING 5 channels configured" in page
    assert "drift, egress" in page


def test_deliveries_are_filtered_and_paged(auditor: Client, text: Text) -> None:
    for number in range(30):
        delivered("slack" if number % 2 else "mail", "sent", title=f"Message {number}", minutes_ago=30 - number)
    first = auditor.get(URL)
    assert len(first.context["page"].deliveries) == 25
    older = auditor.get(f"{URL}?before={first.context['page'].older}")
    assert [one.row.title for one in older.context["page"].deliveries] == [f"Message {number}" for number in (4, 3, 2, 1, 0)]
    assert "Newest" in text(older)
    assert {one.row.channel for one in auditor.get(f"{URL}?channel=slack").context["page"].deliveries} == {"slack"}
    assert "No delivery matches this filter." in text(auditor.get(f"{URL}?state=failed"))
    assert len(auditor.get(f"{URL}?channel=x&state=x&before=x").context["page"].deliveries) == 25


@pytest.mark.parametrize("form", ["", "channels.json", "channels.md"])
def test_nothing_of_a_url_but_its_host_is_shown(operator: Client, form: str) -> None:
    delivered("slack", "sent", title="http://evil.example/x", origin="http://evil.example/")
    content = operator.get(URL + form).content.decode()
    assert "slack-relay.corp" in content
    assert "soar.corp" in content
    assert "mail.corp" in content
    assert SECRET not in content
    if form != "channels.json":
        assert "http://evil.example" not in content


def test_an_operator_sends_a_test_and_an_auditor_has_no_button(
    operator: Client, reader: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, text: Text
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: sent.append(options["args"]))
    answer = operator.post(f"{URL}slack/test/")
    row = Delivery.objects.get()
    assert (answer.headers["Location"], sent) == (URL, [(row.pk,)])
    assert (row.channel, row.origin, row.title) == ("slack", "operator-1", "Test of this channel")
    assert f"Test of Slack asked for (delivery {row.pk})" in text(operator.get(URL))
    auditor = reader("auditor")
    assert "Send a test" not in text(auditor.get(URL))
    assert auditor.post(f"{URL}slack/test/").status_code == 403
    assert Client().post(f"{URL}slack/test/").status_code == 302
    assert Delivery.objects.count() == 1


def test_a_test_that_cannot_be_sent_says_so(operator: Client, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: Any) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(tasks.deliver, "apply_async", away)
    answers = [operator.post(f"{URL}{name}/test/") for name in ("slack", "opsgenie")]
    told = [str(message) for answer in answers for message in get_messages(answer.wsgi_request)]
    assert "the broker did not answer" in told[0]
    assert "The test of Opsgenie failed: Not configured." in told[-1]
    assert operator.post(f"{URL}smoke/test/").status_code == 404
    assert operator.get(f"{URL}slack/test/").headers["Location"] == URL


def test_without_the_database_the_settings_alone_are_shown(auditor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("console.channels.channels_snapshot", away)
    page = auditor.get(URL)
    assert page.status_code == 503
    body = page.content.decode()
    assert "The state of the channels could not be computed." in body
    assert states(page)["teams"] == "REFUSED"
    assert "kept in the database, which is away" in body
    assert "Send a test" not in body


def test_the_advice_on_blocked_egress_knows_every_channel() -> None:
    assert {row.name: row.variables[0] for row in notifiers()} == CHANNELS
