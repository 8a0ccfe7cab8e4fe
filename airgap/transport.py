"""The gate: the only HTTP client of the product. Every request, and every hop of a redirect, is judged before a packet leaves.

AirgapBlocked(RuntimeError)     the policy refused; a RuntimeError, so that no retry loop takes it for a network fault
httpx.HTTPError                 everything else that goes wrong on the way, as in any httpx client
  RedirectRefused               from https to http, or away with this server's credentials
  BodyTooLarge                  the answer is longer than the client's byte limit, compressed or not
"""

import ssl
import time
import urllib.request
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import httpx
from django.conf import settings

from airgap import contacts, events
from airgap.active import active_policy
from airgap.blocked import AirgapBlocked as AirgapBlocked
from airgap.dialer import Deadline, JudgingBackend
from airgap.events import HIDDEN_PATH, Layer
from airgap.hosts import DEFAULT_PORTS, Malformed, Url
from airgap.lookup import Judge, own_addresses
from airgap.policy import Decision, EgressPolicy, Rule
from airgap.tenant_rule import TenantPolicy, TenantRule

TIMEOUT: Final = 10.0  # seconds to connect, and for each wait for bytes
DEADLINE: Final = 60.0  # seconds for a whole request, body included
MAX_BYTES: Final = 32 * 1024 * 1024  # of an answer, after decompression
MAX_REDIRECTS: Final = 5
_FRAMING = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
_FRAMING_LENGTHS = frozenset(map(len, _FRAMING))
_MAX_PERMITTED = 256
_UNTIL = "aisoc.until"  # a request's deadline (monotonic seconds), in its extensions
_INFLATE_STEP = 256 * 1024


Client = httpx.Client  # for annotations; made by gated_client alone


class RedirectRefused(httpx.RemoteProtocolError):
    """The server redirects in a way that would give something away."""


class BodyTooLarge(httpx.DecodingError):
    """The answer has more bytes than the client accepts."""


def gated_client(
    *,
    purpose: str,
    tenant: str = "",
    timeout: float = TIMEOUT,
    deadline: float = DEADLINE,
    max_bytes: int = MAX_BYTES,
    headers: dict[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    tenant_rule: TenantRule | None = None,
    secret_path: bool = False,
    inner: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """An httpx client that goes nowhere but where the policy allows.

    purpose: who asks, for the trail ("feed.kev"). timeout and deadline in seconds; max_bytes of an answer after decompression.
    tenant_rule, for URLs that a tenant wrote: judged by it first, in both modes, each answer of the look-up too; and no proxy is used,
    which would look the name up again where nobody judges.
    secret_path, for webhooks: no part of a URL's path is told when it is refused.
    inner replaces the network behind the gate (httpx.MockTransport in tests); the policy still judges.
    Redirects are off; a call that asks for them (`follow_redirects=True`) has each hop judged, at most five, none from https to http.
    There is no way to pass a proxy, a mount or a Unix socket: each would go round the gate.
    """
    transport = GatedTransport(
        _judge_of(active_policy(), tenant_rule),
        purpose=purpose,
        tenant=tenant,
        deadline=deadline,
        max_bytes=max_bytes,
        own_headers=tuple(headers or ()),
        proxied=tenant_rule is None,
        secret_path=secret_path,
        inner=inner,
    )
    return httpx.Client(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        max_redirects=MAX_REDIRECTS,
        timeout=httpx.Timeout(timeout),
        headers={"Accept-Encoding": "gzip", "User-Agent": f"AiSOC-Admin/{settings.VERSION}", **(headers or {})},
        auth=auth,
    )


def _judge_of(policy: EgressPolicy, rule: TenantRule | None) -> Judge:
    if rule is None:
        return policy
    return TenantPolicy(rule, policy, own_addresses(tuple(rule.names().items()), policy).surroundings)


class GatedTransport(httpx.BaseTransport):
    """Judges each request's host and port as httpx parsed them, then the addresses they resolve to."""

    def __init__(
        self,
        policy: Judge,
        *,
        purpose: str,
        tenant: str = "",
        deadline: float = DEADLINE,
        max_bytes: int = MAX_BYTES,
        own_headers: tuple[str, ...] = (),
        proxied: bool = True,
        secret_path: bool = False,
        inner: httpx.BaseTransport | None = None,
    ) -> None:
        self._own_headers = own_headers
        self._permitted: set[tuple[bytes, int | None, str]] = set()
        self._policy = policy
        self._purpose = purpose
        self._tenant = tenant
        self._seconds = deadline
        self._max_bytes = max_bytes
        self._proxied = proxied
        self._secret_path = secret_path
        self._deadline = Deadline()
        self._only = inner  # the one pool, once it is known not to depend on the URL
        self._pools: dict[str, httpx.BaseTransport] = {}  # by proxy URL; "" is the direct one

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises AirgapBlocked before anything is looked up, httpx.HTTPError for the rest."""
        if "target" in request.extensions:
            raise ValueError("The extension 'target' names another URL than the one that is judged.")
        url = request.url
        try:
            permitted = (url.raw_host, url.port, url.scheme) in self._permitted  # a policy never changes: judged once, permitted for good
        except UnicodeError:
            permitted = False
        if not permitted:
            self._admit(url)
        pool = self._only or self._pool(url)
        # Redirects inherit it: one deadline in all.
        self._deadline.at = request.extensions.setdefault(_UNTIL, time.monotonic() + self._seconds)
        response = pool.handle_request(request)
        if 300 <= response.status_code < 400:
            self._check_redirect(request, response)
        return self._bounded(response)

    def close(self) -> None:
        for pool in {id(pool): pool for pool in (*self._pools.values(), self._only) if pool is not None}.values():
            pool.close()

    def _admit(self, url: httpx.URL) -> None:
        """Judge a URL: remember it when it is permitted, raise when it is refused."""
        host, port, decision = self._judge(url)
        if not decision.allowed:
            raise self._refuse(decision, host, port, Layer.HTTP, url)
        if not active_policy().enabled:  # a tenant's call, which is judged in both modes, is noted too
            contacts.note(active_policy(), host, port, self._purpose)
        if len(self._permitted) < _MAX_PERMITTED:
            self._permitted.add((host.encode(), url.port, url.scheme))

    def _judge(self, url: httpx.URL) -> tuple[str, int | None, Decision]:
        """The host and port as they will be dialled (raw: `.host` decodes A-labels), and the decision."""
        try:
            host = url.raw_host.decode("ascii").replace("%25", "%", 1)
        except UnicodeError:
            return "(malformed)", None, Decision(not self._policy.enabled, Rule.MALFORMED, "The host has characters that no host has.")
        port = url.port if url.port is not None else DEFAULT_PORTS.get(url.scheme)
        if port is not None and not 0 < port < 65536:  # httpx takes any integer
            return host, None, Decision(not self._policy.enabled, Rule.MALFORMED, "The port is not in 1 to 65535.")
        if url.scheme not in ("http", "https") and self._policy.enabled:
            return host, port, Decision(False, Rule.MALFORMED, f"The scheme {url.scheme[:20] or '(none)'} is not http or https.")
        return host, port, self._policy.decide_host(host, port)

    def _check_redirect(self, request: httpx.Request, response: httpx.Response) -> None:
        """What a server may not do to us by a redirect, whether or not the caller follows it.

        From https to http the request would go in clear; to another server it would carry the headers meant for this one
        (httpx takes only Authorization off).
        """
        location = response.headers.get("Location")
        if location is None:
            return
        try:
            target = request.url.join(location)
            elsewhere = (target.scheme, target.raw_host, target.port) != (request.url.scheme, request.url.raw_host, request.url.port)
        except (httpx.InvalidURL, ValueError, UnicodeError):
            response.close()
            raise RedirectRefused("The server redirects to what is no URL.", request=request) from None
        if request.url.scheme == "https" and target.scheme == "http":
            response.close()
            raise RedirectRefused("The server redirects from https to http.", request=request)
        if elsewhere and any(name in request.headers for name in self._own_headers):
            response.close()
            self._admit(target)  # a place that the policy refuses is refused and recorded as that
            raise RedirectRefused("The server redirects to another one, which must not get the credentials of this one.", request=request)

    def _refuse(self, decision: Decision, host: str, port: int | None, layer: Layer, url: httpx.URL | None = None) -> AirgapBlocked:
        """Record, then hand back the exception to raise."""
        parts: dict[str, Any] = {}
        if url is not None:
            parts = {"scheme": url.scheme, "path": HIDDEN_PATH if self._secret_path else url.path, "query": bool(url.query)}
        events.record(events.refusal_of(decision, host=host, port=port, layer=layer, purpose=self._purpose, tenant=self._tenant, **parts))
        return AirgapBlocked(decision, host=host, port=port, layer=layer)

    def _pool(self, url: httpx.URL) -> httpx.BaseTransport:
        proxy = self._proxy_for(url)
        if proxy not in self._pools:
            layer = Layer.PROXY if proxy else Layer.CONNECT
            backend = JudgingBackend(self._policy, self._deadline, lambda decision, host, port: self._refuse(decision, host, port, layer))
            self._pools[proxy] = _DiallingTransport(backend, proxy)
        if self._policy.enabled:
            self._only = self._pools[proxy]
        return self._pools[proxy]

    def _proxy_for(self, url: httpx.URL) -> str:
        """The proxy to use, or "". Under air gap only AISOC_EGRESS_PROXY, which must pass too: it is where the packets go."""
        if not self._proxied:
            return ""
        if not self._policy.enabled:
            return _environment_proxy(url)
        configured: str = settings.AIRGAP_EGRESS_PROXY
        if configured:
            proxy = Url.parse(configured)
            if isinstance(proxy, Malformed):
                raise self._refuse(Decision(False, Rule.MALFORMED, proxy.reason), "(proxy)", None, Layer.PROXY)
            decision = self._policy.decide_host(str(proxy.host), proxy.port)
            if not decision.allowed:
                raise self._refuse(decision, str(proxy.host), proxy.port, Layer.PROXY)
        return configured

    def _bounded(self, response: httpx.Response) -> httpx.Response:
        """The same response with its body decompressed and counted here, so that no reader can be flooded."""
        framing: dict[bytes, bytes] = {}
        for name, value in response.headers.raw:  # one pass over the bytes: httpx's mapping costs 10 us a look-up
            if len(name) in _FRAMING_LENGTHS and (lowered := name.lower()) in _FRAMING:
                framing[lowered] = framing[lowered] + b"," + value if lowered in framing else value
        length = framing.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            response.close()
            raise BodyTooLarge(f"The answer has {length.decode()[:20]} bytes; at most {self._max_bytes} are accepted.")
        if len(framing) == 1 and length.isdigit():
            return response  # HTTP/1.1 framing ends the body at the length just checked
        encoding = framing.get(b"content-encoding")
        response.stream = _BoundedStream(response.stream, self._max_bytes, compressed=encoding is not None and self._undone(response, encoding))
        return response

    def _undone(self, response: httpx.Response, encoding: bytes) -> bool:
        """Take the encoding off the response, for this transport to undo: whether there is one. Raises for what was not asked for."""
        word = encoding.strip().lower()
        if word not in (b"identity", b"gzip", b"x-gzip"):
            response.close()
            raise httpx.DecodingError(f"The answer is encoded as {ascii(word)[2:42]!r}, which was not asked for.")
        del response.headers["Content-Encoding"]
        if word == b"identity":
            return False
        if "Content-Length" in response.headers:
            del response.headers["Content-Length"]
        return True


class _BoundedStream(httpx.SyncByteStream):
    """A body with its limits: bytes as they come and bytes as they are read."""

    def __init__(self, stream: Any, max_bytes: int, *, compressed: bool) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._inflater = zlib.decompressobj(wbits=31) if compressed else None

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for part in self._stream if self._inflater is None else self._inflated(self._inflater):
            total += len(part)
            if total > self._max_bytes:
                raise BodyTooLarge(f"The answer is longer than {self._max_bytes} bytes.")
            yield part

    def _inflated(self, inflater: Any) -> Iterator[bytes]:
        try:
            for raw in self._stream:
                if inflater.unused_data:
                    raise httpx.DecodingError("There is something behind the end of the compressed answer.")
                yield inflater.decompress(raw, _INFLATE_STEP)
                while inflater.unconsumed_tail:
                    yield inflater.decompress(inflater.unconsumed_tail, _INFLATE_STEP)
        except zlib.error as error:
            raise httpx.DecodingError(f"The compressed answer is damaged ({error}).") from None
        if not inflater.eof:
            raise httpx.DecodingError("The compressed answer ends too early.")

    def close(self) -> None:
        self._stream.close()


class _DiallingTransport(httpx.HTTPTransport):
    """httpx's own transport (pooling, HTTP/1.1, error mapping) over the judging backend."""

    def __init__(self, backend: JudgingBackend, proxy: str) -> None:
        super().__init__(verify=tls_context(settings.AIRGAP_CA_BUNDLE), trust_env=False, proxy=proxy or None)
        if not hasattr(self._pool, "_network_backend"):
            raise RuntimeError("This httpcore has no network backend to judge with; the gate cannot work on it.")
        self._pool._network_backend = backend  # httpx 0.28 offers no parameter for it


@lru_cache(maxsize=4)
def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """One context a process (loading the CAs takes 20 ms). A bundle replaces the system store."""
    return ssl.create_default_context(cafile=ca_bundle or None)


def _environment_proxy(url: httpx.URL) -> str:
    """The proxy that the usual variables name for `url`, with the air gap off."""
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(url.host):
        return ""
    return proxies.get(url.scheme) or proxies.get("all") or ""
