from django.apps import AppConfig


class AisocAdminConfig(AppConfig):
    name = "aisoc_admin"
    verbose_name = "AiSOC Admin"

    def ready(self) -> None:
        from aisoc_admin import deploy_checks, grants, startup_checks, throttle  # noqa: F401 - they register themselves

        grants.connect(self)
