"""What a model's text may not say of an alert."""

import json

from llm.grounding import ungrounded
from llm.privacy import fenced

SOURCE = json.dumps(
    {"facts": {"class": "Process Activity (System Activity)", "techniques": [], "evidence": {"Host": "WS-042"}}, "alert": {"title": "Beacon"}}
)


def test_a_text_that_repeats_how_it_was_asked_does_not_stand() -> None:
    mark, _, _ = fenced(SOURCE)[0].partition("\n")
    for told in (mark, mark.lower()):
        said = ungrounded(f"The host WS-042 in {told} sent a beacon, and it is a process activity.", SOURCE)
        assert said == "it repeats how it was asked."
    assert not ungrounded("The host WS-042 sent a beacon, and it is a process activity.", SOURCE)
    assert not ungrounded(f"The host WS-042 sent {mark}, says the alert.", f"{SOURCE} {mark}"), "the alert holds it"


def test_words_of_the_question_alone_are_not_about_the_alert() -> None:
    assert (
        ungrounded("The data is a list of facts, of techniques and of evidence, of some severity and class.", SOURCE) == "it is not about the alert."
    )
