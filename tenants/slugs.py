"""The grammar of a tenant's slug: a DNS label in lower case, 1 to 63 letters, digits and hyphens, no hyphen at either end. Pure."""

import re
from typing import Final

MAX_LENGTH: Final = 63
GRAMMAR: Final = r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"  # not ^ and $: Python's $ lets a newline follow
IN_WORDS: Final = "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end, such as 'acme-emea'"
_slug = re.compile(GRAMMAR)


def is_slug(text: str) -> bool:
    return _slug.match(text) is not None
