"""Microsoft Teams: an Adaptive Card for the Workflows trigger "When a Teams webhook request is received"."""

import httpx

from actions.posting import Posting, host_of, judge, posted
from actions.specs import Answer, Message, Notifier, Result
from airgap.announce import Severity

FAILED = b"Webhook message delivery failed"  # how the connectors begin
COLOURS = {Severity.CRITICAL: "Attention", Severity.HIGH: "Attention", Severity.MEDIUM: "Warning", Severity.LOW: "Default", Severity.INFO: "Default"}


def build(notifier: Notifier, message: Message) -> Posting:
    """Text runs, because a TextBlock reads Markdown: nothing in a message can be a link that it does not look like."""
    body = [_text(message.title, weight="Bolder", size="Medium"), _text(message.severity.value, color=COLOURS[message.severity])]
    if message.text:
        body.append(_text(message.text))
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": message.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return Posting(notifier.url, {"type": "message", "attachments": [attachment]})


def judged(notifier: Notifier, response: httpx.Response) -> Answer:
    """The connectors that Workflows replace say under a 200 that they delivered nothing."""
    answer = judge(notifier, response)
    if answer.result is not Result.SENT or not response.content.startswith(FAILED):
        return answer
    said = f"{host_of(notifier.url)} took the message and says that Teams did not"
    return Answer(Result.AGAIN, f"{said}: too many.") if b"429" in response.content else Answer(Result.FAILED, f"{said}.")


def _text(text: str, **style: str) -> dict[str, object]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


send = posted(build, judged)
