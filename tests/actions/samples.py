"""A deployment's channels with a planted secret in each, and deliveries as the worker leaves them."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from actions.models import Delivery

SECRET = "pl4ntedT0kenpl4ntedT0ken"
VARIABLES = {
    "AISOC_AIRGAPPED": "1",
    "SLACK_WEBHOOK_URL": f"https://slack-relay.corp/services/{SECRET}",
    "TEAMS_WEBHOOK_URL": f"https://contoso.webhook.office.com/{SECRET}",
    "ALERT_WEBHOOK_URL": f"https://u:{SECRET}@soar.corp:8443/hook?token={SECRET}",
    "AISOC_WEBHOOK_SECRET": SECRET,
    "PAGERDUTY_ROUTING_KEY": SECRET,
    "EMAIL_URL": f"smtp+tls://u:{SECRET}@mail.corp",
    "ALERT_EMAIL_TO": "soc@corp.example",
}


def delivered(channel: str, state: str, *, minutes_ago: float = 1, **values: Any) -> Delivery:
    when = timezone.now() - timedelta(minutes=minutes_ago)
    times = dict.fromkeys(("created_at", "updated_at", "not_before", "nudge_at"), when)
    fields = {"title": "Drift", "severity": "high", "origin": "alice", "attempts": 1, "key": str(Delivery.objects.count()), **times, **values}
    return Delivery.objects.create(channel=channel, state=state, **fields)
