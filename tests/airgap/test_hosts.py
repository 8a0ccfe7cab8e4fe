"""The one reader of hosts and URLs: what it accepts has one canonical reading; everything else is Malformed with a reason."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.hosts import Host, Malformed, Url, shown_host


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("OLLAMA", "ollama"),
        ("Intel.Example.COM", "intel.example.com"),
        ("intel.example.com.", "intel.example.com"),
        ("localhost.", "localhost"),
        ("ollama.", "ollama."),
        ("my_service", "my_service"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("FE80::1", "fe80::1"),
        ("0000:0000:0000:0000:0000:0000:0000:0001", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:808:808", "8.8.8.8"),
        ("fe80::1%eth0", "fe80::1"),
        ("123.internal", "123.internal"),
        ("0xollama", "0xollama"),
        ("a" * 63 + ".internal", "a" * 63 + ".internal"),
    ],
)
def test_a_host_is_read_as_its_canonical_form(text: str, canonical: str) -> None:
    host = Host.parse(text)
    assert isinstance(host, Host), host
    assert str(host) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-a",
        "a-",
        "a b",
        "a\tb",
        "a\x00",
        "a/b",
        "a@b",
        "a%62",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "134744072",
        "0x08080808",
        "0X08080808",
        "010.8.8.8",
        "8.8",
        "127.1",
        "8.8.8.8.",
        "256.1.1.1",
        "1.2.3.4.5",
        "foo.0x7f",
        "[::1]",
        "::1%lo",
        "fe80::1%",
        "fe80::1%a/b",
        "12345::",
        "::ffff:010.0.0.1",
        "1:2",
        "api。openai。com",
        "ａｐｉ.openai.com",
        "\u212a.corp",
        "faß.internal",
        "\u0662\u0663.internal",
        "exa\u0301mple.internal",
        "evil\u00ad.com",
    ],
)
def test_text_that_readers_could_read_differently_is_malformed(text: str) -> None:
    host = Host.parse(text)
    assert isinstance(host, Malformed), host
    assert host.reason


@given(st.text(max_size=80))
def test_no_text_makes_the_reader_raise_and_what_it_accepts_is_a_fixed_point(text: str) -> None:
    host = Host.parse(text)
    if isinstance(host, Malformed):
        assert host.reason.isprintable()
        assert host.reason.isascii()
    else:
        assert Host.parse(str(host)) == host if not host.zone else True
        assert str(host).isascii()


@given(st.text(max_size=120).map(lambda rest: f"http://{rest}"))
def test_no_url_makes_the_reader_raise(text: str) -> None:
    url = Url.parse(text)
    assert isinstance(url, Malformed) or Url.parse(url.origin + "/") == Url(url.scheme, url.host, url.port, "/") or url.host.zone


@given(st.ip_addresses(v=4))
def test_a_dotted_quad_is_read_as_python_reads_it(address: ipaddress.IPv4Address) -> None:
    host = Host.parse(str(address))
    assert isinstance(host, Host)
    assert host.address == address


@given(st.ip_addresses(v=6))
def test_an_ipv6_literal_is_read_as_python_reads_it_but_for_mapped_ones(address: ipaddress.IPv6Address) -> None:
    host = Host.parse(str(address))
    assert isinstance(host, Host)
    assert host.address == (address.ipv4_mapped or address)


def test_a_malformed_reason_shows_no_user_info_and_no_query() -> None:
    for text in ("http://user:hunter2@bad host/?token=t0psecret", "http://user:hunter2@a@b/", "ht tp://user:hunter2@x/?t0psecret"):
        url = Url.parse(text)
        assert isinstance(url, Malformed)
        assert "hunter2" not in url.reason
        assert "t0psecret" not in url.reason


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Intel.Example.COM.", "intel.example.com"),
        ("::FFFF:8.8.8.8", "8.8.8.8"),
        ("ollama.", "ollama."),
        ("134744072", "134744072"),
        ("hunter2@intel.corp", "***@intel.corp"),
        ("user:hunter2%40intel.corp", "***@intel.corp"),
        ("redis://:hunter2@redis:6379", "***@redis:6379"),
        ("redis://:hunter2@redis:6379/0", "***@redis:6379"),
        ("redis://:hunt/er2@redis:6379", "(malformed)"),
        ("redis://:hunt@er/2@redis:6379", "(malformed)"),
        ("hooks.slack.com/services/T0/B0/hunter2", "hooks.slack.com"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "hooks.slack.com"),
        ("intel.corp?token=hunter2", "intel.corp"),
        ("intel.corp#hunter2", "intel.corp"),
        ("intel.corp\\hunter2", "intel.corp"),
        ("", ""),
    ],
)
def test_what_came_as_a_host_is_shown_without_secrets(text: str, shown: str) -> None:
    """Whole URLs are handed to clients in a host's place often enough."""
    assert shown_host(text) == shown
    host = Host.parse(text)
    assert "hunt" not in (host.reason if isinstance(host, Malformed) else host.text)


@pytest.mark.parametrize(
    ("text", "origin", "port"),
    [
        ("http://ollama:11434/v1", "http://ollama:11434", 11434),
        ("HTTPS://Intel.corp", "https://intel.corp", 443),
        ("https://intel.corp:443/x?y#z", "https://intel.corp", 443),
        ("http://[fd12::1]:80/", "http://[fd12::1]", 80),
        ("ws://ollama:8080/", "ws://ollama:8080", 8080),
        ("http://user:pw@intel.corp/x", "http://intel.corp", 80),
        ("http://intel.corp:/", "http://intel.corp", 80),
    ],
)
def test_a_url_has_an_origin_and_a_port(text: str, origin: str, port: int) -> None:
    url = Url.parse(text)
    assert isinstance(url, Url)
    assert (url.origin, url.port) == (origin, port)


def test_a_url_longer_than_the_bound_is_refused_unread() -> None:
    assert isinstance(Url.parse("http://ollama/" + "a" * 9000), Malformed)
