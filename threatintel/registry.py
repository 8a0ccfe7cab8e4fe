"""feeds(): every feed this product knows, from settings. A new kind is one file in feeds/ and one row here."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from threatintel.feeds import kev, misp, otx, stix_files, taxii
from threatintel.specs import FeedSpec


def feeds() -> tuple[FeedSpec, ...]:
    """Every feed, configured or not, in the order in which they are shown."""
    return tuple(_feeds())


def feed_named(name: str) -> FeedSpec | None:
    """The feed of that name, or None."""
    return next((spec for spec in feeds() if spec.name == name), None)


def _feeds() -> Iterator[FeedSpec]:
    env = settings.ENV
    yield FeedSpec(
        name="kev",
        title="CISA KEV",
        kind="kev",
        url=env.kev_url,
        every=timedelta(seconds=env.kev_poll_interval),
        fetch=kev.fetch,
        variables=("CISA_KEV_URL", "CISA_KEV_POLL_INTERVAL"),
        whole=True,
    )
    taxii_variables = ("TAXII_URL", "TAXII_API_ROOT", "TAXII_COLLECTION_IDS", "TAXII_USERNAME", "TAXII_PASSWORD", "TAXII_POLL_INTERVAL")
    for collection in env.taxii_collection_ids or ("",):
        yield FeedSpec(
            name=f"taxii:{collection}" if collection else "taxii",
            title=f"TAXII {collection}".rstrip(),
            kind="taxii",
            url=env.taxii_url if collection else "",
            every=timedelta(seconds=env.taxii_poll_interval),
            fetch=taxii.fetch,
            variables=taxii_variables,
            to_configure="Set TAXII_URL and TAXII_COLLECTION_IDS; manage.py taxii_collections lists what the server offers.",
            auth=(env.taxii_username, env.taxii_password) if env.taxii_username else None,
            options={"api_root": env.taxii_api_root, "collection": collection},
        )
    yield FeedSpec(
        name="misp",
        title="MISP",
        kind="misp",
        url=env.misp_url if env.misp_api_key else "",
        every=timedelta(seconds=env.misp_poll_interval),
        fetch=misp.fetch,
        variables=("MISP_URL", "MISP_API_KEY", "MISP_POLL_INTERVAL"),
        to_configure="Set MISP_URL and MISP_API_KEY.",
        headers={"Authorization": env.misp_api_key} if env.misp_api_key else {},
    )
    yield FeedSpec(
        name="otx",
        title="AlienVault OTX",
        kind="otx",
        url=env.otx_base_url if env.otx_api_key else "",
        every=timedelta(seconds=env.otx_poll_interval),
        fetch=otx.fetch,
        variables=("OTX_BASE_URL", "OTX_API_KEY", "OTX_POLL_INTERVAL"),
        to_configure="Set OTX_API_KEY, and OTX_BASE_URL for a mirror.",
        headers={"X-OTX-API-KEY": env.otx_api_key} if env.otx_api_key else {},
    )
    yield FeedSpec(
        name="stix",
        title="STIX files",
        kind="stix",
        url="",
        every=timedelta(days=7),
        fetch=stix_files.fetch,
        to_configure="It is filled by import alone: the Feeds page, or manage.py import_feed stix FILE.",
        offline=True,
    )
