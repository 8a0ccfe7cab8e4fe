"""Middleware: forwarded headers are believed when a trusted proxy sent them, and are gone when anybody else did.

Behind a trusted proxy REMOTE_ADDR becomes the last address of X-Forwarded-For that is not itself a trusted proxy's: the
hops before it are the client's own words.
"""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

FORWARDED = ("FORWARDED", "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PROTO", "X_REAL_IP")
Networks = Sequence[IPv4Network | IPv6Network]


class ForwardedByTrusted:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        networks: Networks = settings.TRUSTED_PROXIES
        if networks and _is_trusted(request.META.get("REMOTE_ADDR", ""), networks):
            request.META["REMOTE_ADDR"] = client_of(request.META["REMOTE_ADDR"], request.META.get("HTTP_X_FORWARDED_FOR", ""), networks)
        else:
            for name in FORWARDED:
                request.META.pop(f"HTTP_{name}", None)
        return self._get_response(request)


def client_of(peer: str, forwarded_for: str, networks: Networks) -> str:
    """The address that the outermost trusted proxy saw; the last one that can be read when a hop is no address."""
    client = peer
    for hop in reversed(forwarded_for.split(",")):
        address = _address(hop.strip())
        if address is None:
            break
        client = str(address)
        if not _is_trusted(client, networks):
            break
    return client


def _is_trusted(text: str, networks: Networks) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
