"""Values and texts of sources as the pages write them: nothing in them can be clicked, or be taken for what it is not. Pure."""

import re
import unicodedata
from typing import Final

_SCHEME = re.compile(r"\b(h)tt(ps?)(?=:)", re.IGNORECASE)
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cn", "Zl", "Zp"})  # categories of Unicode


def defanged(type: str, value: str) -> str:
    """The value of an indicator so that no program makes a link of it; canonical.recognise() reads it as what it was."""
    match type:
        case "ipv4-addr" | "domain-name":
            return visible(value).replace(".", "[.]")
        case "email-addr":
            local, _at, domain = visible(value).rpartition("@")
            return f"{local}[@]{domain.replace('.', '[.]')}"
        case "url":
            scheme, mark, rest = visible(value).partition("://")
            authority, slash, path = rest.partition("/")
            return f"{unlinked(scheme + ':')[:-1]}{mark}{authority.replace('.', '[.]')}{slash}{path}"
        case _:
            return unlinked(value)


def unlinked(text: object) -> str:
    """Text of a source: `http:` is written `hxxp:`, and what cannot be seen is written out."""
    return _SCHEME.sub(r"\1xx\2", visible(str(text)))


def visible(text: str) -> str:
    """Text whose characters all show: a control, or one that turns the direction of writing, as its number (`\\u202e`). Line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_number(char) if unicodedata.category(char) in _UNSEEN and char not in "\n\t" else char for char in text)


def _number(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
