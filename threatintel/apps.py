from django.apps import AppConfig


class ThreatintelConfig(AppConfig):
    name = "threatintel"
    verbose_name = "Threat intelligence"

    def ready(self) -> None:
        from airgap import checklist, facts, readiness
        from airgap.announce import register_source
        from threatintel.checklist import ITEMS, feeds_fact, stale_feeds, targets

        facts.register("feeds", feeds_fact)
        for item in ITEMS:
            checklist.register(item)
        readiness.register(targets)
        register_source("threatintel.stale_feeds", stale_feeds)
