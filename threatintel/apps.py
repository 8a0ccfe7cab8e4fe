from django.apps import AppConfig


class ThreatintelConfig(AppConfig):
    name = "threatintel"
    verbose_name = "Threat intelligence"

    def ready(self) -> None:
        from airgap.checklist import register
        from threatintel.checklist import FEEDS_FRESH

        register(FEEDS_FRESH)
