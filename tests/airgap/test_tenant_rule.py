"""What no tenant's URL may reach: one table of spellings, in both modes, by name when it is written and by address at connect."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from airgap import lookup
from airgap.policy import EgressPolicy, Rule, parse_allowlist
from airgap.tenant_rule import Own, Surroundings, TenantPolicy, TenantRule
from airgap.transport import AirgapBlocked, gated_client
from tests.airgap.test_transport import Names, spooled
from tests.plugins.mirror import Mirror, body

Policy = Callable[..., EgressPolicy]
RULE = TenantRule(
    (Own("database", "db.corp", 5432), Own("broker and cache", "10.9.9.9", 6379), Own("mail relay", "fd00::25", 25)),
    parse_allowlist("vault.corp,10.66.0.0/16,ai.corp:8443"),
)
OFF = EgressPolicy()
ON = EgressPolicy.from_text("1", "169.254.169.254,metadata.google.internal,127.0.0.1,llm.example.com")  # no entry opens what the rule closes


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    lookup.own_addresses.cache_clear()
    return Names(monkeypatch)


@pytest.mark.parametrize("policy", [OFF, ON], ids=["off", "on"])
@pytest.mark.parametrize(
    ("url", "rule"),
    [
        *[(f"http://{host}/v1", Rule.TENANT_LOOPBACK) for host in ("localhost", "LOCALHOST", "localhost.", "a.localhost", "ip6-loopback")],
        *[(f"http://{host}:8080", Rule.TENANT_LOOPBACK) for host in ("127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]")],
        *[(f"http://[{host}]", Rule.TENANT_LOOPBACK) for host in ("64:ff9b::7f00:1", "64:ff9b:1::127.0.0.1", "2002:7f00:1::1", "::127.0.0.1")],
        *[(f"http://[{host}]", Rule.TENANT_LOOPBACK) for host in ("::ffff:0:127.0.0.1", "fd00::5efe:7f00:1", "2001:0:102:304::80ff:fffe")],
        *[(f"http://{host}", Rule.TENANT_METADATA) for host in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "[fd00:ec2::254]")],
        *[(f"http://{host}", Rule.TENANT_METADATA) for host in ("metadata", "metadata.", "instance-data", "METADATA.google.internal.")],
        *[(f"http://[{host}]", Rule.TENANT_METADATA) for host in ("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::")],
        ("http://169.254.7.7", Rule.TENANT_LINK_LOCAL),
        ("http://[fe80::1]", Rule.TENANT_LINK_LOCAL),
        ("http://[fe80::1%25eth0]", Rule.TENANT_LINK_LOCAL),
        *[(f"http://{host}", Rule.TENANT_UNSPECIFIED) for host in ("0.0.0.0", "0.1.2.3", "[::]", "[::ffff:0.0.0.0]", "[64:ff9b::]")],
        *[(f"http://{host}", Rule.TENANT_INFRASTRUCTURE) for host in ("db.corp:5432", "DB.corp.", "10.9.9.9", "10.9.9.9:6379", "[fd00::25]:25")],
        ("http://[64:ff9b::a09:909]", Rule.TENANT_INFRASTRUCTURE),
        *[(f"http://{host}", Rule.TENANT_DENIED) for host in ("vault.corp", "a.vault.corp", "10.66.1.1", "[64:ff9b::a42:101]", "ai.corp:8443")],
        *[(f"http://{host}", Rule.MALFORMED) for host in ("2130706433", "0x7f000001", "127.1", "0177.0.0.1", "2852039166", "a@b@c", "", "[::1")],
        *[(url, Rule.MALFORMED) for url in ("ftp://gw.corp", "ws://gw.corp", "file:///etc/passwd", "gw.corp", "http://a\\@b/", "http://a。b")],
    ],
)
def test_no_spelling_gets_a_tenant_to_where_it_may_not_go(url: str, rule: Rule, policy: EgressPolicy) -> None:
    decision = TenantPolicy(RULE, policy).decide_url(url)
    assert (decision.allowed, decision.rule) == (False, rule)
    assert decision.reason


@pytest.mark.parametrize(
    "url",
    ["http://10.0.42.5:8080", "http://192.168.1.9/v1", "http://litellm.internal:4000", "http://ollama:11434", "https://ai.corp", "http://[fd12::1]"],
)
def test_private_gateways_stay_open_to_tenants(url: str) -> None:
    for policy in (OFF, ON):
        assert TenantPolicy(RULE, policy).decide_url(url).allowed


def test_the_operators_policy_has_the_last_word() -> None:
    for url, rule in (("https://api.openai.com", Rule.PUBLIC), ("https://llm.example.com", Rule.ALLOWLISTED)):
        assert TenantPolicy(RULE, ON).decide_url(url).rule is rule
        assert TenantPolicy(RULE, OFF).decide_url(url).rule is Rule.AIRGAP_OFF


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("127.0.0.1", Rule.TENANT_LOOPBACK),
        ("169.254.169.254", Rule.TENANT_METADATA),
        ("fe80::1%2", Rule.TENANT_LINK_LOCAL),
        ("0.0.0.0", Rule.TENANT_UNSPECIFIED),
        ("10.9.9.9", Rule.TENANT_INFRASTRUCTURE),  # written as this address
        ("10.1.1.1", Rule.TENANT_INFRASTRUCTURE),  # what db.corp resolves to
        ("64:ff9b::a01:101", Rule.TENANT_INFRASTRUCTURE),  # the same behind NAT64
        ("10.2.2.2", Rule.TENANT_DENIED),  # what vault.corp resolves to
        ("10.66.3.3", Rule.TENANT_DENIED),
        ("not an address", Rule.MALFORMED),
    ],
)
def test_every_answer_of_a_look_up_is_judged(answer: str, rule: Rule) -> None:
    around = Surroundings({"db.corp": frozenset({"10.1.1.1"}), "vault.corp": frozenset({"10.2.2.2"})})
    for policy in (OFF, ON):
        decision = TenantPolicy(RULE, policy, lambda: around).decide_answer("x.internal", answer, 443)
        assert (decision.allowed, decision.rule) == (False, rule)
    assert TenantPolicy(RULE, ON, lambda: around).decide_answer("x.internal", "10.0.42.5", 443).allowed


@pytest.mark.parametrize(("host", "addresses"), [("localhost", {}), ("127.0.0.1", {}), ("db.corp", {"db.corp": frozenset({"127.0.0.1"})})])
def test_a_database_on_loopback_is_not_reached_by_the_machines_other_address(host: str, addresses: dict[str, frozenset[str]]) -> None:
    policy = TenantPolicy(TenantRule((Own("database", host, 5432),)), OFF, lambda: Surroundings(addresses, lambda address: address == "10.0.0.7"))
    assert policy.decide_answer("x.internal", "10.0.0.7", 5432).rule is Rule.TENANT_INFRASTRUCTURE
    assert policy.decide_answer("x.internal", "10.0.0.7", 11434).allowed
    assert policy.decide_answer("x.internal", "10.0.0.8", 5432).allowed


def test_this_machines_addresses_are_told_from_others() -> None:
    assert lookup.is_of_this_machine("127.0.0.1")
    assert not lookup.is_of_this_machine("192.0.2.1")
    assert not lookup.is_of_this_machine("2001:db8::1")


# ── At connect ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("on", ["0", "1"])
@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        (["127.0.0.1"], Rule.TENANT_LOOPBACK),
        (["169.254.169.254"], Rule.TENANT_METADATA),
        (["10.1.1.1"], Rule.TENANT_INFRASTRUCTURE),
        (["10.0.0.5", "127.0.0.1"], Rule.TENANT_LOOPBACK),  # one is enough
    ],
)
def test_a_name_that_answers_with_a_closed_address_is_refused_at_connect(
    airgapped: Policy, names: Names, mirror: Mirror, spool_dir: Path, on: str, answers: list[str], rule: Rule
) -> None:
    airgapped(on=on)
    names.answers |= {"x.internal": answers, "db.corp": ["10.1.1.1"]}
    with gated_client(purpose="llm", tenant="acme", tenant_rule=RULE) as client, pytest.raises(AirgapBlocked) as caught:
        client.get(f"http://x.internal:{mirror.port}/v1")
    assert caught.value.decision.rule is rule
    assert spooled(spool_dir) == [("x.internal", rule.value, "connect")]
    assert mirror.requests == []


@pytest.mark.parametrize("on", ["0", "1"])
def test_a_closed_host_is_not_even_looked_up(airgapped: Policy, names: Names, on: str) -> None:
    airgapped(on=on)
    for url in ("http://metadata.google.internal/", "http://db.corp/", "http://169.254.169.254/latest/", "http://2130706433/", "http://a.localhost/"):
        with gated_client(purpose="llm", tenant_rule=RULE) as client, pytest.raises(AirgapBlocked):
            client.get(url)
    assert not set(names.asked) - {"vault.corp", "ai.corp", "db.corp"}


def test_a_name_that_rebinds_is_looked_up_once(airgapped: Policy, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers with a permitted address first, and with this machine afterwards: the permitted address is dialled, or nothing."""
    airgapped(on="0")
    names.answers["x.internal"] = ["192.0.2.1"]
    dialled: list[tuple[str, int]] = []

    def create_connection(address: tuple[str, int], *_args: object, **_kwargs: object) -> socket.socket:
        dialled.append(address)
        raise OSError("not here")

    names_asked = names.asked
    monkeypatch.setattr(socket, "create_connection", create_connection)
    with gated_client(purpose="llm", tenant_rule=TenantRule()) as client, pytest.raises(Exception, match="not here"):
        client.get("http://x.internal:8080/v1")
    assert dialled == [("192.0.2.1", 8080)]
    assert names_asked.count("x.internal") == 1


@pytest.mark.parametrize("on", ["0", "1"])
def test_no_proxy_hides_a_tenants_target(airgapped: Policy, names: Names, mirror: Mirror, settings: object, monkeypatch: object, on: str) -> None:
    airgapped(on=on)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, mirror.url)
    settings.AIRGAP_EGRESS_PROXY = mirror.url
    mirror.answers["http://x.internal/v1"] = body(b"{}")
    names.answers["x.internal"] = ["169.254.169.254"]
    with gated_client(purpose="llm", tenant_rule=RULE) as client, pytest.raises(AirgapBlocked):
        client.get("http://x.internal/v1")
    assert mirror.requests == []


def test_addresses_of_protected_names_outlive_a_resolver_that_fails(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    known = lookup.OwnAddresses({"db.corp": 5432, "gone.corp": 1}, OFF)
    names.answers["db.corp"] = ["10.1.1.1", "10.1.1.2"]
    assert known.surroundings().addresses == {"db.corp": {"10.1.1.1", "10.1.1.2"}, "gone.corp": frozenset()}
    monkeypatch.setattr(known, "_until", 1.0)  # long ago
    names.answers.clear()
    assert known.surroundings().addresses["db.corp"] == {"10.1.1.1", "10.1.1.2"}
    names.answers["db.corp"] = ["10.1.1.3"]
    assert known.surroundings().addresses["db.corp"] == {"10.1.1.1", "10.1.1.2"}  # not asked again so soon


def test_a_protected_name_that_the_policy_refuses_is_not_looked_up(names: Names) -> None:
    known = lookup.OwnAddresses({"mail.example.com": 25}, EgressPolicy.from_text("1", ""))
    assert known.surroundings().addresses == {"mail.example.com": frozenset()}
    assert names.asked == []
