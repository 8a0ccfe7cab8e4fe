"""The policy: one table of inputs with the rule that decides each."""

import contextlib
import json
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.policy import AllowEntry, EgressPolicy, PolicyError, Rule, parse_allowlist, strict_bool
from tests.conftest import ROOT

ON = EgressPolicy.from_text("1", "")
LISTED = EgressPolicy.from_text("on", "mirror.example.internal, intel.example.com ,llm.example.com:8443")

ALLOWED = [
    *(
        (host, Rule.PRIVATE_ADDRESS)
        for host in (
            "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.7.7", "169.254.169.254",
            "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        )
    ),
    *((host, Rule.SINGLE_LABEL) for host in ("ollama", "opensearch", "redpanda", "vllm-gateway", "my_service", "internal", "ai")),
    *((f"x{suffix}", Rule.PRIVATE_SUFFIX) for suffix in (".local", ".internal", ".lan", ".intranet", ".corp", ".home", ".localdomain")),
    *((f"X{suffix}".upper(), Rule.PRIVATE_SUFFIX) for suffix in (".local", ".internal", ".lan", ".intranet", ".corp", ".home", ".localdomain")),
    ("localhost", Rule.LOCALHOST),
    ("LOCALHOST", Rule.LOCALHOST),
    ("localhost.", Rule.LOCALHOST),
    ("x.internal.", Rule.PRIVATE_SUFFIX),
    ("a.b.c.corp", Rule.PRIVATE_SUFFIX),
]  # fmt: skip
PUBLIC = (
    "api.openai.com", "api.anthropic.com", "otx.alienvault.com", "www.cisa.gov", "www.virustotal.com", "8.8.8.8", "1.1.1.1",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "::ffff:808:808", "64:ff9b::808:808", "2002:808:808::1",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.5", "240.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
    "172.15.255.255", "172.32.0.0", "::", "fec0::1", "::10.0.0.1",
    "api.openai.com.", "ollama.", "ai.", "x.evillocalhost", "notlocalhost.com", "x.localhost", "internal.evil.com", "foo.corp.evil.com",
    "example.com", "xn--ntel-k9d.example.com", "іntel.example.com",
)  # fmt: skip
MALFORMED = (
    "134744072", "0x08080808", "010.8.8.8", "8.8", "127.1", "", "a b", "api。openai。com", "ａｐｉ.openai.com", "%31%30.0.0.1", "a\\b", "a\nb",
)  # fmt: skip


@pytest.mark.parametrize(("host", "rule"), ALLOWED)
def test_what_is_internal_by_definition_is_allowed(host: str, rule: Rule) -> None:
    decision = ON.decide_host(host, 443)
    assert (decision.allowed, decision.rule) == (True, rule)
    assert ON.classify(host) is rule


@pytest.mark.parametrize("host", PUBLIC)
def test_what_is_not_enumerated_is_public_and_refused(host: str) -> None:
    decision = ON.decide_host(host, 443)
    assert (decision.allowed, decision.rule) == (False, Rule.PUBLIC)
    assert "AISOC_AIRGAP_ALLOWLIST" in decision.reason


@pytest.mark.parametrize("host", MALFORMED)
def test_malformed_hosts_are_refused(host: str) -> None:
    assert (ON.decide_host(host, 80).allowed, ON.decide_host(host, 80).rule) == (False, Rule.MALFORMED)


@pytest.mark.parametrize("url", ["http://kev-mirror/feed.json", "http://litellm.internal:4000/v1", "http://10.0.42.5:8080", "http://[::1]:8000/"])
def test_internal_urls_are_allowed(url: str) -> None:
    assert ON.decide_url(url).allowed


@pytest.mark.parametrize(
    "url", ["", "http://", "not-a-url", "file:///etc/passwd", "ftp://intel.corp/", "http://a@b@ollama/", "http:\\\\ollama/", "http://%6f/"]
)
def test_texts_that_are_no_url_are_malformed(url: str) -> None:
    assert (ON.decide_url(url).allowed, ON.decide_url(url).rule) == (False, Rule.MALFORMED)


def test_user_info_does_not_disguise_the_host() -> None:
    decision = ON.decide_url("http://10.0.0.5@api.openai.com/")
    assert (decision.allowed, decision.rule) == (False, Rule.PUBLIC)


@pytest.mark.parametrize("host", ["intel.example.com", "misp.intel.example.com", "INTEL.EXAMPLE.COM", "intel.example.com.", "a.b.intel.example.com"])
def test_an_entry_covers_itself_and_its_subdomains(host: str) -> None:
    assert LISTED.decide_host(host, 443).rule is Rule.ALLOWLISTED


@pytest.mark.parametrize("host", ["example.com", "notintel.example.com", "intel.example.com.evil.net", "intel.example.co", "com"])
def test_an_entry_covers_neither_its_parent_nor_a_look_alike(host: str) -> None:
    assert LISTED.decide_host(host, 443).rule is not Rule.ALLOWLISTED


def test_a_port_entry_opens_that_port_only() -> None:
    policy = EgressPolicy.from_text("1", "host.example:8443")
    assert policy.decide_host("host.example", 8443).allowed
    refused = policy.decide_host("host.example", 443)
    assert (refused.allowed, refused.rule) == (False, Rule.PUBLIC)
    assert "8443" in refused.reason
    assert "443" in refused.reason
    assert policy.decide_host("host.example", None).allowed, "a look-up is allowed; the port is enforced at connect"
    assert policy.decide_host("sub.host.example", 8443).allowed


def test_several_entries_of_a_host_add_up() -> None:
    policy = EgressPolicy.from_text("1", "a.example:1,a.example:2,example2.net:5,deep.example2.net")
    assert [policy.decide_host("a.example", port).allowed for port in (1, 2, 3)] == [True, True, False]
    assert policy.decide_host("deep.example2.net", 9).allowed
    assert not policy.decide_host("other.example2.net", 9).allowed


def test_a_port_entry_does_not_narrow_what_is_internal_anyway() -> None:
    assert EgressPolicy.from_text("1", "ollama:11434").decide_host("ollama", 80).rule is Rule.SINGLE_LABEL


def test_a_one_label_entry_opens_no_top_level_domain() -> None:
    policy = EgressPolicy.from_text("1", "com,ai")
    assert not policy.decide_host("api.openai.com", 443).allowed
    assert not policy.decide_host("ai.", 443).allowed


def test_networks_cover_their_addresses_and_mapped_forms() -> None:
    policy = EgressPolicy.from_text("1", "100.64.0.0/10,2001:db8::/32,[2001:db9::1]:443,9.9.9.9:53")
    assert policy.decide_host("100.100.1.1", 1).rule is Rule.ALLOWLISTED
    assert policy.decide_host("::ffff:100.100.1.1", 1).rule is Rule.ALLOWLISTED
    assert policy.decide_host("2001:db8:5::1", 1).rule is Rule.ALLOWLISTED
    assert [policy.decide_host("2001:db9::1", port).allowed for port in (443, 80)] == [True, False]
    assert [policy.decide_host("9.9.9.9", port).allowed for port in (53, 443, None)] == [True, False, True]
    assert not policy.decide_host("100.128.0.1", 1).allowed


def test_with_the_flag_off_everything_is_allowed_by_rule_airgap_off() -> None:
    off = EgressPolicy.from_text("", "intel.example.com")
    for host in (*PUBLIC, *MALFORMED):
        assert off.decide_host(host, 1).rule is Rule.AIRGAP_OFF
    assert off.decide_url("not-a-url").allowed
    assert off.classify("api.openai.com") is Rule.PUBLIC


@pytest.mark.parametrize("word", ["on", "ON", "yes", "1", "true", "t", "Y", " true "])
def test_words_that_mean_on(word: str) -> None:
    assert strict_bool(word) is True


@pytest.mark.parametrize("word", ["", "0", "off", "No", "FALSE", "n", "f", " "])
def test_words_that_mean_off(word: str) -> None:
    assert strict_bool(word) is False


@pytest.mark.parametrize("word", ["maybe", "ture", "enabled", "2", "oui", "1;", "True;"])
def test_any_other_word_is_an_error_with_the_fix(word: str) -> None:
    with pytest.raises(PolicyError, match="Use 1 or 0"):
        strict_bool(word)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Intel.Example.COM.", "intel.example.com"),
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5:8443", "10.0.0.5:8443"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("100.64.0.0/10", "100.64.0.0/10"),
        ("ollama:11434", "ollama:11434"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_entries_are_shown_normalised_and_read_back_the_same(text: str, shown: str) -> None:
    entry = AllowEntry.parse(text)
    assert str(entry) == shown
    assert AllowEntry.parse(shown) == entry


def test_blank_items_white_space_and_newlines_around_items_are_dropped() -> None:
    assert [str(entry) for entry in parse_allowlist(" a.example ,, \n b.example\n,")] == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("https://intel.corp/x", "'intel.corp'"),
        ("http://user:pw@intel.corp", "'intel.corp'"),
        ("*.intel.corp", "'intel.corp'"),
        (".intel.corp", "'intel.corp'"),
        ('"intel.corp"', "'intel.corp'"),
        ("intel.corp/path", "'intel.corp'"),
        ("intel.corp#mirror", "'intel.corp'"),
        ("me@intel.corp", "the host alone"),
        ("a.corp;b.corp", "comma"),
        ("a.corp b.corp", "comma"),
        ("10.0.0.5/8", "'10.0.0.0/8'"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("intel.corp:0", "1 to 65535"),
        ("intel.corp:http", "1 to 65535"),
        ("::ffff:100.64.0.0/106", "IPv4"),
        ("fe80::1%eth0", "zone"),
        ("*", "intel.example.com"),
        ("/", "path"),
        ("0.0.0.0/0", "/8"),
        ("2000::/3", "/16"),
    ],
)
def test_a_malformed_entry_is_an_error_that_names_the_fix(text: str, fix: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_allowlist(f"ok.example,{text}")
    assert fix in str(caught.value)
    assert "pw" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_allowlist_text_raises_anything_but_policy_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        entries = parse_allowlist(text)
        assert all(AllowEntry.parse(str(entry)) == entry for entry in entries)


@given(st.ip_addresses())
def test_an_address_is_allowed_only_inside_the_spelled_out_networks(address: object) -> None:
    decision = ON.decide_host(str(address), 443)
    unmapped = getattr(address, "ipv4_mapped", None) or address
    inside = (
        unmapped.is_loopback
        or unmapped.is_link_local
        or any(unmapped.version == network.version and unmapped in network for network in _documented_networks())
    )
    assert decision.allowed is inside


def _documented_networks() -> list[object]:
    from ipaddress import ip_network

    return [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]


def test_answers_of_internal_looking_names_must_be_internal() -> None:
    policy = EgressPolicy.from_text("1", "listed.internal,8.8.4.4")
    assert policy.decide_answer("x.internal", "10.1.1.1", 80).allowed
    assert policy.decide_answer("x.internal", "100.64.9.9", 80).allowed, "carrier NAT is a pod address"
    assert policy.decide_answer("x.internal", "8.8.4.4", 80).allowed, "an allowlisted address may be dialled"
    for answer in ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        decision = policy.decide_answer("x.internal", answer, 80)
        assert (decision.allowed, decision.rule) == (False, Rule.PRIVATE_NAME_PUBLIC_ANSWER)
    assert policy.decide_answer("ollama", "1.1.1.1", 80).rule is Rule.PRIVATE_NAME_PUBLIC_ANSWER
    assert policy.decide_answer("listed.internal", "8.8.8.8", 80).allowed, "the operator named it"
    assert not policy.decide_answer("public.example", "10.0.0.1", 80).allowed


def test_policies_are_values() -> None:
    assert EgressPolicy.from_text("1", "a.example") == EgressPolicy.from_text("yes", " A.example. ")
    assert EgressPolicy.from_text("1", "a.example") != EgressPolicy.from_text("1", "b.example")
    assert hash(EgressPolicy.from_text("1", "a.example")) == hash(EgressPolicy.from_text("on", "a.example"))


def test_remembered_decisions_stay_bounded_and_right() -> None:
    policy = EgressPolicy.from_text("1", "")
    for number in range(10_000):
        assert not policy.decide_host(f"h{number}.example.com", number % 100 + 1).allowed
    assert sum(len(texts) for texts in policy._memo.values()) <= 16 * 2048
    assert not policy.decide_host("x" * 100_000, 443).allowed
    assert all(len(text) <= 255 for texts in policy._memo.values() for text in texts)


def test_the_pure_core_imports_without_django() -> None:
    code = "import sys; from airgap.policy import EgressPolicy; EgressPolicy.from_text('1','a.example'); sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_shared_url_cases(shared_data: Path) -> None:
    policy = EgressPolicy.from_text("1", "mirror.example.internal,intel.example.com,llm.example.com:8443")
    cases = [json.loads(line) for line in (shared_data / "url_cases.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(cases) >= 190
    wrong = []
    for case in cases:
        decision = policy.decide_url(case["url"])
        verdict = "allow" if decision.allowed else "invalid" if decision.rule is Rule.MALFORMED else "block"
        if verdict != case["verdict"]:
            wrong.append((case, decision))
    assert wrong == []


def test_the_shared_allowlist_entries(shared_data: Path) -> None:
    for case in json.loads((shared_data / "allowlist_entries.json").read_text(encoding="utf-8")):
        try:
            parse_allowlist(case["entry"])
            verdict = "ok"
        except PolicyError:
            verdict = "error"
        assert verdict == case["verdict"], case


def test_addresses_are_judged_without_the_library_flags() -> None:
    """`is_private` changed between Python's patch releases; these differ from it on purpose."""
    for text in ("203.0.113.5", "198.18.0.1", "240.0.0.1", "0.0.0.0"):
        assert ip_address(text).is_private
        assert not ON.decide_host(text, 1).allowed
