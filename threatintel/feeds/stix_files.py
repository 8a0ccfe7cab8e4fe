"""STIX bundles that come as files. There is nothing to poll."""

from collections.abc import Iterator

from airgap.transport import Client
from threatintel.specs import Cursor, FeedError, FeedSpec, Page


def fetch(client: Client, spec: FeedSpec, cursor: Cursor) -> Iterator[Page]:
    """Raises FeedError: this feed has no server."""
    raise FeedError("This feed is filled by import alone.")
