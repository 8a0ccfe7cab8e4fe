from django.apps import AppConfig


class ActionsConfig(AppConfig):
    name = "actions"
    verbose_name = "Notifications"

    def ready(self) -> None:
        from actions.matters import happened
        from actions.readiness import targets
        from airgap import readiness
        from airgap.announce import receive

        receive(happened)
        readiness.register(targets)
