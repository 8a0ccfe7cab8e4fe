"""The process guard: refuses what any Python client in this process would send, before DNS.

Two parts. An audit hook (PEP 578) sees look-ups, connects and datagrams of every client that goes through `socket`, also of
those that took their functions before the hook was there. Wrappers do what the hook cannot: they remember what names
resolved to, and resolve the name of `sock.connect((name, port))` first, which C code would look up before the hook is asked.

It is a loud second layer, not a sandbox: C libraries that open sockets themselves and child processes are not seen
(THREAT_MODEL.md). With the air gap off nothing is patched and no hook is added. A hook cannot be removed: install once a process.
"""

import _socket
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from airgap import events
from airgap.answers import AnswerMemory
from airgap.blocked import AirgapBlocked
from airgap.events import Layer
from airgap.hosts import Host, Malformed, Url
from airgap.policy import Decision, EgressPolicy, Rule

ENFORCE: Final = "enforce"
REPORT: Final = "report"
SELFTEST: Final = "aisoc.airgap.selftest"
PROXY_VARIABLES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "ftp_proxy"})
C_CLIENTS: Final = frozenset({"pycurl", "grpc._cython.cygrpc", "psycopg2._psycopg", "pycares", "_cares", "mysqlclient", "MySQLdb._mysql"})
EVENT_LOOPS_IN_C: Final = frozenset({"uvloop", "uvloop.loop"})
NET_COMMANDS: Final = frozenset(
    {"curl", "wget", "git", "ssh", "scp", "sftp", "rsync", "nc", "ncat", "netcat", "telnet", "ftp", "dig", "nslookup", "host"}
)

_INET = frozenset({socket.AF_INET, socket.AF_INET6})
_LOCAL_FAMILIES = frozenset(int(getattr(socket, name)) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG") if hasattr(socket, name))


class GuardError(RuntimeError):
    """The guard cannot protect this process; it must not start."""


class Guard:
    """What the hook and the wrappers ask. One a process."""

    def __init__(self, policy: EgressPolicy, mode: str) -> None:
        self.policy = policy
        self.mode = mode
        self.answers = AnswerMemory()
        self._busy = threading.local()
        self._seen_nonce = ""
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
            "subprocess.Popen": self._on_popen,
            "os.system": self._on_system,
            "os.posix_spawn": self._on_popen,
            SELFTEST: self._on_selftest,
        }

    # ── The questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def judge_address(self, address: str, port: int | None) -> Decision:
        """May this literal be dialled? A public one only when an allowlisted name resolved to it, or an entry covers it."""
        decision = self.policy.decide_host(address, port)
        if decision.allowed or decision.rule is Rule.MALFORMED:
            return decision
        for name in self.answers.names_of(_canonical(address)):
            by_name = self.policy.decide_answer(name, address, port or 0)
            if by_name.allowed or by_name.rule is Rule.PRIVATE_NAME_PUBLIC_ANSWER:
                return by_name
        return decision

    def refuse(self, decision: Decision, host: str, port: int | None, layer: Layer, **parts: Any) -> None:
        """Record, then raise; in report mode record only. What recording itself does is judged and not recorded again."""
        if not getattr(self._busy, "yes", False):
            self._busy.yes = True
            try:
                events.record(events.refusal_of(decision, host=host, port=port, layer=layer, purpose="guard", **parts))
            finally:
                self._busy.yes = False
        if self.mode == ENFORCE:
            raise AirgapBlocked(decision, host=host, port=port, layer=layer)

    # ── The events ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _on_lookup(self, host: Any, port: Any = None, *_: Any) -> None:
        name = _text(host)
        if name is None or name == "" or _is_literal(name) or name == socket.gethostname():
            return  # nothing is asked of a resolver, or only this machine's own name
        number = int(port) if isinstance(port, int) or (isinstance(port, str) and port.isdecimal() and len(port) < 6) else None
        decision = self.policy.decide_host(name, number or None)
        if not decision.allowed:
            self.refuse(decision, name, number, Layer.DNS)

    def _on_reverse(self, host: Any, *_: Any) -> None:
        """A reverse look-up of a public address tells the resolver which address is of interest here."""
        name = _text(host)
        if name in (None, "", "0.0.0.0", "::", socket.gethostname()):  # noqa: S104 - compared, not bound
            return
        decision = self.judge_address(name, None) if _is_literal(name) else self.policy.decide_host(name, None)
        if not decision.allowed:
            self.refuse(decision, name, None, Layer.DNS)

    def _on_getnameinfo(self, sockaddr: Any, *_: Any) -> None:
        if isinstance(sockaddr, tuple) and sockaddr:
            self._on_reverse(sockaddr[0])

    def _on_connect(self, sock: Any, address: Any = None, *_: Any) -> None:
        if address is None:  # sendmsg on a connected socket
            return
        family = int(getattr(sock, "family", -1))
        if family in _LOCAL_FAMILIES:
            return
        if family not in _INET:
            decision = Decision(False, Rule.PUBLIC, f"Sockets of address family {family} are not used by this product.")
            self.refuse(decision, "(address family)", None, Layer.CONNECT)
            return
        if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[1], int):
            return  # the call itself will raise
        host, port = _text(address[0]), int(address[1])
        if host is None:
            return
        if len(address) == 4 and address[3] and host.lower().startswith("fe80:") and "%" not in host:
            host = f"{host}%{address[3]}"
        if _is_literal(host):
            decision = self.judge_address(host, port)
        else:  # the C method was called past the wrapper: it has looked the name up by itself
            by_name = self.policy.decide_host(host, port)
            decision = (
                by_name if not by_name.allowed else Decision(False, by_name.rule, f"{host} was resolved where the guard cannot see the answer.")
            )
        if not decision.allowed:
            self.refuse(decision, host, port, Layer.CONNECT)

    def _on_socket(self, _sock: Any, family: Any, kind: Any, *_: Any) -> None:
        base = int(kind) & 0xF if int(kind) >= 0 else int(socket.SOCK_STREAM)
        if int(family) in _INET and base == int(getattr(socket, "SOCK_RAW", 3)):
            self.refuse(Decision(False, Rule.PUBLIC, "Raw sockets are not used by this product."), "(raw socket)", None, Layer.CONNECT)

    def _on_url(self, url: Any, *_: Any) -> None:
        text = _text(url) or ""
        if text.partition(":")[0].lower() in ("http", "https"):
            self._judge_url(text, Layer.HTTP)

    def _on_http_send(self, _client: Any, data: Any, *_: Any) -> None:
        """The only place where the target of a proxied request is seen: `CONNECT host:port` or an absolute URL."""
        if not isinstance(data, bytes | bytearray):
            return
        head = bytes(data[:2048]).partition(b"\r\n")[0]
        method, _space, rest = head.partition(b" ")
        if not method.isalpha() or not rest:
            return
        target = rest.partition(b" ")[0].decode("latin-1")
        if method == b"CONNECT":
            self._judge_url(f"https://{target}/", Layer.PROXY)
        elif target[:8].lower().startswith(("http://", "https://")):
            self._judge_url(target, Layer.PROXY)

    def _judge_url(self, text: str, layer: Layer) -> None:
        decision = self.policy.decide_url(text)
        if decision.allowed:
            return
        url = Url.parse(text)
        if isinstance(url, Malformed):
            self.refuse(decision, "(malformed)", None, layer)
        else:
            self.refuse(decision, str(url.host), url.port, layer, scheme=url.scheme, path=url.path, query=bool(url.query))

    def _on_import(self, name: Any, *_: Any) -> None:
        if name in EVENT_LOOPS_IN_C:
            raise GuardError(f"{name} opens its sockets in C, where the air gap's guard cannot see them. Do not use it here.")
        if name in C_CLIENTS:
            self._warn(str(name))

    def _on_popen(self, executable: Any, args: Any = (), *_: Any) -> None:
        words = [executable, args[0] if isinstance(args, list | tuple) and args else args]
        for word in words:
            name = os.path.basename(_text(word) or "")
            if name in NET_COMMANDS:
                self._warn(f"subprocess {name}")
                return

    def _on_system(self, command: Any, *_: Any) -> None:
        self._on_popen((_text(command) or "").split(" ")[0])

    def _on_selftest(self, nonce: Any, *_: Any) -> None:
        self._seen_nonce = str(nonce)

    def _warn(self, what: str) -> None:
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
        return self._seen_nonce == nonce


_guard: Guard | None = None


def current() -> Guard | None:
    """The guard of this process, or None where it is not installed."""
    return _guard


def install(policy: EgressPolicy, spool_dir: Path, *, mode: str = ENFORCE, service: str = "api") -> Guard | None:
    """Put the guard into this process; needs no Django. With the policy off, or mode "off", nothing is touched.

    Idempotent: a second call replaces policy and mode. Raises GuardError where the guard could not protect the process.
    """
    global _guard
    events.configure(spool_dir, service=service)
    if not policy.enabled or mode not in (ENFORCE, REPORT):
        return None
    if _guard is not None:
        _guard.policy, _guard.mode = policy, mode
        return _guard
    if loaded := EVENT_LOOPS_IN_C & set(sys.modules):
        raise GuardError(f"{sorted(loaded)[0]} is loaded; it opens its sockets in C, where the guard cannot see them. Remove it.")
    guard = Guard(policy, mode)
    _wrap_lookups(guard)
    _wrap_sockets(guard)
    sys.addaudithook(_hook_of(guard))
    if not guard.selftest():
        raise GuardError("The audit hook was not accepted by this interpreter; the air gap's guard cannot work.")
    _guard = guard
    for name in sorted(C_CLIENTS & set(sys.modules)):
        guard._warn(name)
    return guard


def scrub_proxies() -> list[str]:
    """Take the proxy variables out of this process and its children, since a proxied request hides its target from the socket.

    Returns the names that were set, for the log; never their values.
    """
    names = sorted(name for name in os.environ if name.lower() in PROXY_VARIABLES)
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


def _wrap_lookups(guard: Guard) -> None:
    """Remember what names resolve to. The hook has judged the name when the original is called."""
    real_getaddrinfo = _socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        answers = real_getaddrinfo(host, *args, **kwargs)
        name = _text(host)
        if name and not _is_literal(name):
            guard.answers.record(name, {_canonical(str(answer[4][0])) for answer in answers if answer[0] in _INET})
        return answers

    _socket.getaddrinfo = getaddrinfo
    for function in ("gethostbyname", "gethostbyname_ex"):
        wrapped = _remembering(guard, getattr(_socket, function))
        setattr(_socket, function, wrapped)
        setattr(socket, function, wrapped)


def _remembering(guard: Guard, real: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def lookup(name: Any) -> Any:
        answer = real(name)
        text = _text(name)
        if text and not _is_literal(text):
            guard.answers.record(text, {answer} if isinstance(answer, str) else set(answer[2]))
        return answer

    return lookup


def _wrap_sockets(guard: Guard) -> None:
    """Resolve names here, where they are judged first, and hand addresses on. Wraps the methods of whatever socket.socket is."""
    cls: Any = socket.socket

    def resolved(sock: Any, address: Any) -> Any:
        if int(sock.family) not in _INET or not isinstance(address, tuple) or len(address) < 2:
            return address
        name = _text(address[0])
        if name is None or name == "" or _is_literal(name):
            return address
        return socket.getaddrinfo(name, address[1], sock.family, sock.type)[0][4]

    def wrap(method: str, position: int) -> None:
        real = getattr(cls, method)

        def call(self: Any, *args: Any) -> Any:
            at = position if position >= 0 else len(args) - 1
            if 0 <= at < len(args) and isinstance(args[at], tuple):
                args = (*args[:at], resolved(self, args[at]), *args[at + 1 :])
            return real(self, *args)

        call.__name__ = method
        setattr(cls, method, call)

    wrap("connect", 0)
    wrap("connect_ex", 0)
    wrap("sendto", -1)  # sendto(data, address) and sendto(data, flags, address)
    wrap("sendmsg", 3)  # sendmsg(buffers, ancdata, flags, address)


def _text(value: Any) -> str | None:
    """A host as the socket module takes it, as text; None for what is no host."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("latin-1")
    return None


def _is_literal(text: str) -> bool:
    """Whether libc would read the text as an address without asking a resolver: canonical literals only; the odd ones are malformed."""
    host = Host.parse(text)
    return isinstance(host, Host) and host.address is not None


def _canonical(address: str) -> str:
    host = Host.parse(address)
    return host.text if isinstance(host, Host) else address
