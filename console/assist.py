"""The tools of /assist/ as a table, and an explanation as its page shows it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from console.assist_forms import TOOLS as FORMS
from threatintel.snapshot import Verdict


@dataclass(frozen=True, slots=True)
class AssistTool:
    """One page below /assist/. summary: what one gets, in a sentence."""

    title: str
    url_name: str
    summary: str


TOOLS: Final[tuple[AssistTool, ...]] = (
    AssistTool("Explain an alert", "console:assist", "Class, techniques, evidence and next steps of an alert, and what happened in plain sentences."),
    AssistTool(
        "Investigate",
        "console:investigate",
        "A bounded round of read-only look-ups on an alert, and a report in which each sentence names its evidence.",
    ),
    *(AssistTool(tool.title, tool.url_name, tool.summary) for tool in FORMS),
)
MADE_BY: Final = {"live": (Verdict.OK, "Live: by the model"), "fallback": (Verdict.OFF, "Fallback: by rule")}


@dataclass(slots=True)
class Answer:
    """A told answer, put together: frames by their type, the text that a reset left standing, and how it was made."""

    frames: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    text: str = ""
    path: str = "fallback"
    reason: str = ""
    problem: str = ""

    @property
    def verdict(self) -> str:
        return MADE_BY[self.path][0].value

    @property
    def made(self) -> str:
        return MADE_BY[self.path][1]


def answer_of(frames: Iterable[dict[str, Any]]) -> Answer:
    """Reads an answer to its end."""
    answer = Answer()
    for frame in frames:
        match frame["type"]:
            case "delta":
                answer.text += frame["text"]
            case "reset":
                answer.text = ""
            case "done":
                answer.path, answer.reason = frame["path"], frame["reason"]
            case "error":
                answer.problem = frame["detail"]
            case kind:
                answer.frames.setdefault(kind, []).append(frame)
    answer.text = answer.text.strip()
    return answer
