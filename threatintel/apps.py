from django.apps import AppConfig


class ThreatintelConfig(AppConfig):
    name = "threatintel"
    verbose_name = "Threat intelligence"

    def ready(self) -> None:
        from airgap import checklist, facts, readiness
        from threatintel.checklist import ITEMS, feeds_fact, targets

        facts.register("feeds", feeds_fact)
        for item in ITEMS:
            checklist.register(item)
        readiness.register(targets)
