"""A mail relay as a URL; no Django.

smtp://        plain, port 25
smtp+tls://    STARTTLS, which the relay must offer (RFC 3207), port 587
smtps:// and smtp+ssl://    TLS from the first byte (RFC 8314), port 465
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from airgap.hosts import Host, Malformed

_URL = re.compile(
    r"(?P<scheme>smtp|smtps|smtp\+tls|smtp\+ssl)://(?:(?P<user>[^@/?#:]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<host>\[[^\]]+\]|[^:/?#@\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465, "smtp+ssl": 465}


@dataclass(frozen=True, slots=True)
class MailRelay:
    """Where mail is handed in. starttls and tls exclude each other."""

    host: str
    port: int
    starttls: bool
    tls: bool
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> "MailRelay":
        """Raises ValueError, whose text quotes nothing of a password."""
        match = _URL.fullmatch(text.strip())
        if match is None:
            raise ValueError("It is not an smtp://, smtp+tls://, smtps:// or smtp+ssl:// URL.")
        host = Host.parse(match["host"].strip("[]"))
        if isinstance(host, Malformed):
            raise ValueError(host.reason)
        port = int(match["port"] or _PORTS[match["scheme"]])
        if not 0 < port < 65536:
            raise ValueError("The port is not in 1 to 65535.")
        if any(not char.isprintable() for char in unquote((match["user"] or "") + (match["password"] or ""))):
            raise ValueError("User name or password holds a control character.")
        return cls(
            host=host.text,
            port=port,
            starttls=match["scheme"] == "smtp+tls",
            tls=match["scheme"] in ("smtps", "smtp+ssl"),
            username=unquote(match["user"] or ""),
            password=unquote(match["password"] or ""),
        )
