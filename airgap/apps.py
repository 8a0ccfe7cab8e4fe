from django.apps import AppConfig
from django.conf import settings

from airgap import events


class AirgapConfig(AppConfig):
    name = "airgap"
    verbose_name = "Air gap"

    def ready(self) -> None:
        events.configure(settings.AIRGAP_SPOOL_DIR, service=settings.AIRGAP_SERVICE)
        if settings.AIRGAP_POLICY.enabled and settings.AIRGAP_PROXY_VARIABLES:
            events.log.warning(events.AIRGAP_PROXY_ENV_IGNORED, variables=list(settings.AIRGAP_PROXY_VARIABLES))
