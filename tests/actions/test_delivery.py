"""A delivery is sent, refused or failed, and says which; what passes is tried again; the same key is the same delivery."""

import io
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default as plain_policy
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.db import OperationalError

from actions import deliveries, dispatch, tasks
from actions.deliveries import KeyTaken, back_off, open_delivery
from actions.models import Delivery
from actions.registry import channels, notifiers
from actions.specs import Answer, Result
from airgap import clock, events
from airgap.announce import Severity
from airgap.retry_after import wait_asked
from airgap.segments import waiting_segments
from aisoc_admin.env import CHANNELS
from aisoc_admin.logs import log_config
from tests.plugins.receiver import Receiver

Environment = Callable[..., Any]
SECRET = "T0PLANTED/B0PLANTED/pl4ntedS3cretpl4nted"
pytestmark = pytest.mark.django_db(transaction=True)


def asked(channel: str, **parts: Any) -> Delivery:
    return open_delivery(channel, title=parts.pop("title", "Drift"), text=parts.pop("text", "worker-2 is not air-gapped"), **parts)


def tried(row: Delivery) -> Delivery:
    """After one attempt, whatever wait the last one asked for."""
    Delivery.objects.filter(pk=row.pk).update(not_before=clock.now())
    dispatch.deliver(row.pk)
    row.refresh_from_db()
    return row


def refusals(folder: Path) -> list[tuple[str, str, str, str]]:
    """(host, rule, layer, purpose) of every refusal on disk."""
    recorder = events.recorder()
    assert recorder is not None
    recorder.spool.seal()
    keys = [record.key for waiting in waiting_segments(folder) for record in waiting.read().records]
    return [(str(key[0]), str(key[3]), str(key[4]), str(key[5])) for key in keys]


def test_the_environment_knows_every_channel_of_the_registry() -> None:
    assert tuple(row.name for row in notifiers()) == CHANNELS


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_without_a_destination_fails_and_says_so(channel: str, environment: Environment) -> None:
    environment()
    row = asked(channel)
    assert (row.state, row.attempts) == ("failed", 0)
    assert row.reason.startswith("Not configured. Set ")


def test_a_channel_that_lost_its_destination_fails_in_the_worker_too(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    row = asked("slack")
    environment()
    assert tried(row).state == "failed"
    assert "Not configured" in row.reason
    assert receiver.posted == []


def test_slack_outside_is_refused_under_air_gap_recorded_and_never_tried_again(
    environment: Environment, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment(AISOC_AIRGAPPED="1", SLACK_WEBHOOK_URL=f"https://hooks.slack.com/services/{SECRET}")
    with caplog.at_level(logging.INFO):
        row = tried(asked("slack"))
    assert (row.state, row.rule, row.attempts) == ("refused", "public", 1)
    assert "hooks.slack.com is a public name" in row.reason
    assert refusals(spool_dir) == [("hooks.slack.com", "public", "http", "actions.slack")]
    assert "airgap.block" in caplog.text
    assert deliveries.claim(row.pk) is None
    Delivery.objects.update(nudge_at=clock.now())
    assert deliveries.left_behind() == []


@pytest.mark.parametrize("path", ["/services/T0/B0/PLANTED", "/planted", "/hook/planted?planted", "/planted/planted"])
def test_no_part_of_a_refused_channels_path_is_told(environment: Environment, spool_dir: Path, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """A webhook's path is its secret, whatever it looks like."""
    environment(AISOC_AIRGAPPED="1", ALERT_WEBHOOK_URL=f"https://soar.example.com{path}")
    with caplog.at_level(logging.INFO):
        row = tried(asked("webhook"))
    assert row.state == "refused"
    spooled = b"".join(file.read_bytes() for file in spool_dir.rglob("*") if file.is_file()).decode(errors="replace")
    assert "soar.example.com" in spooled
    for text in (caplog.text, spooled, repr(row.__dict__)):
        assert "planted" not in text.lower()


def test_the_same_channel_at_a_relay_inside_is_sent(environment: Environment, receiver: Receiver) -> None:
    environment(AISOC_AIRGAPPED="1", SLACK_WEBHOOK_URL=f"{receiver.url}/services/{SECRET}")
    row = tried(asked("slack", key="case-7"))
    assert (row.state, row.attempts, row.reason) == ("sent", 1, "")
    assert [one.path for one in receiver.posted] == [f"/services/{SECRET}"]
    assert receiver.keys == ["case-7"]


def test_two_failures_of_the_receiver_and_then_a_success_are_three_attempts_with_one_key(environment: Environment, receiver: Receiver) -> None:
    environment(AISOC_AIRGAPPED="1", ALERT_WEBHOOK_URL=receiver.url)
    receiver.answers = [(500, {}, b"planted-body"), (503, {}, b"")]
    row = asked("webhook")
    assert tried(row).state == "queued"
    assert row.reason == "HTTP 500 from 127.0.0.1."
    tried(row)
    assert (tried(row).state, row.attempts, row.reason) == ("sent", 3, "")
    assert len(set(receiver.keys)) == 1


@pytest.mark.parametrize(
    ("status", "headers", "body", "state", "said"),
    [
        (400, {}, b"invalid_payload", "failed", "HTTP 400 from 127.0.0.1."),
        (401, {}, b"", "failed", "does not take the key"),
        (404, {}, b"no_service", "failed", "does not know the URL"),
        (410, {}, b"channel_is_archived", "failed", "no longer in use"),
        (302, {"Location": "/elsewhere"}, b"", "failed", "it redirects"),
        (
            302,
            {"Location": "https://hooks.slack.com/x"},
            b"",
            "refused",
            "127.0.0.1 sent the message on to a place that is refused: hooks.slack.com is a public name",
        ),
        (200, {}, b'{"ok": false, "error": "invalid_auth"}', "failed", "says that it is not right"),
        (200, {}, b"x" * 70_000, "failed", "at most 65536 are accepted. Is the URL right?"),
        (429, {}, b"rate_limited", "queued", "asks for fewer messages"),
        (408, {}, b"", "queued", "HTTP 408"),
        (502, {}, b"<html>", "queued", "HTTP 502"),
        (202, {}, b"", "sent", ""),
        (204, {}, b"", "sent", ""),
    ],
)
def test_what_an_answer_means(
    environment: Environment, receiver: Receiver, status: int, headers: dict[str, str], body: bytes, state: str, said: str
) -> None:
    """A redirect is not followed; where it leads outside, the gate says so."""
    environment(AISOC_AIRGAPPED="1", SLACK_WEBHOOK_URL=receiver.url)
    receiver.usual = (status, headers, body)
    row = tried(asked("slack"))
    assert (row.state, row.attempts) == (state, 1)
    assert said in row.reason
    assert len(receiver.posted) == 1


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"1", "sent"),
        (b"I took: Webhook message delivery failed with error 429", "sent"),
        (b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429", "queued"),
        (b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413", "failed"),
    ],
)
def test_teams_failures_under_a_200_are_failures(environment: Environment, receiver: Receiver, body: bytes, state: str) -> None:
    environment(TEAMS_WEBHOOK_URL=receiver.url)
    receiver.usual = (200, {}, body)
    assert tried(asked("teams")).state == state


def test_a_receiver_that_is_not_there_is_tried_again(environment: Environment, receiver: Receiver) -> None:
    environment(AISOC_AIRGAPPED="1", PAGERDUTY_URL=receiver.url, PAGERDUTY_ROUTING_KEY="k" * 32)
    receiver.close()
    row = tried(asked("pagerduty"))
    assert row.state == "queued"
    assert "no connection" in row.reason


def test_retry_after_is_honoured_within_bounds(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    for text, low, high in (("120", 119, 120), ("999999", 3599, 3600), (soon, 295, 300), ("rubbish", 1, 2), ("0", 1, 2), ("-5", 1, 2)):
        receiver.answers = [(429, {"Retry-After": text}, b"")]
        row = tried(asked("slack"))
        assert timedelta(seconds=low) <= row.not_before - row.updated_at + timedelta(seconds=0.5) <= timedelta(seconds=high + 0.6), text
    assert wait_asked("9" * 400) == 3600
    for text in ("Fri, 31 Dec 99999999999 23:59:59 GMT", "Fri, 31 Dec 2026 23:59:59 +99999999999999999999", "²", "nan", "", "\x00"):
        assert wait_asked(text) == 0, text


def test_the_back_off_doubles_up_to_an_hour_and_ends(environment: Environment, receiver: Receiver) -> None:
    assert [back_off(attempt).total_seconds() for attempt in (1, 2, 3, 11, 12, 20)] == [2, 4, 8, 2048, 3600, 3600]
    environment(SLACK_WEBHOOK_URL=receiver.url)
    receiver.usual = (500, {}, b"")
    row = asked("slack")
    Delivery.objects.update(attempts=deliveries.MAX_ATTEMPTS - 1)
    assert tried(row).state == "failed"
    assert row.reason == "Given up after 20 attempts. HTTP 500 from 127.0.0.1."


def test_a_public_host_in_clear_gets_no_secret(environment: Environment) -> None:
    environment(AISOC_AIRGAPPED="1", AISOC_AIRGAP_ALLOWLIST="hooks.example.com", SLACK_WEBHOOK_URL="http://hooks.example.com/x")
    row = tried(asked("slack"))
    assert row.state == "failed"
    assert "would cross the network in clear" in row.reason


def test_a_key_that_no_header_takes_is_a_failure_and_is_not_shown(environment: Environment, receiver: Receiver) -> None:
    environment(OPSGENIE_URL=receiver.url, OPSGENIE_API_KEY="pl4nted\nX: y")
    row = tried(asked("opsgenie"))
    assert row.state == "failed"
    assert "OPSGENIE_API_KEY" in row.reason
    assert "pl4nted" not in row.reason
    assert receiver.posted == []


# ── Mail ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_mail_through_a_relay_inside_with_starttls_is_sent(
    environment: Environment, serve: Any, settings: Any, certificate: tuple[Path, Path]
) -> None:
    inbox, port = serve(starttls=True)
    environment(AISOC_AIRGAPPED="1", EMAIL_URL=f"smtp+tls://localhost:{port}", ALERT_EMAIL_TO="soc@corp.example,duty@corp.example")
    settings.AIRGAP_CA_BUNDLE = str(certificate[0])
    row = tried(asked("mail", key="case-7", severity=Severity.HIGH, text="Zwei Prozesse: worker‑2", link="http://aisoc.corp/x"))
    assert (row.state, row.attempts, row.reason) == ("sent", 1, "")
    ((_sender, receivers, content),) = inbox.mails
    mail = message_from_bytes(content, policy=plain_policy)
    assert receivers == ["soc@corp.example", "duty@corp.example"]
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("[high] Drift", "auto-generated")
    assert mail["Message-ID"] == f"<{deliveries.message_of(row).digest}@aisoc.invalid>"
    assert "Zwei Prozesse: worker‑2" in mail.get_content()
    assert "http://aisoc.corp/x" in mail.get_content()


def test_a_public_relay_is_refused(environment: Environment, spool_dir: Path) -> None:
    environment(AISOC_AIRGAPPED="1", EMAIL_URL="smtp+tls://u:pl4nted@smtp.example.com", ALERT_EMAIL_TO="soc@corp.example")
    row = tried(asked("mail"))
    assert (row.state, row.rule) == ("refused", "public")
    assert refusals(spool_dir) == [("smtp.example.com", "public", "mail", "actions.mail")]


@pytest.mark.parametrize(
    ("refuses", "says", "state", "said"),
    [
        ({"a@corp.example": "550 no"}, "250 OK", "sent", "refused 1 of 2 receivers"),
        ({"a@corp.example": "550 no", "b@corp.example": "550 no"}, "250 OK", "failed", "refused every receiver"),
        ({"a@corp.example": "450 later", "b@corp.example": "550 no"}, "250 OK", "queued", "refused every receiver"),
        ({}, "451 planted-words", "queued", "answered 451"),
        ({}, "554 planted-words", "failed", "answered 554"),
    ],
)
def test_what_a_relay_says_is_told_apart(environment: Environment, serve: Any, refuses: dict[str, str], says: str, state: str, said: str) -> None:
    inbox, port = serve()
    inbox.refuses, inbox.says = refuses, says
    environment(AISOC_AIRGAPPED="1", EMAIL_URL=f"smtp://127.0.0.1:{port}", ALERT_EMAIL_TO="a@corp.example,b@corp.example")
    row = tried(asked("mail"))
    assert row.state == state
    assert said in row.reason
    assert "planted" not in row.reason


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(
    ("given", "state", "said"),
    [("pl4nted", "sent", ""), ("p%C3%BCl4nted", "failed", "no login takes")],
)
def test_a_login_is_made_and_a_password_that_none_takes_is_a_failure(environment: Environment, serve: Any, given: str, state: str, said: str) -> None:
    _inbox, port = serve(password="pl4nted")
    environment(EMAIL_URL=f"smtp://u:{given}@127.0.0.1:{port}", ALERT_EMAIL_TO="soc@corp.example")
    row = tried(asked("mail"))
    assert row.state == state
    assert said in row.reason
    assert "l4nted" not in row.reason


def test_a_relay_without_starttls_or_without_an_answer_gets_no_mail(environment: Environment, serve: Any) -> None:
    inbox, port = serve()
    environment(EMAIL_URL=f"smtp+tls://127.0.0.1:{port}", ALERT_EMAIL_TO="soc@corp.example")
    assert tried(asked("mail")).state == "failed"
    environment(EMAIL_URL="smtp://127.0.0.1:1", ALERT_EMAIL_TO="soc@corp.example")
    row = tried(asked("mail"))
    assert (row.state, inbox.mails) == ("queued", [])
    assert "no connection" in row.reason


# ── Once ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_same_key_is_the_same_delivery_and_another_message_is_not(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url, ALERT_WEBHOOK_URL=receiver.url)
    row = asked("slack", key="case-7")
    assert asked("slack", key="case-7").pk == row.pk
    assert asked("webhook", key="case-7").pk != row.pk
    with pytest.raises(KeyTaken, match=f"delivery {row.pk}"):
        asked("slack", key="case-7", text="something else")


def test_a_redelivered_task_does_not_shout_twice(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    row = asked("slack")
    tasks.deliver(row.pk)
    tasks.deliver(row.pk)
    assert len(receiver.posted) == 1


def test_a_delivery_in_hand_is_left_alone_until_its_lease_ends(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    row = asked("slack")
    lost = deliveries.claim(row.pk)
    assert lost is not None
    assert dispatch.deliver(row.pk) is None
    assert receiver.posted == []
    Delivery.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    assert tried(row).state == "sent"
    assert row.attempts == 2
    deliveries.finish(lost, Answer(Result.FAILED, "the slow worker comes back"))
    row.refresh_from_db()
    assert row.state == "sent"


def test_a_delivery_whose_workers_die_each_time_is_given_up(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    row = asked("slack")
    Delivery.objects.update(attempts=deliveries.MAX_ATTEMPTS, lease_until=clock.now() - timedelta(seconds=1), claims=20)
    assert tried(row).state == "failed"
    assert row.reason == "Given up after 20 attempts."
    assert receiver.posted == []


def test_a_lease_or_wait_from_before_the_clock_was_set_back_holds_nobody_up(environment: Environment, receiver: Receiver) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    row = asked("slack")
    far = clock.now() + timedelta(days=300)
    Delivery.objects.update(not_before=far, lease_until=far, nudge_at=far)
    assert deliveries.left_behind() == [row.pk]
    dispatch.deliver(row.pk)
    row.refresh_from_db()
    assert row.state == "sent"


def test_the_sweep_sends_what_was_left_behind_once_in_a_while(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(SLACK_WEBHOOK_URL="http://relay/x")
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: sent.append(options))
    row = asked("slack")
    tasks.sweep()
    assert sent == []  # its own task is on its way
    Delivery.objects.update(nudge_at=clock.now() - timedelta(seconds=1))
    tasks.sweep()
    tasks.sweep()
    assert [(options["args"], options["queue"]) for options in sent] == [((row.pk,), "actions")]


def test_a_short_wait_is_a_task_with_a_countdown_and_a_long_one_the_sweeps(
    environment: Environment, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    receiver.answers = [(500, {}, b""), (429, {"Retry-After": "600"}, b"")]
    sent: list[float] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **options: sent.append(options["countdown"]))
    first, second = asked("slack"), asked("slack")
    tasks.deliver(first.pk)
    tasks.deliver(second.pk)
    assert sent == [2.5]
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.nudge_at == first.not_before + deliveries.GRACE
    assert second.nudge_at == second.not_before


def test_a_broker_that_is_away_loses_nothing(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(SLACK_WEBHOOK_URL="http://relay/x")

    def away(**_: Any) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(tasks.deliver, "apply_async", away)
    row = asked("slack")
    assert tasks.publish(row.pk) is False
    Delivery.objects.update(nudge_at=clock.now())
    tasks.sweep()
    row.refresh_from_db()
    assert row.state == "queued"


def test_a_database_that_goes_away_after_the_sending_leaves_the_delivery_to_the_next_worker(
    environment: Environment, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(SLACK_WEBHOOK_URL=receiver.url)
    row = asked("slack")

    def away(*_: Any) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(deliveries, "_save", away)
        with pytest.raises(OperationalError):
            dispatch.deliver(row.pk)
    Delivery.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    assert tried(row).state == "sent"
    assert len(set(receiver.keys)) == 1


def test_an_attempt_that_breaks_off_is_tried_again(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(SLACK_WEBHOOK_URL="http://relay/x")

    def broken(**_: Any) -> None:
        raise ArithmeticError("planted-detail")

    monkeypatch.setattr("actions.posting.gated_client", broken)
    row = tried(asked("slack"))
    assert (row.state, row.reason) == ("queued", "The attempt broke off (ArithmeticError); see the log.")


def test_old_deliveries_are_forgotten_but_for_those_that_wait(environment: Environment) -> None:
    environment(AISOC_TRAIL_DAYS="10")
    ended = asked("slack")
    environment(AISOC_TRAIL_DAYS="10", SLACK_WEBHOOK_URL="http://relay/x")
    waits = asked("slack")
    Delivery.objects.update(updated_at=clock.now() - timedelta(days=11))
    assert deliveries.forget_old() == 1
    assert list(Delivery.objects.values_list("pk", flat=True)) == [waits.pk]
    assert ended.pk != waits.pk


def test_text_is_kept_so_that_it_shows_and_every_database_takes_it(environment: Environment) -> None:
    environment(SLACK_WEBHOOK_URL="http://relay/x")
    row = asked("slack", title="Drift\r\nBcc: x@evil.example\u202e", text="a\x00b\ud800\nc\td" + "x" * 5000)
    row.refresh_from_db()
    assert row.title == "Drift Bcc: x@evil.example?"
    assert row.text.startswith("a?b?\nc dxxx")
    assert len(row.text) == 4000


# ── Secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_secret_in_a_webhooks_path_is_in_no_log_row_or_error(environment: Environment, receiver: Receiver) -> None:
    """Everything that the product and its libraries log, in the product's own configuration, through every way a delivery can go."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("structlog.configure", lambda **_: None)  # as it is already; anew, loggers would part from what tests capture
        configured = log_config(service="api", version="0", stream="ext://sys.stderr")["loggers"]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name, options in configured.items():
        logging.getLogger(name).setLevel(options["level"])
    try:
        for answer in (
            (200, {}, b"ok"),
            (400, {}, b""),
            (500, {}, b""),
            (302, {"Location": f"/{SECRET}"}, b""),
            (200, {"Content-Encoding": SECRET}, b"x"),
        ):
            for channel, name in (("slack", "SLACK_WEBHOOK_URL"), ("teams", "TEAMS_WEBHOOK_URL"), ("webhook", "ALERT_WEBHOOK_URL")):
                environment(**{name: f"{receiver.url}/hook/{SECRET}?token={SECRET}", "AISOC_WEBHOOK_SECRET": SECRET})
                receiver.answers = [answer]
                tried(asked(channel))
        for url in (
            f"https://hooks.slack.com/services/{SECRET}",
            f"http://u:{SECRET.rsplit('/', 1)[-1]}@127.0.0.1:1/{SECRET}",
            f"https://127.0.0.1:1/{SECRET}",
        ):
            environment(AISOC_AIRGAPPED="1", SLACK_WEBHOOK_URL=url)
            tried(asked("slack"))
        for variables in (
            {"PAGERDUTY_ROUTING_KEY": SECRET, "PAGERDUTY_URL": receiver.url},
            {"OPSGENIE_API_KEY": SECRET, "OPSGENIE_URL": receiver.url},
        ):
            environment(AISOC_AIRGAPPED="1", **variables)
            tried(asked("pagerduty" if "PAGERDUTY_URL" in variables else "opsgenie"))
            assert SECRET not in repr(notifiers())
        shown = repr(channels()) + repr(notifiers())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    rows = serializers.serialize("json", Delivery.objects.all())
    assert len(json.loads(rows)) == 20
    assert "action.failed" in stream.getvalue()
    for part in (SECRET, SECRET.rsplit("/", 1)[-1]):
        for where, text in {"log": stream.getvalue(), "rows": rows, "registry": shown}.items():
            assert part not in text, where
