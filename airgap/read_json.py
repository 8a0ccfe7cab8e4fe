"""Reads JSON that a stranger wrote: a body, a pasted alert, a model's answer. Pure."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

UNREADABLE: Final = "\ufffd"
_HALF: Final = re.compile("[\ud800-\udfff]")


def read_json(text: str, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """json.loads, but half of a surrogate pair, which JSON may escape and UTF-8 cannot say (RFC 8259 section 8.2), becomes
    UNREADABLE, Unicode's replacement character.

    Products that cut UTF-16 text off send such halves; nothing behind could store, match or send them. Raises ValueError for what is no JSON,
    RecursionError for what is nested too deep.
    """
    value = json.loads(text, parse_constant=parse_constant)
    if "\\ud" in text.lower():
        return json.loads(_HALF.sub(UNREADABLE, json.dumps(value, ensure_ascii=False)))
    return value
