"""The wrappers of the process guard: each puts a Python function in the place of one that the audit hook sees too late, or not at all."""

import _socket
import http.client
import importlib.util
import re
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgap.events import Layer

if TYPE_CHECKING:
    from airgap.guard import Guard

_INET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
_WHOLE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ROOT = str(Path(__file__).resolve().parent.parent)


def wrap_lookups(guard: "Guard") -> None:
    """Remember what names resolve to. The hook has judged the name when the original is called."""
    from airgap.guard import is_literal, text_of

    real_getaddrinfo, real_gethostbyaddr = _socket.getaddrinfo, _socket.gethostbyaddr

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = text_of(host)
        answers = real_getaddrinfo(name if isinstance(host, str) else host, *args, **kwargs)
        if name and not is_literal(name):
            guard.remember(name, {str(answer[4][0]) for answer in answers if answer[0] in _INET})
        return answers

    def gethostbyaddr(host: Any) -> Any:
        """A name is resolved first: C would ask backwards for its public answer too."""
        name = text_of(host)
        if name and not is_literal(name) and name != socket.gethostname():
            answers = getaddrinfo(name, None)
            host = answers[0][4][0] if answers else host
        return real_gethostbyaddr(host)

    def remembering(real: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def lookup(host: Any) -> Any:
            name = text_of(host)
            answer = real(name if isinstance(host, str) else host)
            if name and not is_literal(name):
                guard.remember(name, {answer} if isinstance(answer, str) else set(answer[2]))
            return answer

        return lookup

    _socket.getaddrinfo = getaddrinfo
    for name, function in (
        ("gethostbyaddr", gethostbyaddr),
        ("gethostbyname", remembering(_socket.gethostbyname)),
        ("gethostbyname_ex", remembering(_socket.gethostbyname_ex)),
    ):
        setattr(_socket, name, function)
        setattr(socket, name, function)


def wrap_sockets() -> None:
    """Resolve names here, where they are judged first, and hand plain addresses on."""
    _when_loaded("socket", lambda module: _wrap_socket_class(module.socket))


def _wrap_socket_class(cls: Any) -> None:
    from airgap.guard import family_of, is_literal, plain_address

    def resolved(sock: Any, address: Any) -> Any:
        family = family_of(sock)
        if family not in _INET or (plain := plain_address(address)) is None:
            return address
        name = plain[0]
        if name == "" or is_literal(name):
            return plain
        if not 0 <= plain[1] <= 65535:  # getaddrinfo would take the rest of its division by 65536
            raise OverflowError("port must be 0-65535.")
        answer = socket.getaddrinfo(name, plain[1], family, sock.type)[0][4]
        return (*answer[:2], *plain[2:]) if len(plain) > 2 else answer

    def wrap(method: str, position: int) -> None:
        real = getattr(cls, method)

        def call(self: Any, *args: Any) -> Any:
            at = position if position >= 0 else len(args) - 1
            if 0 <= at < len(args) and isinstance(args[at], tuple):
                args = (*args[:at], resolved(self, args[at]), *args[at + 1 :])
            return real(self, *args)

        call.__name__ = method
        setattr(cls, method, call)

    wrap("bind", 0)  # sends nothing, but a name is looked up; source_address of many clients comes here too
    wrap("connect", 0)
    wrap("connect_ex", 0)
    wrap("sendto", -1)  # sendto(data, address) and sendto(data, flags, address)
    wrap("sendmsg", 3)  # sendmsg(buffers, ancdata, flags, address)


def wrap_http(guard: "Guard") -> None:
    """See the target of what is sent through a proxy: http.client's whole URLs and tunnels, and every request of httpx and aiohttp."""
    connection: Any = http.client.HTTPConnection
    real_putrequest, real_set_tunnel = connection.putrequest, connection.set_tunnel

    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if isinstance(url, str) and _WHOLE_URL.match(url):
            guard.judge_url(url, Layer.PROXY)
        return real_putrequest(self, method, url, *args, **kwargs)

    def set_tunnel(self: Any, host: str, port: Any = None, headers: Any = None) -> Any:
        authority = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        guard.judge_url(f"https://{authority}:{port}/" if port else f"https://{authority}/", Layer.PROXY)
        return real_set_tunnel(self, host, port, headers)

    connection.putrequest, connection.set_tunnel = putrequest, set_tunnel
    for name, patch in (("httpx", _judge_httpx), ("httpx2", _judge_httpx), ("aiohttp", _judge_aiohttp)):
        _when_loaded(name, partial(patch, guard))


def _judge_httpx(guard: "Guard", httpx: Any) -> None:
    """The transports of httpx know the target of a request, whichever proxy it goes through."""

    def wrap(cls: Any, method: str) -> None:
        real = getattr(cls, method)

        def handle(self: Any, request: Any) -> Any:
            url = request.url
            guard.judge_target(
                url.raw_host.decode("ascii", "backslashreplace").replace("%25", "%", 1), url.port or _PORTS.get(url.scheme), Layer.HTTP
            )
            return real(self, request)

        setattr(cls, method, handle)

    wrap(httpx.HTTPTransport, "handle_request")
    wrap(httpx.AsyncHTTPTransport, "handle_async_request")


_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _judge_aiohttp(guard: "Guard", aiohttp: Any) -> None:
    real = aiohttp.ClientRequest.__init__

    def init(self: Any, method: str, url: Any, *args: Any, **kwargs: Any) -> None:
        guard.judge_target(url.raw_host or "", url.port, Layer.HTTP)
        real(self, method, url, *args, **kwargs)

    aiohttp.ClientRequest.__init__ = init


def wrap_event_loops(guard: "Guard") -> None:
    """Judge a look-up where the loop is asked for it: the thread that makes it later does not know who asked."""

    def wrap(module: Any) -> None:
        real = module.BaseEventLoop.getaddrinfo

        async def getaddrinfo(self: Any, host: Any, port: Any, **kwargs: Any) -> Any:
            guard.checks["socket.getaddrinfo"](host, port)
            return await real(self, host, port, **kwargs)

        module.BaseEventLoop.getaddrinfo = getaddrinfo

    _when_loaded("asyncio.base_events", wrap)


def _when_loaded(name: str, act: Callable[[Any], None]) -> None:
    """Call act(module) now if the module is there, and each time it is loaded from now on (importlib.reload loses what was wrapped)."""
    if name in sys.modules:
        act(sys.modules[name])
    sys.meta_path.insert(0, _Follower(name, act))


class _Follower:
    """A finder that finds one module where the finders behind it do, and acts on it once it has been executed."""

    def __init__(self, name: str, act: Callable[[Any], None]) -> None:
        self._name = name
        self._act = act
        self._asking = threading.local()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name or getattr(self._asking, "yes", False):
            return None
        self._asking.yes = True
        try:
            spec = importlib.util._find_spec(name, path, target)  # type: ignore[attr-defined]  # the public find_spec answers from sys.modules
        finally:
            self._asking.yes = False
        if spec is not None and spec.loader is not None:
            spec.loader = _ActingLoader(spec.loader, self._act)
        return spec


class _ActingLoader:
    """The real loader, with something done after it."""

    def __init__(self, real: Any, act: Callable[[Any], None]) -> None:
        self._real = real
        self._act = act

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle ask before there is a real one
            raise AttributeError(name)
        return getattr(self._real, name)

    def exec_module(self, module: Any) -> None:
        self._real.exec_module(module)
        self._act(module)


def wrap_children(guard: "Guard", spool_dir: Path, service: str) -> None:
    """Python children of multiprocessing and billiard (spawn, forkserver) start by installing the guard: no audit event tells of them."""

    def guarded(args: Any) -> list[Any]:
        words = list(args)
        if "-c" in words[:-1] and "_tracker" not in str(words[words.index("-c") + 1]):
            at = words.index("-c") + 1
            code = words[at] if isinstance(words[at], str) else bytes(words[at]).decode()
            before = _IN_CHILD.format(
                root=_ROOT,
                allowlist=",".join(str(entry) for entry in guard.policy.allowlist),
                spool=str(spool_dir),
                mode=guard.mode,
                service=service,
            )
            words[at] = before + code
        return words

    def wrap(module: Any) -> None:
        """In each module that has taken the function by name, too."""
        real = getattr(module, "spawnv_passfds", None)
        if real is not None and not hasattr(real, "guarded"):

            def spawnv_passfds(path: Any, args: Any, passfds: Any) -> Any:
                return real(path, guarded(args), passfds)

            spawnv_passfds.guarded = True  # type: ignore[attr-defined]
            module.spawnv_passfds = spawnv_passfds

    for package, places in (("multiprocessing", ("util",)), ("billiard", ("compat", "util", "forkserver", "popen_spawn_posix", "semaphore_tracker"))):
        for place in places:
            _when_loaded(f"{package}.{place}", wrap)


_IN_CHILD = """import sys; sys.path.insert(0, {root!r})
from pathlib import Path; from airgap import guard; from airgap.policy import EgressPolicy
guard.install(EgressPolicy.from_text("1", {allowlist!r}), Path({spool!r}), mode={mode!r}, service={service!r}); del sys.path[0]
"""
