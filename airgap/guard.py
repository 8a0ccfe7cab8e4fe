"""The process guard: refuses what any Python client in this process would send, before DNS.

Two parts. An audit hook (PEP 578) sees look-ups, connects and datagrams of every client that goes through `socket`, also of
those that took their functions before the hook was there. Wrappers (guard_wrappers.py) do what the hook cannot: they remember
what names resolved to, resolve the name of `sock.connect((name, port))` and `sock.bind((name, port))` first, which C code would
look up before the hook is asked, see the target of a proxied request, and put the guard into Python children of multiprocessing.

It is a loud second layer, not a sandbox: C libraries that open sockets themselves and other child processes are not seen
(THREAT_MODEL.md). With the air gap off nothing is patched and no hook is added. A hook cannot be removed: install once a process.
"""

import _socket
import contextlib
import operator
import os
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from airgap import events, guard_wrappers, tripwires
from airgap.answers import AnswerMemory
from airgap.blocked import AirgapBlocked
from airgap.events import Layer
from airgap.hosts import Host, Malformed, Url
from airgap.policy import Decision, EgressPolicy, Rule

ENFORCE: Final = "enforce"
REPORT: Final = "report"
SELFTEST: Final = "aisoc.airgap.selftest"
# What redirects a request or a look-up past what was judged: proxies hide the target from the socket, the others change the name
# that libc asks for (hostname(7), resolv.conf(5)).
PROXY_VARIABLES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "ftp_proxy"})
RESOLVER_VARIABLES: Final = frozenset({"hostaliases", "localdomain", "res_options"})
RESOLVER_PORTS: Final = frozenset({53, 853, 5353})

_INET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
_LOCAL_FAMILIES = frozenset(int(getattr(socket, name)) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG") if hasattr(socket, name))
_PLAIN_KINDS = frozenset({int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)})
_CONNECT = re.compile(rb"CONNECT ([!-~]{1,300}) HTTP/1\.[01]\r\n")


class GuardError(RuntimeError):
    """The guard cannot protect this process; it must not start."""


class EventLoopRefused(GuardError, ImportError):
    """An event loop in C was imported. An ImportError too, so that whoever can do without it does."""


class Guard:
    """What the hook and the wrappers ask. One a process."""

    def __init__(self, policy: EgressPolicy, mode: str) -> None:
        self.policy = policy
        self.mode = mode
        self.answers = AnswerMemory()
        self._here = threading.local()
        self._warned: set[str] = set()
        self.checks: dict[str, Callable[..., None]] = {
            "socket.getaddrinfo": self._on_lookup,
            "socket.gethostbyname": self._on_lookup,
            "socket.gethostbyaddr": self._on_reverse,
            "socket.getnameinfo": self._on_getnameinfo,
            "socket.connect": self._on_connect,
            "socket.sendto": self._on_connect,
            "socket.sendmsg": self._on_connect,
            "socket.__new__": self._on_socket,
            "urllib.Request": self._on_url,
            "http.client.send": self._on_http_send,
            "import": self._on_import,
            "subprocess.Popen": self._on_child,
            "os.exec": self._on_child,
            "os.posix_spawn": self._on_child,
            "os.system": self._on_system,
            SELFTEST: self._on_selftest,
        }

    # ── The questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def judge_address(self, address: str, port: int | None) -> tuple[Decision, str]:
        """May this literal be dialled? A public one only when an allowlisted name resolved to it, or an entry covers it.

        The second is the host that the decision is about: the address, or the name that answered with it.
        """
        decision, about = self.policy.decide_host(address, port), address
        if decision.allowed or decision.rule is Rule.MALFORMED:
            return decision, about
        for name in self.answers.names_of(canonical(address)):
            by_name = self.policy.decide_answer(name, address, port or 0)
            if by_name.allowed:
                return by_name, name
            if by_name.rule is Rule.PRIVATE_NAME_PUBLIC_ANSWER and about == address:
                decision, about = by_name, name  # says more than "public"; the latest name, as a name that grants would have come first
        return decision, about

    def remember(self, name: str, addresses: set[str]) -> None:
        """`name`, which was judged, resolved to these."""
        grants = self.policy.decide_host(name, None).rule is Rule.ALLOWLISTED
        self.answers.record(name, {canonical(address) for address in addresses}, grants=grants)

    def refuse(self, decision: Decision, host: str, port: int | None, layer: Layer, **parts: Any) -> None:
        """Record, then raise; in report mode record only. A refusal while one is being recorded (a log handler that dials) is counted."""
        refusal = events.refusal_of(decision, host=host, port=port, layer=layer, purpose="guard", **parts)
        if getattr(self._here, "recording", False):
            events.count(refusal)
        else:
            self._here.recording = True
            try:
                events.record(refusal)
            finally:
                self._here.recording = False
        if self.mode == ENFORCE:
            raise AirgapBlocked(decision, host=host, port=port, layer=layer)

    def judge_url(self, text: str, layer: Layer) -> None:
        decision = self.policy.decide_url(text)
        if decision.allowed:
            return
        url = Url.parse(text)
        if isinstance(url, Malformed):
            self.refuse(decision, "(malformed)", None, layer)
        else:
            self.refuse(decision, str(url.host), url.port, layer, scheme=url.scheme, path=url.path, query=bool(url.query))

    def judge_target(self, host: str, port: int | None, layer: Layer) -> None:
        """The host behind a proxy."""
        decision = self.policy.decide_host(host, port)
        if not decision.allowed:
            self.refuse(decision, host, port, layer)

    # ── The events ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _on_lookup(self, host: Any, port: Any = None, *_: Any) -> None:
        name = text_of(host)
        if name is None or name == "" or is_literal(name) or name == socket.gethostname():
            return  # nothing is asked of a resolver, or only this machine's own name
        number = _port(port)
        decision = self.policy.decide_host(name, number)
        if not decision.allowed:
            self.refuse(decision, name, number, Layer.DNS)

    def _on_reverse(self, host: Any, *_: Any) -> None:
        """A reverse look-up of a public address tells the resolver which address is of interest here."""
        name = text_of(host)
        if name in (None, "", "0.0.0.0", "::", socket.gethostname()):  # noqa: S104 - compared, not bound
            return
        decision, about = self.judge_address(name, None) if is_literal(name) else (self.policy.decide_host(name, None), name)
        if not decision.allowed:
            self.refuse(decision, about, None, Layer.DNS)

    def _on_getnameinfo(self, sockaddr: Any, *_: Any) -> None:
        if isinstance(sockaddr, tuple) and (parts := tuple.__getitem__(sockaddr, slice(None))):
            self._on_reverse(parts[0])

    def _on_connect(self, sock: Any, address: Any = None, *_: Any) -> None:
        if address is None:  # sendmsg on a connected socket
            return
        family = family_of(sock)
        if family in _LOCAL_FAMILIES:
            return
        if family not in _INET:
            self._refuse_family(family)
            return
        found = plain_address(address)
        if found is None:
            return  # C code takes it for no address either: the call itself will raise
        host, port = found[0], found[1]
        if len(found) == 4 and found[3] and host.lower().startswith("fe80:") and "%" not in host:
            host = f"{host}%{found[3]}"
        if is_literal(host):
            decision, host = self.judge_address(host, port)
        else:  # the C method was called past the wrapper: it has looked the name up by itself
            decision = self.policy.decide_host(host, port)
            if decision.allowed:
                decision = Decision(False, decision.rule, f"{host} was resolved where the guard cannot see the answer.")
        if decision.allowed and port in RESOLVER_PORTS and decision.rule is not Rule.ALLOWLISTED:
            decision = Decision(
                False, Rule.OWN_RESOLVER, f"Port {port} is for look-ups, and this one was not made by the system's resolver: its name was not judged."
            )
        if not decision.allowed:
            self.refuse(decision, host, port, Layer.CONNECT)

    def _on_socket(self, _sock: Any, family: Any, kind: Any, *_: Any) -> None:
        """Families and kinds that no product of this sort needs send past connect() and sendto(): packet and raw sockets, VSOCK, Bluetooth."""
        family, kind = int(family), int(kind)
        if kind == -1:
            return  # a socket that exists already is taken over
        if family not in _LOCAL_FAMILIES and family not in _INET and family != -1:
            self._refuse_family(family)
        elif family not in _LOCAL_FAMILIES and kind & 0xF not in _PLAIN_KINDS:
            self.refuse(Decision(False, Rule.PUBLIC, "Raw sockets are not used by this product."), "(raw socket)", None, Layer.CONNECT)

    def _refuse_family(self, family: int) -> None:
        decision = Decision(False, Rule.PUBLIC, f"Sockets of address family {family} are not used by this product.")
        self.refuse(decision, "(address family)", None, Layer.CONNECT)

    def _on_url(self, url: Any, *_: Any) -> None:
        text = text_of(url) or ""
        if text.partition(":")[0].lower() in ("http", "https", "ftp"):
            self.judge_url(text, Layer.HTTP)

    def _on_http_send(self, _client: Any, data: Any, *_: Any) -> None:
        """A tunnel asked for by hand; guard_wrappers sees those that http.client makes."""
        if isinstance(data, bytes | bytearray) and (match := _CONNECT.match(data)):
            self.judge_url(f"https://{match[1].decode()}/", Layer.PROXY)

    def _on_import(self, name: Any, *_: Any) -> None:
        if name in tripwires.EVENT_LOOPS_IN_C:
            if tripwires.is_installed(str(name)):
                self.warn(str(name))
            raise EventLoopRefused(f"{name} opens its sockets in C, where the air gap's guard cannot see them. Do not use it here.")
        if name in tripwires.C_CLIENTS:
            self.warn(str(name))

    def _on_child(self, executable: Any, args: Any = (), *_: Any) -> None:
        words = [text_of(word) or "" for word in args] if isinstance(args, list | tuple) else [text_of(args) or ""]
        if told := tripwires.network_command(text_of(executable) or "", words):
            self.warn(f"subprocess {told}")

    def _on_system(self, command: Any, *_: Any) -> None:
        self._on_child("sh", ["sh", "-c", text_of(command) or ""])

    def _on_selftest(self, nonce: Any, *_: Any) -> None:
        self._here.nonce = str(nonce)

    def warn(self, what: str) -> None:
        if what not in self._warned and len(self._warned) < 64:
            self._warned.add(what)
            events.log.warning(events.AIRGAP_UNGUARDED_CLIENT, module=what, caller=events.calling_module())

    def unguarded(self) -> list[str]:
        """Clients that this process has loaded or started and that the guard does not see."""
        return sorted(self._warned)

    def selftest(self) -> bool:
        """Whether the hook is really there: an earlier hook that raises makes adding one a silent no-op."""
        nonce = secrets.token_hex(8)
        sys.audit(SELFTEST, nonce)
        return getattr(self._here, "nonce", "") == nonce


_guard: Guard | None = None


def current() -> Guard | None:
    """The guard of this process, or None where it is not installed."""
    return _guard


def install(policy: EgressPolicy, spool_dir: str | Path, *, mode: str = ENFORCE, service: str = "api") -> Guard | None:
    """Put the guard into this process; needs no Django. With the policy off, or mode "off", nothing is touched.

    Idempotent: a second call replaces policy and mode, and says so in the log when they differ. Raises GuardError where the
    guard could not protect the process.
    """
    global _guard
    spool_dir = Path(spool_dir)
    events.configure(spool_dir, service=service)
    if not policy.enabled or mode not in (ENFORCE, REPORT):
        return None
    if _guard is not None:
        if (_guard.policy, _guard.mode) != (policy, mode):
            events.log.warning(events.AIRGAP_GUARD_REPLACED, before=_guard.mode, mode=mode, caller=events.calling_module())
        _guard.policy, _guard.mode = policy, mode
        return _guard
    if loaded := tripwires.EVENT_LOOPS_IN_C & set(sys.modules):
        raise GuardError(f"{sorted(loaded)[0]} is loaded; it opens its sockets in C, where the guard cannot see them. Remove it.")
    guard = Guard(policy, mode)
    guard_wrappers.wrap_lookups(guard)
    guard_wrappers.wrap_sockets()
    guard_wrappers.wrap_http(guard)
    guard_wrappers.wrap_event_loops(guard)
    guard_wrappers.wrap_children(guard, spool_dir, service)
    sys.addaudithook(_hook_of(guard))
    if not guard.selftest():
        raise GuardError("The audit hook was not accepted by this interpreter; the air gap's guard cannot work.")
    _guard = guard
    for name in sorted(tripwires.C_CLIENTS & set(sys.modules)):
        guard.warn(name)
    return guard


def scrub_proxies() -> list[str]:
    """Take the variables out of this process and its children that lead a request or a look-up past what was judged.

    Returns the names that were set, for the log; never their values.
    """
    names = sorted(name for name in os.environ if name.lower() in PROXY_VARIABLES | RESOLVER_VARIABLES)
    for name in names:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    return names


def _hook_of(guard: Guard) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, args: tuple[Any, ...], find: Callable[[str], Any] = guard.checks.get) -> None:
        check = find(event)
        if check is not None:
            check(*args)

    return hook


# ── Reading what callers hand over ───────────────────────────────────────────────────────────────────────────────────
def text_of(value: Any) -> str | None:
    """A host as the socket module takes it, as plain text; None for what is no host. Bytes that are no ASCII come out malformed."""
    if isinstance(value, str):
        return str.__str__(value)  # a subclass cannot say one thing here and another to C
    if isinstance(value, bytes | bytearray):
        return bytes(memoryview(value)).decode("ascii", "backslashreplace")  # nor can one of these
    return None


def plain_address(address: Any) -> tuple[Any, ...] | None:
    """(host, port, …) of an AF_INET or AF_INET6 address as C code will read it, in plain types; None when it will not.

    C takes for a port whatever has __index__, as numbers out of numpy do.
    """
    if not isinstance(address, tuple):
        return None
    parts = tuple.__getitem__(address, slice(None))
    host = text_of(parts[0]) if len(parts) >= 2 else None
    if host is None:
        return None
    with contextlib.suppress(TypeError):
        return (host, operator.index(parts[1]), *parts[2:])
    return None


def family_of(sock: Any) -> int:
    """The address family as C has it; a subclass may say something else."""
    return int(_socket.socket.family.__get__(sock)) if isinstance(sock, _socket.socket) else int(getattr(sock, "family", -1))


def _port(port: Any) -> int | None:
    """A port given to a look-up, when it is one."""
    if isinstance(port, str | bytes):
        text = text_of(port) or ""
        port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None
    try:
        number = operator.index(port)
    except TypeError:
        return None
    return number if 0 < number < 65536 else None


def is_literal(text: str) -> bool:
    """Whether libc would read the text as an address without asking a resolver: canonical literals only; the odd ones are malformed."""
    host = Host.parse(text)
    return isinstance(host, Host) and host.address is not None


def canonical(address: str) -> str:
    host = Host.parse(address)
    return host.text if isinstance(host, Host) else address
