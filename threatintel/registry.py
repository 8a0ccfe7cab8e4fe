"""FEEDS: every feed this product knows, from settings. A new kind is one file in feeds/ and one row here."""

from datetime import timedelta

from django.conf import settings

from threatintel.feeds import kev, otx
from threatintel.specs import FeedSpec


def feeds() -> tuple[FeedSpec, ...]:
    """Every feed, configured or not, in the order in which they are shown."""
    env = settings.ENV
    return (
        FeedSpec(
            name="kev",
            title="CISA KEV",
            kind="kev",
            url=env.kev_url,
            every=timedelta(seconds=env.kev_poll_interval),
            fetch=kev.fetch,
            variables=("CISA_KEV_URL", "CISA_KEV_POLL_INTERVAL"),
        ),
        FeedSpec(
            name="otx",
            title="AlienVault OTX",
            kind="otx",
            url=env.otx_base_url if env.otx_api_key else "",
            every=timedelta(seconds=env.otx_poll_interval),
            fetch=otx.fetch,
            variables=("OTX_BASE_URL", "OTX_API_KEY", "OTX_POLL_INTERVAL"),
            to_configure="Set OTX_API_KEY, and OTX_BASE_URL for a mirror.",
        ),
    )


def feed_named(name: str) -> FeedSpec | None:
    """The feed of that name, or None."""
    return next((spec for spec in feeds() if spec.name == name), None)
