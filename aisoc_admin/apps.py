from django.apps import AppConfig


class AisocAdminConfig(AppConfig):
    name = "aisoc_admin"
    verbose_name = "AiSOC Admin"

    def ready(self) -> None:
        from airgap import checklist, facts, readiness
        from aisoc_admin import deploy_checks, grants, startup_checks, throttle  # noqa: F401 - they register themselves
        from aisoc_admin.checklist import PRODUCTION, environment_fact, targets
        from aisoc_admin.tools import provide_tools

        provide_tools()
        facts.register("environment", environment_fact)
        checklist.register(PRODUCTION)
        readiness.register(targets)
        grants.connect(self)
