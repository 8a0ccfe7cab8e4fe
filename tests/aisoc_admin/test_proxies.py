"""Forwarded headers count when a trusted proxy sent them, and do not exist when anybody else did."""

from ipaddress import ip_network

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from aisoc_admin.proxies import FORWARDED, ForwardedByTrusted, client_of

PROXIES = (ip_network("10.0.0.0/24"), ip_network("fd00::5/128"))


def seen(settings: object, peer: str, **headers: str) -> HttpRequest:
    settings.TRUSTED_PROXIES = PROXIES
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    found: list[HttpRequest] = []

    def view(request: HttpRequest) -> HttpResponse:
        found.append(request)
        return HttpResponse()

    ForwardedByTrusted(view)(RequestFactory().get("/", REMOTE_ADDR=peer, **headers))
    return found[0]


def test_a_trusted_proxy_says_who_asked_and_that_it_was_over_tls(settings: object) -> None:
    request = seen(settings, "10.0.0.5", HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="192.0.2.9")
    assert (request.META["REMOTE_ADDR"], request.is_secure()) == ("192.0.2.9", True)


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.1.5", "", "fd00::6", "::ffff:10.0.1.5"])
def test_nobody_else_is_believed(settings: object, peer: str) -> None:
    request = seen(settings, peer, HTTP_X_FORWARDED_PROTO="https", **{f"HTTP_{name}": "1.2.3.4" for name in FORWARDED if "PROTO" not in name})
    assert (request.META["REMOTE_ADDR"], request.is_secure()) == (peer, False)
    assert not [name for name in request.META if "FORWARDED" in name or "REAL_IP" in name]


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("", "10.0.0.5"),
        ("192.0.2.9", "192.0.2.9"),
        ("1.1.1.1, 192.0.2.9", "192.0.2.9"),  # the client wrote the first one
        ("192.0.2.9, 10.0.0.7", "192.0.2.9"),
        ("1.1.1.1, 192.0.2.9, 10.0.0.7, 10.0.0.8", "192.0.2.9"),
        ("<script>", "10.0.0.5"),
        ("1.1.1.1, rubbish", "10.0.0.5"),
        ("10.0.0.9", "10.0.0.9"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_trusted_proxy(forwarded_for: str, client: str) -> None:
    assert client_of("10.0.0.5", forwarded_for, PROXIES) == client


def test_plain_http_is_redirected_in_production_and_probes_are_not(settings: object) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.TRUSTED_PROXIES = (ip_network("127.0.0.1"),)
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client().get("/settings/feeds/").headers["Location"] == "https://testserver/settings/feeds/"
    assert Client().get("/api/v1/airgap/status").status_code == 200
    assert Client(HTTP_X_FORWARDED_PROTO="https").get("/").headers["Location"] == "/settings/deployment/"
