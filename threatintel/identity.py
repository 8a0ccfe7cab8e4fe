"""Keys of indicators and sources, made of what they stand for: 128 bits of SHA-256 as 32 hexadecimal digits, which a UUID column takes. Pure.

A value is found by its key alone, and a feed's records are stored without asking the database which it knows.
"""

from hashlib import sha256


def indicator_id(type: str, value: str) -> str:
    """Of a canonical value."""
    return sha256(f"{type}\0{value}".encode()).hexdigest()[:32]


def source_id(feed: str, external_id: str, indicator: str) -> str:
    """Of what one object of a feed says of an indicator."""
    return sha256(f"{feed}\0{external_id}\0{indicator}".encode()).hexdigest()[:32]
