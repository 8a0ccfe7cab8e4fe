"""What every feed checks about an HTTP answer before it trusts it."""

from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from airgap.retry_after import wait_asked
from threatintel.normalise import timestamp
from threatintel.specs import FeedError

AHEAD: Final = timedelta(days=1)  # by which another clock may differ from ours
JSON_TYPES = ("application/json", "text/json", "text/plain", "application/octet-stream", "")


def require_json(response: httpx.Response, *, also: tuple[int, ...] = ()) -> None:
    """Raises FeedError for an error status or a body that does not claim to be JSON (a log-in page, say). also: statuses that are as good as 200."""
    host = response.request.url.host
    if response.status_code in (401, 403):
        raise FeedError(f"HTTP {response.status_code} from {host}: check the credentials of this feed.")
    if response.status_code not in (200, *also):
        raise FeedError(f"HTTP {response.status_code} from {host}.", after=wait_asked(response.headers.get("Retry-After", "")))
    content_type = response.headers.get("Content-Type", "").split(";", 1)[0].strip().lower()
    if content_type not in JSON_TYPES and not content_type.endswith("+json"):
        raise FeedError(f"{host} answered {ascii(content_type)[1:-1][:60]}, not JSON.")


def reached(value: object) -> datetime | None:
    """A server's date that may become a cursor; None when there is none, or when it lies ahead: a poll from there would skip what comes until then."""
    moment = timestamp(value)
    return moment if moment is not None and moment <= datetime.now(UTC) + AHEAD else None
