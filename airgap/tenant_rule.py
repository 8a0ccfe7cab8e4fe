"""What no tenant's URL may reach, in both modes: judged by name when it is saved and resolved, and by address at connect. Pure.

A tenant writes URLs that this deployment's processes dial from inside the network. Private gateways are what they are for;
this machine, the cloud's metadata services and the deployment's own database, broker, cache and mail relay are not.

Sources: RFC 1122 section 3.2.1.3 and RFC 4291 (loopback, unspecified), RFC 3927 (link-local), RFC 6761 section 6.3 (`localhost`
and below), RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214
(ISATAP), RFC 7915 (SIIT).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Final

from airgap.hosts import Host, Malformed, Url
from airgap.policy import Address, AllowEntry, Decision, EgressPolicy, Rule

METADATA_ADDRESSES: Final = frozenset(
    {
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # credentials of container tasks
        "169.254.170.23",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    }
)
METADATA_NAMES: Final = frozenset({"metadata", "instance-data", "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com"})
LOOPBACK_NAMES: Final = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localhost4.localdomain4"}
)
_NETWORKS: Final = {
    Rule.TENANT_LOOPBACK: (ip_network("127.0.0.0/8"), ip_network("::1/128")),
    Rule.TENANT_LINK_LOCAL: (ip_network("169.254.0.0/16"), ip_network("fe80::/10")),
    Rule.TENANT_UNSPECIFIED: (ip_network("0.0.0.0/8"), ip_network("::/128")),  # Linux dials itself for them
}
# IPv6 networks whose addresses carry an IPv4 address, and how far from the right it stands, in bits.
_CARRIERS: Final = (
    (IPv6Network("::/96"), 0),  # IPv4-compatible, given up by RFC 4291
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # SIIT
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, well known
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64, local use
    (IPv6Network("2002::/16"), 80),  # 6to4
)
_TEREDO: Final = IPv6Network("2001::/32")  # the client's address, inverted, and the server's
_ISATAP: Final = 0x00005EFE  # in any network; bit 25 says that the IPv4 address is a public one


@dataclass(frozen=True, slots=True)
class Own:
    """A host that this deployment itself depends on, in canonical text. `what` is a word for the reason: "database"."""

    what: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What only a look-up can tell: the addresses (canonical text) of each of TenantRule.names(), and which addresses are this machine's."""

    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_here: Callable[[str], bool] = lambda _address: False


@dataclass(frozen=True, slots=True)
class TenantRule:
    """own: refused on every port, by name and by address. denied: AISOC_BYOK_DENIED_HOSTS."""

    own: tuple[Own, ...] = ()
    denied: tuple[AllowEntry, ...] = ()

    def refusal_of_url(self, url: str) -> Decision | None:
        """Why a tenant's URL may not be used at all; None when nothing but the policy is left to ask."""
        parts = Url.parse(url)
        if isinstance(parts, Malformed):
            return Decision(False, Rule.MALFORMED, parts.reason)
        if parts.scheme not in ("http", "https"):
            return Decision(False, Rule.MALFORMED, f"The scheme {parts.scheme} is not http or https.")
        return self.refusal_of_host(str(parts.host), parts.port)

    def refusal_of_host(self, text: str, port: int | None) -> Decision | None:
        """Why a host may not be looked up or dialled for a tenant, by what is written."""
        host = Host.parse(text)
        if isinstance(host, Malformed):
            return Decision(False, Rule.MALFORMED, host.reason)
        if host.address is not None:
            return self._refusal_of_address(host.address, port, host.text)
        if host.text in LOOPBACK_NAMES or host.text.endswith(".localhost"):
            return _refused(Rule.TENANT_LOOPBACK, host.text)
        if host.text in METADATA_NAMES or (host.text.startswith("instance-data.") and host.text.endswith(".internal")):
            return _refused(Rule.TENANT_METADATA, host.text)
        return self._refusal_of_protected(host.text, port, host.text)

    def refusal_of_answer(self, name: str, answer: str, port: int, around: Surroundings) -> Decision | None:
        """Why `name` may not be dialled at `answer`, an address that it resolved to."""
        host = Host.parse(answer)
        if isinstance(host, Malformed) or host.address is None:
            return Decision(False, Rule.MALFORMED, f"{name} answers with what is no address.")
        if refusal := self._refusal_of_address(host.address, port, name):
            return refusal
        forms = {str(one) for one in (host.address, *carried(host.address))}
        for protected, addresses in around.addresses.items():
            if forms & addresses and (refusal := self._refusal_of_protected(protected, port, name)):
                return refusal
        for own in self.own:  # configured as localhost, it may listen on the machine's other addresses too
            if own.port == port and _is_loopback({own.host}, around) and any(around.is_here(one) for one in forms):
                return _refused(Rule.TENANT_INFRASTRUCTURE, name, own.what)
        return None

    def names(self) -> dict[str, int]:
        """The names among its hosts, with a port to look them up for."""
        named = {own.host: own.port for own in self.own if _address(own.host) is None}
        return {**named, **{entry.host: entry.port or 443 for entry in self.denied if entry.host}}

    def _refusal_of_address(self, address: Address, port: int | None, shown: str) -> Decision | None:
        """The address itself, and every IPv4 address that it carries. `shown` is the host that the reason names."""
        for one in (address, *carried(address)):
            if str(one) in METADATA_ADDRESSES:
                return _refused(Rule.TENANT_METADATA, shown)
            for rule, networks in _NETWORKS.items():
                if any(one in network for network in networks):
                    return _refused(rule, shown)
            if refusal := self._refusal_of_protected(str(one), port, shown):
                return refusal
        return None

    def _refusal_of_protected(self, host: str, port: int | None, shown: str) -> Decision | None:
        for own in self.own:
            if own.host == host:
                return _refused(Rule.TENANT_INFRASTRUCTURE, shown, own.what)
        if self.denied and EgressPolicy(True, self.denied).decide_host(host, port).rule is Rule.ALLOWLISTED:
            return _refused(Rule.TENANT_DENIED, shown)
        return None


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """The tenant rule, then the operator's policy, last: the gate asks it as it asks a policy, whatever the mode."""

    rule: TenantRule
    policy: EgressPolicy
    surroundings: Callable[[], Surroundings] = Surroundings

    @property
    def enabled(self) -> bool:
        """A tenant's call is judged with the air gap off too."""
        return True

    def decide_host(self, host: str, port: int | None = None) -> Decision:
        return self.rule.refusal_of_host(host, port) or self.policy.decide_host(host, port)

    def decide_url(self, url: str) -> Decision:
        return self.rule.refusal_of_url(url) or self.policy.decide_url(url)

    def decide_answer(self, name: str, answer: str, port: int) -> Decision:
        return self.rule.refusal_of_answer(name, answer, port, self.surroundings()) or self.policy.decide_answer(name, answer, port)


def carried(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for on its way through a translator or tunnel."""
    if not isinstance(address, IPv6Address):
        return
    number = int(address)
    for network, shift in _CARRIERS:
        if address in network and number > 1:  # :: and ::1 are judged as themselves
            yield IPv4Address(number >> shift & 0xFFFFFFFF)
    if number >> 32 & 0xFDFFFFFF == _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
    if address in _TEREDO:
        yield IPv4Address(~number & 0xFFFFFFFF)
        yield IPv4Address(number >> 64 & 0xFFFFFFFF)


_REASONS: Final = {
    Rule.TENANT_LOOPBACK: "{host} is this machine itself, which no tenant's URL may reach.",
    Rule.TENANT_LINK_LOCAL: "{host} is a link-local address, which no tenant's URL may reach.",
    Rule.TENANT_METADATA: "{host} is a metadata service, which no tenant's URL may reach.",
    Rule.TENANT_UNSPECIFIED: "{host} is an unspecified address, which stands for this machine; no tenant's URL may reach it.",
    Rule.TENANT_INFRASTRUCTURE: "{host} is this deployment's own {what}, which no tenant's URL may reach.",
    Rule.TENANT_DENIED: "{host} is on AISOC_BYOK_DENIED_HOSTS; the operator keeps tenants' URLs away from it.",
}


def _refused(rule: Rule, host: str, what: str = "") -> Decision:
    return Decision(False, rule, _REASONS[rule].format(host=host, what=what))


def _address(text: str) -> Address | None:
    host = Host.parse(text)
    return host.address if isinstance(host, Host) else None


def _is_loopback(hosts: set[str], around: Surroundings) -> bool:
    """Whether a host, by its text or by what it resolves to, is this machine's loopback."""
    texts = hosts.union(*(around.addresses.get(host, frozenset()) for host in hosts))
    found = [address for text in texts if (address := _address(text)) is not None]
    return bool(hosts & LOOPBACK_NAMES) or any(address in network for address in found for network in _NETWORKS[Rule.TENANT_LOOPBACK])
