from django.apps import AppConfig
from django.conf import settings

from airgap import events, guard


class AirgapConfig(AppConfig):
    name = "airgap"
    verbose_name = "Air gap"

    def ready(self) -> None:
        from airgap import announce, checklist, facts, standing
        from airgap.attest import FIREWALL
        from airgap.fleet_items import FLEET_ITEMS
        from airgap.trail_items import TRAIL_ITEMS, spool_fact

        for item in (FIREWALL, *FLEET_ITEMS, *TRAIL_ITEMS):
            checklist.register(item)
        facts.register("spool", spool_fact)
        for source in (standing.drifting, standing.attempts, standing.failing_items):
            announce.register_source(f"airgap.{source.__name__}", source)
        if events.recorder() is None:  # the guard is installed by the settings; a project without one has no recorder yet
            events.configure(settings.AIRGAP_SPOOL_DIR, service=settings.AIRGAP_SERVICE)
        if settings.AIRGAP_POLICY.enabled and (scrubbed := guard.scrub_proxies()):
            events.log.warning(events.AIRGAP_PROXY_ENV_IGNORED, variables=scrubbed)
