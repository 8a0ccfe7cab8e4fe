"""notifiers(): every channel this product knows, from settings. A new kind is one file in notifiers/ and one row here."""

from dataclasses import dataclass

from django.conf import settings

from actions.notifiers import mail, opsgenie, pagerduty, slack, teams, webhook
from actions.posting import host_of
from actions.specs import Notifier
from airgap.active import active_policy
from airgap.hosts import Malformed, Url
from airgap.policy import Decision
from airgap.relay import MailRelay


def notifiers() -> tuple[Notifier, ...]:
    """Every channel, configured or not, in the order in which they are shown."""
    env = settings.ENV
    return (
        Notifier(
            name="slack",
            title="Slack",
            url=env.slack_webhook_url,
            send=slack.send,
            variables=("SLACK_WEBHOOK_URL",),
            to_configure="Set SLACK_WEBHOOK_URL.",
        ),
        Notifier(
            name="teams",
            title="Microsoft Teams",
            url=env.teams_webhook_url,
            send=teams.send,
            variables=("TEAMS_WEBHOOK_URL",),
            to_configure="Set TEAMS_WEBHOOK_URL.",
        ),
        Notifier(
            name="webhook",
            title="Webhook",
            url=env.alert_webhook_url,
            send=webhook.send,
            variables=("ALERT_WEBHOOK_URL", "AISOC_WEBHOOK_SECRET"),
            to_configure="Set ALERT_WEBHOOK_URL, and AISOC_WEBHOOK_SECRET to have it signed.",
            secret=env.webhook_secret,
        ),
        Notifier(
            name="pagerduty",
            title="PagerDuty",
            url=env.pagerduty_url if env.pagerduty_routing_key else "",
            send=pagerduty.send,
            variables=("PAGERDUTY_URL", "PAGERDUTY_ROUTING_KEY"),
            to_configure="Set PAGERDUTY_ROUTING_KEY, and PAGERDUTY_URL for a relay inside.",
            secret=env.pagerduty_routing_key,
        ),
        Notifier(
            name="opsgenie",
            title="Opsgenie",
            url=env.opsgenie_url if env.opsgenie_api_key else "",
            send=opsgenie.send,
            variables=("OPSGENIE_URL", "OPSGENIE_API_KEY"),
            to_configure="Set OPSGENIE_API_KEY, and OPSGENIE_URL for a relay inside.",
            secret=env.opsgenie_api_key,
        ),
        Notifier(
            name="mail",
            title="Mail",
            url=env.email_url if env.alert_email_to else "",
            send=mail.send,
            variables=("EMAIL_URL", "ALERT_EMAIL_TO", "ALERT_EMAIL_FROM"),
            to_configure="Set EMAIL_URL and ALERT_EMAIL_TO.",
            to=env.alert_email_to,
        ),
    )


def notifier_named(name: str) -> Notifier | None:
    """The channel of that name, or None."""
    return next((row for row in notifiers() if row.name == name), None)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as it may be shown: its host and the gate's decision, never its URL. host and decision are None where nothing is configured."""

    name: str
    title: str
    configured: bool
    host: str | None
    port: int | None
    decision: Decision | None
    reason: str


def channels() -> tuple[Channel, ...]:
    """Every channel with what the gate says of it. Asks the policy alone: sends, resolves and records nothing."""
    return tuple(_channel(row) for row in notifiers())


def _channel(row: Notifier) -> Channel:
    if not row.url:
        return Channel(row.name, row.title, False, None, None, None, not_configured(row))
    if row.to:
        relay = MailRelay.parse(row.url)
        decision = active_policy().decide_host(relay.host, relay.port)
        return Channel(row.name, row.title, True, relay.host, relay.port, decision, decision.reason)
    url = Url.parse(row.url)
    decision = active_policy().decide_url(row.url)
    port = None if isinstance(url, Malformed) else url.port
    return Channel(row.name, row.title, True, host_of(row.url), port, decision, decision.reason)


def not_configured(row: Notifier) -> str:
    return f"Not configured. {row.to_configure}"
