from django.apps import AppConfig


class AisocAdminConfig(AppConfig):
    name = "aisoc_admin"
    verbose_name = "AiSOC Admin"

    def ready(self) -> None:
        from aisoc_admin import startup_checks  # noqa: F401 - registers itself
        from aisoc_admin.tools import provide_tools

        provide_tools()
