"""What another server asks for in Retry-After, within bounds. Pure but for the clock."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_WAIT: Final = 3600.0  # seconds, whatever the other side asks for


def wait_asked(text: str) -> float:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3: seconds or a date), at most LONGEST_WAIT; 0 when there is none to be read."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # numbers beyond any date are the second
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, min((moment - datetime.now(UTC)).total_seconds(), LONGEST_WAIT))
