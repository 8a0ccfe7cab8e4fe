"""Slack incoming webhooks, and relays that speak their language. Everything of the message is plain text: nothing in it can mention or link."""

import httpx

from actions.posting import Posting, answered, host_of, judge, posted
from actions.specs import Answer, Message, Notifier, Result, shortened

MAX_HEADER = 150  # characters of a header block
MAX_SECTION = 3000  # of a section's text


def build(notifier: Notifier, message: Message) -> Posting:
    """`text` is what clients without blocks, and most relays, show."""
    blocks: list[dict[str, object]] = [{"type": "header", "text": _plain(shortened(message.title, MAX_HEADER))}]
    for start in range(0, len(message.text), MAX_SECTION):
        blocks.append({"type": "section", "text": _plain(message.text[start : start + MAX_SECTION])})
    if message.link:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{escaped(message.link)}|Open>"}})
    blocks.append({"type": "context", "elements": [_plain(f"{message.severity} · AiSOC Admin")]})
    lines = (f"[{message.severity}] {message.title}", message.text, message.link)
    return Posting(notifier.url, {"text": escaped("\n".join(line for line in lines if line)), "blocks": blocks})


def judged(notifier: Notifier, response: httpx.Response) -> Answer:
    """A workflow's trigger says `{"ok": false}` under a 200."""
    answer = judge(notifier, response)
    if answer.result is Result.SENT and answered(response).get("ok") is False:
        return Answer(Result.FAILED, f"{host_of(notifier.url)} took the message and says that it is not right.")
    return answer


def escaped(text: str) -> str:
    """The three characters of Slack's markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> dict[str, object]:
    return {"type": "plain_text", "text": text, "emoji": False}


send = posted(build, judged)
