"""VirusTotal: one GET a value, behind the gate, few values and little time a request.

Source: VirusTotal API v3 (GET /api/v3/ip_addresses/{ip}, domains/{domain}, urls/{id}, files/{hash}; header x-apikey). A URL's id is its
base64url text without padding. 404 says that VirusTotal has never seen the value, which is an answer; every other refusal ends the round.
After a refusal or a silence the server is left alone for a while, so that an alert never waits for it twice.
"""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
import structlog

from airgap.hosts import shown_host
from airgap.transport import AirgapBlocked, Client, gated_client
from threatintel.poll import plain_error
from threatintel.providers.answers import LiveAnswer, Pair, Path, Provider, Verdict

ENRICH_FAILED = "enrich.provider_failed"
MAX_VALUES: Final = 10
WAIT: Final = 3.0  # seconds for one request
BUDGET: Final = 6.0  # seconds for all of them; no request begins later
MAX_BYTES: Final = 4 * 1024 * 1024  # of one answer: a file's object lists every engine
REST: Final = 60.0  # seconds that a server is left alone
MAX_REST: Final = 3600.0

PATHS: Final[Mapping[str, str]] = {
    "ipv4-addr": "ip_addresses",
    "ipv6-addr": "ip_addresses",
    "domain-name": "domains",
    "url": "urls",
    "file-hash:md5": "files",
    "file-hash:sha1": "files",
    "file-hash:sha256": "files",
}

log = structlog.stdlib.get_logger("threatintel")
_resting: dict[str, tuple[float, str]] = {}  # by origin: until when (monotonic), and why
_lock = threading.Lock()


class _Refused(Exception):
    """The server will not answer now; str() is the reason, `rest` the seconds to leave it alone."""

    def __init__(self, reason: str, rest: float = REST) -> None:
        super().__init__(reason)
        self.rest = rest


def ask(provider: Provider, pairs: Sequence[Pair]) -> LiveAnswer:
    """Verdicts of the first MAX_VALUES values, as far as the time goes."""
    host = shown_host(urlsplit(provider.url).hostname or "")  # as a refusal names it
    if why := _rests(provider.url):
        return LiveAnswer(Path.FALLBACK, why)
    verdicts: dict[Pair, Verdict] = {}
    stopped, rule = "", None
    until = time.monotonic() + BUDGET
    try:
        with gated_client(
            purpose=f"enrich.{provider.name}", timeout=WAIT, deadline=WAIT, max_bytes=MAX_BYTES, headers=dict(provider.headers)
        ) as client:
            for pair in pairs[:MAX_VALUES]:
                if time.monotonic() > until:
                    stopped = f"The {BUDGET:.0f} seconds for it were over."
                    break
                verdicts[pair] = _asked(client, provider, pair, host)
    except AirgapBlocked as blocked:
        stopped, rule = blocked.decision.reason, blocked.decision.rule.value
        if blocked.host != host:
            stopped = f"{host} sent the request on to a place that is refused: {stopped}"
            _rest(provider.url, stopped, REST)
    except _Refused as refused:
        stopped = str(refused)
        _rest(provider.url, stopped, refused.rest)
    except httpx.HTTPError as error:
        stopped = f"{host}: {plain_error(error)}"
        _rest(provider.url, stopped, REST)
    except UnicodeError:  # its text would show the key
        stopped = "VT_API_KEY has characters that no header takes."
    if stopped and rule is None:
        log.warning(ENRICH_FAILED, provider=provider.name, host=host, reason=stopped)
    left = len(pairs) - len(verdicts)
    asked = f"{len(verdicts)} of {len(pairs)} values were asked about." if left else ""
    return LiveAnswer(Path.LIVE if verdicts else Path.FALLBACK, " ".join(filter(None, (stopped, asked if verdicts else ""))), rule, verdicts)


def _asked(client: Client, provider: Provider, pair: Pair, host: str) -> Verdict:
    type, value = pair
    named = urlsafe_b64encode(value.encode()).decode().rstrip("=") if type == "url" else quote(value, safe="")
    base = provider.url.rstrip("/").removesuffix("/api/v3")
    with client.stream("GET", f"{base}/api/v3/{PATHS[type]}/{named}", headers={"Accept": "application/json"}) as response:
        match response.status_code:
            case 200:
                return _verdict(provider, _attributes(response, host))
            case 404 | 400 if _is_json(response):  # 400 is what it says of a value that it has no object for
                return Verdict(provider=provider.name, known=False)
            case 401 | 403 as status:
                raise _Refused(f"HTTP {status} from {host}: check VT_API_KEY.")
            case 429:
                raise _Refused(f"HTTP 429 from {host}: the quota of VT_API_KEY is used up.", _retry_after(response))
            case 400 | 404 as status:
                raise _Refused(f"HTTP {status} from {host}, and no JSON: is VT_BASE_URL right?")
            case status:
                raise _Refused(f"HTTP {status} from {host}.")


def _is_json(response: httpx.Response) -> bool:
    """A proxy's own page for an unknown path is no word of VirusTotal's."""
    return str(response.headers.get("Content-Type", "")).split(";", 1)[0].strip().lower() == "application/json"


def _attributes(response: httpx.Response, host: str) -> Mapping[str, Any]:
    try:
        body = json.loads(response.read())
        attributes = body["data"]["attributes"]
    except (ValueError, RecursionError, KeyError, TypeError):
        attributes = None
    if not isinstance(attributes, dict):
        raise _Refused(f"{host} answered something that is no object of VirusTotal's.")
    return attributes


def _verdict(provider: Provider, attributes: Mapping[str, Any]) -> Verdict:
    stats = attributes.get("last_analysis_stats")
    words = stats if isinstance(stats, dict) else {}
    counts = {word: _count(words.get(word)) for word in ("malicious", "suspicious", "harmless", "undetected")}
    seconds = attributes.get("last_analysis_date")
    moment = datetime.fromtimestamp(seconds, UTC) if type(seconds) is int and 0 < seconds < 2**33 else None
    return Verdict(provider=provider.name, known=True, analysed_at=moment, **counts)


def _count(number: Any) -> int:
    return number if type(number) is int and 0 <= number < 10_000 else 0


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "").strip()
    return min(max(float(text), REST), MAX_REST) if text.isascii() and text.isdigit() and len(text) < 7 else REST


def _rest(url: str, reason: str, seconds: float) -> None:
    with _lock:
        _resting[url] = (time.monotonic() + seconds, reason)


def _rests(url: str) -> str:
    """Why the server is left alone now, or ""."""
    with _lock:
        until, reason = _resting.get(url, (0.0, ""))
    left = until - time.monotonic()
    return f"{reason} It is asked again in {int(left) + 1} s." if left > 0 else ""
