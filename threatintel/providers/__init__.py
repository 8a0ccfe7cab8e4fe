"""providers(): every live enrichment provider, from settings. A new one is one file here and one row below."""

from django.conf import settings

from threatintel.providers import virustotal
from threatintel.providers.answers import Provider


def providers() -> tuple[Provider, ...]:
    """Every provider, configured or not, in the order in which they are shown."""
    env = settings.ENV
    return (
        Provider(
            name="virustotal",
            title="VirusTotal",
            url=env.vt_base_url if env.vt_api_key else "",
            ask=virustotal.ask,
            types=frozenset(virustotal.PATHS),
            to_configure="Set VT_API_KEY, and VT_BASE_URL for a proxy inside.",
            headers={"x-apikey": env.vt_api_key} if env.vt_api_key else {},
        ),
    )
