"""What is posted has the form that each service publishes. docs/notifications.md names the sources of these schemas."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from actions.notifiers import opsgenie, pagerduty, slack, teams, webhook
from actions.posting import below
from actions.registry import notifier_named
from actions.specs import MAX_KEY, MAX_LINK, MAX_TEXT, MAX_TITLE, Message, Notifier
from airgap.announce import Severity
from tests.plugins.receiver import Receiver

Environment = Callable[..., Any]
Schema = Mapping[str, Any]
URL = {"type": "string", "pattern": "^https?://"}


def closed(properties: Schema, required: list[str] | None = None) -> Schema:
    """An object of these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(required or properties), "additionalProperties": False}


def text(most: int, kind: str = "plain_text") -> Schema:
    fields: dict[str, Any] = {"type": {"const": kind}, "text": {"type": "string", "minLength": 1, "maxLength": most}}
    return closed(fields | ({"emoji": {"type": "boolean"}} if kind == "plain_text" else {}))


SLACK: Schema = closed(
    {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "oneOf": [
                    closed({"type": {"const": "header"}, "text": text(150)}),
                    closed({"type": {"const": "section"}, "text": {"oneOf": [text(3000), text(3000, "mrkdwn")]}}),
                    closed({"type": {"const": "context"}, "elements": {"type": "array", "minItems": 1, "maxItems": 10, "items": text(2000)}}),
                ]
            },
        },
    }
)
TEXT_RUN: Schema = closed(
    {
        "type": {"const": "TextRun"},
        "text": {"type": "string"},
        "weight": {"enum": ["Default", "Lighter", "Bolder"]},
        "size": {"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
        "color": {"enum": ["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]},
    },
    ["type", "text"],
)
TEAMS: Schema = closed(
    {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": closed(
                {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": "null"},
                    "content": closed(
                        {
                            "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
                            "type": {"const": "AdaptiveCard"},
                            "version": {"const": "1.4"},
                            "body": {
                                "type": "array",
                                "minItems": 1,
                                "items": closed({"type": {"const": "RichTextBlock"}, "inlines": {"type": "array", "minItems": 1, "items": TEXT_RUN}}),
                            },
                            "actions": {
                                "type": "array",
                                "maxItems": 5,
                                "items": closed({"type": {"const": "Action.OpenUrl"}, "title": {"type": "string"}, "url": URL}),
                            },
                        },
                        ["$schema", "type", "version", "body"],
                    ),
                }
            ),
        },
    }
)
PAGERDUTY: Schema = closed(
    {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "payload": closed(
            {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"},
                "component": {"type": "string"},
                "custom_details": {"type": "object"},
            }
        ),
        "links": {"type": "array", "items": closed({"href": URL, "text": {"type": "string"}})},
    },
    ["routing_key", "event_action", "payload"],
)
OPSGENIE: Schema = closed(
    {
        "message": {"type": "string", "minLength": 1, "maxLength": 130},
        "alias": {"type": "string", "maxLength": 512},
        "description": {"type": "string", "maxLength": 15_000},
        "priority": {"enum": ["P1", "P2", "P3", "P4", "P5"]},
        "source": {"type": "string", "maxLength": 100},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
    }
)
FORMS: dict[str, tuple[Any, Schema, int]] = {  # with the most bytes that the service takes
    "slack": (slack, SLACK, 100_000),
    "teams": (teams, TEAMS, 28 * 1024),
    "pagerduty": (pagerduty, PAGERDUTY, 512 * 1024),
    "opsgenie": (opsgenie, OPSGENIE, 100_000),
}
AT = datetime(2026, 11, 20, 14, 3, 11, 500_000, tzinfo=UTC)
SHORT = Message("case-7", "Drift", "", Severity.CRITICAL, "", AT)
LONG = Message("k" * MAX_KEY, "t" * MAX_TITLE, "é" * MAX_TEXT, Severity.INFO, ("https://aisoc.corp/" + "x" * MAX_LINK)[:MAX_LINK], AT)
HOSTILE = Message(
    "case 'x' <a>",
    "<!channel> *now* [click](https://evil.example)",
    "<https://evil.example|our portal> &amp; @here",
    Severity.HIGH,
    "https://a/?b=1&c=2",
    AT,
)


@pytest.fixture
def rows(environment: Environment) -> Callable[[str], Notifier]:
    environment(
        SLACK_WEBHOOK_URL="http://relay/slack",
        TEAMS_WEBHOOK_URL="http://relay/teams",
        ALERT_WEBHOOK_URL="http://relay/hook",
        PAGERDUTY_ROUTING_KEY="r" * 32,
        OPSGENIE_API_KEY="o" * 36,
    )

    def row(name: str) -> Notifier:
        found = notifier_named(name)
        assert found is not None
        return found

    return row


@pytest.mark.parametrize("message", [SHORT, LONG, HOSTILE], ids=["short", "long", "hostile"])
@pytest.mark.parametrize("name", FORMS)
def test_the_payload_has_the_published_form_and_size(name: str, message: Message, rows: Callable[[str], Notifier]) -> None:
    module, schema, most = FORMS[name]
    posting = module.build(rows(name), message)
    Draft202012Validator.check_schema(schema)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(posting.body)] == []
    assert len(posting.content) <= most


@pytest.mark.parametrize("name", FORMS)
def test_the_schemas_can_fail(name: str, rows: Callable[[str], Notifier]) -> None:
    module, schema, _most = FORMS[name]
    assert list(Draft202012Validator(schema).iter_errors({**module.build(rows(name), SHORT).body, "planted": 1}))


def test_each_severity_has_a_word_of_each_service() -> None:
    for severity in Severity:
        assert severity in pagerduty.SEVERITIES
        assert severity in opsgenie.PRIORITIES
        assert severity in teams.COLOURS
    assert [pagerduty.SEVERITIES[one] for one in Severity] == ["critical", "error", "warning", "warning", "info"]
    assert [opsgenie.PRIORITIES[one] for one in Severity] == ["P1", "P2", "P3", "P4", "P5"]


def test_nothing_in_a_message_mentions_or_links_in_slack(rows: Callable[[str], Notifier]) -> None:
    body = slack.build(rows("slack"), HOSTILE).body
    assert "<" not in body["text"].replace("&lt;", "")
    assert [block["text"]["type"] for block in body["blocks"] if block["type"] in ("header", "section")] == ["plain_text", "plain_text", "mrkdwn"]
    assert body["blocks"][2]["text"]["text"] == "<https://a/?b=1&amp;c=2|Open>"


def test_the_key_reaches_each_receiver_where_it_looks_for_it(rows: Callable[[str], Notifier]) -> None:
    assert pagerduty.build(rows("pagerduty"), HOSTILE).body["dedup_key"] == HOSTILE.key
    assert opsgenie.build(rows("opsgenie"), HOSTILE).body["alias"] == HOSTILE.key
    assert webhook.build(rows("webhook"), HOSTILE).headers["webhook-id"] == f"msg_{HOSTILE.digest}"


@pytest.mark.parametrize("base", ["https://relay.corp", "https://relay.corp/", "https://relay.corp/v2/enqueue", "https://relay.corp/v2/enqueue/"])
def test_a_relay_is_named_with_or_without_the_path_of_the_api(base: str) -> None:
    assert below(base, pagerduty.PATH) == "https://relay.corp/v2/enqueue"


def test_opsgenie_gets_the_whole_title_and_its_key_in_the_header(rows: Callable[[str], Notifier]) -> None:
    posting = opsgenie.build(rows("opsgenie"), LONG)
    assert posting.body["message"].endswith("…")
    assert posting.body["description"].startswith(LONG.title)
    assert posting.headers == {"Authorization": f"GenieKey {'o' * 36}"}
    assert "o" * 36 not in repr(posting)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("secret", ["a shared secret of some length", f"whsec_{base64.b64encode(bytes(range(32))).decode()}"])
def test_the_webhook_is_signed_so_that_a_receiver_can_verify_what_came(environment: Environment, receiver: Receiver, secret: str) -> None:
    """Verified here as Standard Webhooks 1.0 says it, over the bytes as they came."""
    from actions.deliveries import open_delivery
    from actions.dispatch import deliver

    environment(ALERT_WEBHOOK_URL=receiver.url, AISOC_WEBHOOK_SECRET=secret)
    deliver(open_delivery("webhook", title="Drift", text="worker-2", severity=Severity.HIGH, key="case-7").pk)
    (came,) = receiver.posted
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{came.headers['webhook-id']}.{came.headers['webhook-timestamp']}.".encode() + came.content
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert came.headers["webhook-signature"] == f"v1,{expected}"
    assert came.headers["idempotency-key"] == "case-7"
    assert came.body["data"] == {"key": "case-7", "title": "Drift", "message": "worker-2", "severity": "high", "link": None}


def test_a_webhook_without_a_secret_is_not_signed(rows: Callable[[str], Notifier]) -> None:
    assert "webhook-signature" not in webhook.build(rows("webhook"), SHORT).headers
