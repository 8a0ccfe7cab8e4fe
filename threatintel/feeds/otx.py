"""AlienVault OTX, subscribed pulses: `GET /api/v1/pulses/subscribed`, header X-OTX-API-KEY."""

from collections.abc import Iterator

from airgap.transport import Client
from threatintel.specs import Cursor, FeedError, FeedSpec, Page


def fetch(client: Client, spec: FeedSpec, cursor: Cursor) -> Iterator[Page]:
    """Reading pulses is not built yet; saying so keeps the feed FAILING instead of empty."""
    raise FeedError("Reading OTX pulses is not part of this version; unset OTX_API_KEY to switch the feed off.")
