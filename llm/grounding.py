"""Whether a model's text says only what its input holds: no ids, addresses, names or verdicts of its own. Pure.

By rules that can be checked, so it finds what is made up in checkable form; it does not judge prose.
"""

import re
from collections import Counter
from typing import Final

from llm.attack import ids_in
from llm.privacy_tables import TOKEN

_ADDRESS = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.]*[0-9])")
_HASH = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-f])", re.IGNORECASE)
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,7}", re.IGNORECASE)
_URL = re.compile(r"\b(?:https?|ftp)://[^\s\"'<>)]+", re.IGNORECASE)
_MARK = re.compile(r"DATA-[0-9a-f]{16}", re.IGNORECASE)  # around the data, by llm.privacy.fenced
_EMAIL = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[A-Za-z]{2,24}")
_VERDICT = re.compile(
    r"\b(?:false positive|is (?:benign|harmless|safe|legitimate|a test)|no (?:further )?(?:action|investigation) (?:is |are )?(?:needed|required|necessary)"
    r"|(?:can|may|should) (?:safely )?be (?:ignored|closed|dismissed|suppressed)|nothing (?:suspicious|malicious)|not (?:malicious|a threat))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z0-9]{4,}")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "alert about after also been could detected does following from have here into more security should some such system than that their them then"
        " there these they this those very what when where which will with would your data value label source title true false none"
        " class evidence fact facts list severity tags techniques",  # names of what every alert is told in
    )
)
MIN_LENGTH: Final = 40  # characters of a narrative
_REPEATED: Final = 3  # times that six words in a row may not come


def ungrounded(text: str, source: str, *, least: int = MIN_LENGTH) -> str:
    """Why the text cannot stand, as the end of the sentence "The model's answer is invalid: …"; "" when nothing speaks against it.

    source: everything the model was told, unhidden. least: characters that it has at least. The reason quotes nothing.
    """
    stripped = text.strip()
    if len(stripped) < least:
        return "it is too short."
    if TOKEN.search(stripped) and any(token not in source for token in TOKEN.findall(stripped)):
        return "it names values that were never given to it."
    if any(mark not in source for mark in _MARK.findall(stripped)):
        return "it repeats how it was asked."
    if not set(ids_in(stripped)) <= set(ids_in(source)):
        return "it names techniques that the alert does not show."
    lowered = source.lower()
    for kind, shape in (("addresses", _ADDRESS), ("hashes", _HASH), ("vulnerabilities", _CVE), ("links", _URL), ("mailboxes", _EMAIL)):
        if any(found.lower().rstrip(".,;:") not in lowered for found in shape.findall(stripped)):
            return f"it names {kind} that the alert does not hold."
    if _VERDICT.search(stripped):  # whatever the alert says of itself: its author may be the attacker
        return "it passes a verdict, which it was not asked for."
    if repeats(stripped):
        return "it repeats itself."
    told = {word.lower() for word in _WORD.findall(source)} - _COMMON
    if told and not told & {word.lower() for word in _WORD.findall(stripped)}:
        return "it is not about the alert."
    return ""


def repeats(text: str) -> bool:
    """Whether six words in a row come again and again, as in what a small model says when it does not end."""
    words = text.lower().split()
    runs = Counter(tuple(words[at : at + 6]) for at in range(len(words) - 5))
    return any(count >= _REPEATED for count in runs.values())
