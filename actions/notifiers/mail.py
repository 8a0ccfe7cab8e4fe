"""Alert mail through the relay of EMAIL_URL: one message to all receivers, with a Message-ID made of the key."""

from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage

from actions.specs import Answer, Message, Notifier, Result
from airgap.mail import NotTaken, hand_in
from airgap.relay import MailRelay

DOMAIN: Final = "aisoc.invalid"  # RFC 2606: the right-hand side of Message-IDs, which nobody looks up


def build(notifier: Notifier, message: Message) -> EmailMessage:
    lines = (message.text, message.link, f"Severity: {message.severity}. Sent by AiSOC Admin.")
    return EmailMessage(
        subject=f"[{message.severity}] {message.title}",
        body="\n\n".join(line for line in lines if line),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=list(notifier.to),
        headers={"Message-ID": f"<{message.digest}@{DOMAIN}>", "Auto-Submitted": "auto-generated"},  # RFC 3834: no answer, please
    )


def send(notifier: Notifier, message: Message) -> Answer:
    """Some receivers refused: it is sent, and the reason says how many did not get it."""
    try:
        refused = hand_in(build(notifier, message), MailRelay.parse(notifier.url), purpose=notifier.purpose)
    except NotTaken as error:
        return Answer(Result.FAILED if error.permanent else Result.AGAIN, str(error))
    return Answer(Result.SENT, f"The relay refused {refused} of {len(notifier.to)} receivers." if refused else "")
