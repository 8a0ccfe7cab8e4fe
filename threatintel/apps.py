from django.apps import AppConfig


class ThreatintelConfig(AppConfig):
    name = "threatintel"
    verbose_name = "Threat intelligence"

    def ready(self) -> None:
        from airgap.announce import register_source
        from airgap.checklist import register
        from threatintel.checklist import FEEDS_FRESH, stale_feeds

        register(FEEDS_FRESH)
        register_source("threatintel.stale_feeds", stale_feeds)
