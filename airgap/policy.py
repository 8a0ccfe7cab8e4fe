"""Decides whether a host or URL may be contacted: values in, a Decision with its rule and reason out.

Pure: no Django, no DNS, no clock. The transport, the scheduler, the LLM resolver, status, checks and pages all ask here,
so none of them can drift from what is enforced.

    PolicyError(ValueError)     text of AISOC_AIRGAPPED or AISOC_AIRGAP_ALLOWLIST that stops the process
"""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from airgap.hosts import Host, Malformed, Url, read_url

PRIVATE_NETWORKS: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",  # RFC 1918
        "192.168.0.0/16",  # RFC 1918
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927
        "fc00::/7",  # unique local, RFC 4193
        "fe80::/10",  # link-local, RFC 4291
        "::1/128",  # loopback, RFC 4291
    )
)
CARRIER_NAT: Final = IPv4Network("100.64.0.0/10")  # RFC 6598: a permitted answer for an internal name, never a literal
LOCALHOST: Final = "localhost"
PRIVATE_SUFFIXES: Final = (".local", ".internal", ".lan", ".intranet", ".corp", ".home", ".localdomain")
IMPLICIT_PRIVATE_SUFFIXES: Final = (*PRIVATE_SUFFIXES, LOCALHOST)
MAX_REMEMBERED: Final = 2048  # decisions kept a port
MAX_REMEMBERED_PORTS: Final = 16
MAX_REMEMBERED_TEXT: Final = 255  # characters; longer text is never a host and never worth keeping
WIDEST: Final = {4: 8, 6: 16}  # the shortest prefix length an allowlist network may have
_PRIVATE_TOP_LABELS = frozenset(suffix[1:] for suffix in PRIVATE_SUFFIXES)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class PolicyError(ValueError):
    """Policy text that must stop the process. `fix` is a right value to write instead."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message} {fix}")
        self.fix = fix


class Rule(StrEnum):
    """Why a decision came out as it did: stable words for logs, filters and tests."""

    AIRGAP_OFF = "airgap_off"
    MALFORMED = "malformed"
    ALLOWLISTED = "allowlisted"
    PRIVATE_ADDRESS = "private_address"
    LOCALHOST = "localhost"
    PRIVATE_SUFFIX = "private_suffix"
    SINGLE_LABEL = "single_label"
    PUBLIC = "public"
    PRIVATE_NAME_PUBLIC_ANSWER = "private_name_public_answer"
    OWN_RESOLVER = "own_resolver"
    # Of tenants' URLs (airgap/tenant_rule.py)
    TENANT_LOOPBACK = "tenant_loopback"
    TENANT_LINK_LOCAL = "tenant_link_local"
    TENANT_METADATA = "tenant_metadata"
    TENANT_UNSPECIFIED = "tenant_unspecified"
    TENANT_INFRASTRUCTURE = "tenant_infrastructure"
    TENANT_DENIED = "tenant_denied"


@dataclass(frozen=True, slots=True)
class Decision:
    """allowed; rule for machines; reason, one English sentence, shown as it is in log, API and page."""

    allowed: bool
    rule: Rule
    reason: str


_OFF = Decision(True, Rule.AIRGAP_OFF, "Air-gap mode is off; outbound requests are not restricted.")


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One allowlist entry: a host and all below it (a one-label host: itself only) or a network, on one port or on all."""

    host: str = ""
    network: Network | None = None
    port: int | None = None

    def __str__(self) -> str:
        if self.network is None:
            return self.host if self.port is None else f"{self.host}:{self.port}"
        if self.network.prefixlen < self.network.max_prefixlen:
            return str(self.network)
        address = str(self.network.network_address)
        if self.port is None:
            return address
        return f"[{address}]:{self.port}" if self.network.version == 6 else f"{address}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "AllowEntry":
        """Read `host`, `host:port`, `IPv4[:port]`, bare `IPv6`, `[IPv6][:port]` or a CIDR. Raises PolicyError with the fix."""
        _reject_decoration(text)
        if "/" in text:
            return cls(network=_parse_network(text))
        name, port = _split_entry(text)
        host = Host.parse(name)
        if isinstance(host, Malformed) or host.zone:
            reason = f"{name!r} has a zone." if isinstance(host, Host) else host.reason
            raise PolicyError(f"The entry {text!r} is not a host: {reason}", "Use 'intel.example.com', '10.0.0.5' or '[2001:db8::1]:443'.")
        if host.address is not None:
            return cls(network=ip_network(host.address), port=port)
        return cls(host=host.text, port=port)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The operator's egress policy: off, or on with an allowlist. An immutable value; compare policies with `==`."""

    enabled: bool = False
    allowlist: tuple[AllowEntry, ...] = ()
    _ports_by_name: dict[str, frozenset[int | None]] = field(init=False, repr=False, compare=False)
    _networks: tuple[tuple[Network, int | None], ...] = field(init=False, repr=False, compare=False)
    _memo: dict[int | None, dict[str, Decision]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, set[int | None]] = {}
        for entry in self.allowlist:
            if entry.network is None:
                by_name.setdefault(entry.host, set()).add(entry.port)
        put = object.__setattr__
        put(self, "_ports_by_name", {name: frozenset(ports) for name, ports in by_name.items()})
        put(self, "_networks", tuple((entry.network, entry.port) for entry in self.allowlist if entry.network is not None))
        put(self, "_memo", {})

    @classmethod
    def from_text(cls, airgapped: str, allowlist: str) -> "EgressPolicy":
        """The policy of the two environment variables' text. Raises PolicyError; the allowlist is read even when the mode is off."""
        return cls(strict_bool(airgapped), parse_allowlist(allowlist))

    def decide_host(self, host: str, port: int | None = None) -> Decision:
        """First rule that matches wins; nothing matched means no.

        port None asks about the look-up alone: an entry with a port allows it, and the port is enforced at connect.
        """
        try:
            return self._memo[port][host]  # nested: half the price of a tuple key or of lru_cache
        except KeyError:
            return self._decide_and_remember(host, port)

    def decide_url(self, url: str) -> Decision:
        """The decision for a whole http, https, ws or wss URL; its port is the explicit one or the scheme's default."""
        if not self.enabled:
            return _OFF
        parts = read_url(url)
        if isinstance(parts, Malformed):
            return Decision(False, Rule.MALFORMED, parts.reason)
        return self._judge(parts[1], parts[2])

    def classify(self, url_or_host: str) -> Rule:
        """The rule by shape alone, whatever the mode and the allowlist: malformed, one of the private ones, or public."""
        return classify(url_or_host)

    def decide_answer(self, name: str, answer: str, port: int) -> Decision:
        """May `name`, which decide_host allowed, be dialled at the address `answer` that it resolved to?

        An allowlisted name may answer anything. A name that is internal by its look must answer with an internal
        (or carrier-NAT, RFC 6598) address: a public answer means that it does not stay inside, whatever it is called.
        """
        by_name = self.decide_host(name, port)
        if not by_name.allowed or by_name.rule in (Rule.AIRGAP_OFF, Rule.ALLOWLISTED):
            return by_name
        by_address = self.decide_host(answer, port)
        if by_address.allowed:
            return by_name
        host = Host.parse(answer)
        if isinstance(host, Host) and isinstance(host.address, IPv4Address) and host.address in CARRIER_NAT:
            return by_name
        return Decision(
            False,
            Rule.PRIVATE_NAME_PUBLIC_ANSWER,
            f"{name} looks internal but answers with the public address {answer}. If that is meant, put {name} on AISOC_AIRGAP_ALLOWLIST.",
        )

    def _decide_and_remember(self, text: str, port: int | None) -> Decision:
        decision = self._decide(text, port)
        if len(text) > MAX_REMEMBERED_TEXT:
            return decision
        if port not in self._memo and len(self._memo) >= MAX_REMEMBERED_PORTS:
            self._memo.clear()
        texts = self._memo.setdefault(port, {})
        if len(texts) >= MAX_REMEMBERED:
            texts.clear()
        texts[text] = decision
        return decision

    def _decide(self, text: str, port: int | None) -> Decision:
        if not self.enabled:
            return _OFF
        if port is not None and not 0 <= port < 65536:
            return Decision(False, Rule.MALFORMED, "The port is not in 1 to 65535.")
        host = Host.parse(text)
        if isinstance(host, Malformed):
            return Decision(False, Rule.MALFORMED, host.reason)
        return self._judge(host, port)

    def _judge(self, host: Host, port: int | None) -> Decision:
        listed = self._listed_ports(host)
        if listed and (None in listed or port is None or port in listed):
            return Decision(True, Rule.ALLOWLISTED, f"{host} is on AISOC_AIRGAP_ALLOWLIST.")
        rule = _shape(host)
        if rule is not Rule.PUBLIC:
            return Decision(True, rule, _REASONS[rule].format(host=host))
        if listed:
            ports = ", ".join(str(number) for number in sorted(number for number in listed if number is not None))
            return Decision(False, rule, f"{host} is on AISOC_AIRGAP_ALLOWLIST for port {ports} only, not for {port}.")
        kind = "a public name" if host.address is None else "not a private address"
        return Decision(False, rule, f"{host} is {kind} and not on AISOC_AIRGAP_ALLOWLIST.")

    def _listed_ports(self, host: Host) -> frozenset[int | None]:
        if host.address is not None:
            return frozenset(port for network, port in self._networks if host.address in network)
        if not self._ports_by_name or host.rooted:
            return frozenset()
        ports = self._ports_by_name.get(host.text, frozenset())
        parent = host.text
        while "." in (parent := parent[parent.find(".") + 1 :]):  # a one-label entry covers itself only
            if parent in self._ports_by_name:
                ports |= self._ports_by_name[parent]
        return ports


def allowlist_entry(host: str, port: int | None, rule: str) -> str:
    """The entry that would let a refused target through; "" where none does, or none should."""
    if rule not in (Rule.PUBLIC, Rule.PRIVATE_NAME_PUBLIC_ANSWER):
        return ""
    text = host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        entry = AllowEntry.parse(text)
    except PolicyError:  # "(raw socket)" and other text in place of a host
        return ""
    return str(entry) if EgressPolicy(True, (entry,)).decide_host(host, port).rule is Rule.ALLOWLISTED else ""  # none permits `ollama.`


def classify(url_or_host: str) -> Rule:
    """The rule that the shape of a URL or bare host gives, without any policy."""
    if "://" in url_or_host:
        url = Url.parse(url_or_host)
        host = url if isinstance(url, Malformed) else url.host
    else:
        host = Host.parse(url_or_host)
    return Rule.MALFORMED if isinstance(host, Malformed) else _shape(host)


def strict_bool(raw: str) -> bool:
    """A typo must stop the process: a lenient reader takes 'ture' for false, and the gate would stand open."""
    word = raw.strip().lower()
    if word in {"1", "t", "true", "y", "yes", "on"}:
        return True
    if word in {"", "0", "f", "false", "n", "no", "off"}:
        return False
    raise PolicyError(f"{raw!r} is neither true nor false.", "Use 1 or 0.")


def parse_allowlist(text: str) -> tuple[AllowEntry, ...]:
    """Read a comma list of entries; blank items, white space and newlines around items are dropped. Raises PolicyError."""
    return tuple(AllowEntry.parse(item.strip()) for item in text.split(",") if item.strip())


_REASONS = {
    Rule.PRIVATE_ADDRESS: "{host} is a private, loopback or link-local address.",
    Rule.LOCALHOST: "{host} is this machine.",
    Rule.PRIVATE_SUFFIX: "{host} ends in a private suffix.",
    Rule.SINGLE_LABEL: "{host} is a single-label service name.",
}


def _shape(host: Host) -> Rule:
    if (address := host.address) is not None:
        return Rule.PRIVATE_ADDRESS if any(address in network for network in PRIVATE_NETWORKS) else Rule.PUBLIC
    if host.text == LOCALHOST:
        return Rule.LOCALHOST
    top = host.text[host.text.rfind(".") + 1 :]
    if "." not in host.text:
        return Rule.PUBLIC if host.rooted else Rule.SINGLE_LABEL
    return Rule.PRIVATE_SUFFIX if top in _PRIVATE_TOP_LABELS else Rule.PUBLIC


def _reject_decoration(text: str) -> None:
    """Everything people type around a host, each with its own fix. Text that may hold a password is not repeated."""
    if "://" in text:
        url = Url.parse(text)
        better = "a host name" if isinstance(url, Malformed) else f"'{url.host}'"
        raise PolicyError("An entry is a URL.", f"Use {better}.")
    if "@" in text:
        raise PolicyError("An entry holds user info (…@).", "Use the host alone, for example 'intel.example.com'.")
    if text[0] in "\"'" or text[-1] in "\"'":
        raise PolicyError(f"The entry {text!r} is quoted.", f"Use {text.strip(chr(34) + chr(39))!r} without quotes.")
    if "*" in text or text.startswith("."):
        bare = text.replace("*", "").strip(".") or "intel.example.com"
        raise PolicyError(f"The entry {text!r} is a wildcard; an entry covers its subdomains already.", f"Use {bare!r}.")
    if "#" in text:
        raise PolicyError(f"The entry {text!r} holds a comment.", f"Use {text.split('#')[0].strip() or 'intel.example.com'!r}.")
    if any(mark in text for mark in ";| \t\r\n"):
        raise PolicyError(f"The entry {text!r} holds a separator other than a comma.", "Use 'intel.example.com,mirror.example.com'.")


def _parse_network(text: str) -> Network:
    address, _, length = text.partition("/")
    host = Host.parse(address)
    if isinstance(host, Malformed) or host.address is None:
        better = "intel.example.com" if isinstance(host, Malformed) else address
        raise PolicyError(f"The entry {text!r} is neither a host nor a network.", f"Use {better!r}, without a path.")
    try:
        network = ip_network(text)
    except ValueError:
        try:
            better = str(ip_network(text, strict=False))
        except ValueError:
            raise PolicyError(f"The entry {text!r} is not a network (networks take no port).", "Use '100.64.0.0/10'.") from None
        raise PolicyError(f"The entry {text!r} has host bits set.", f"Use {better!r}.") from None
    if not length.isdecimal():
        raise PolicyError(f"The entry {text!r} has a netmask.", f"Use {str(network)!r}.")
    if network.prefixlen < WIDEST[network.version]:
        raise PolicyError(f"The entry {text!r} is wider than /{WIDEST[network.version]}.", f"Use a network of /{WIDEST[network.version]} or longer.")
    if isinstance(network, IPv6Network) and network.subnet_of(IPv6Network("::ffff:0:0/96")):
        raise PolicyError(f"The entry {text!r} is an IPv4-mapped network.", "Write the IPv4 network itself, for example '100.64.0.0/10'.")
    return network


def _split_entry(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        name, closed, rest = text[1:].partition("]")
        if not closed or ":" not in name or (rest and not rest.startswith(":")):
            raise PolicyError(f"The entry {text!r} has unbalanced brackets or no IPv6 address in them.", "Use '[2001:db8::1]:443'.")
        return name, _entry_port(text, rest[1:]) if rest else None
    if text.count(":") == 1:
        name, _, port = text.partition(":")
        return name, _entry_port(text, port)
    return text, None


def _entry_port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise PolicyError(f"The entry {text!r} has a port that is not a number from 1 to 65535.", "Use 'intel.example.com:443'.")
    return int(port)
