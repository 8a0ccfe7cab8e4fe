from django.apps import AppConfig


class ActionsConfig(AppConfig):
    name = "actions"
    verbose_name = "Notifications"

    def ready(self) -> None:
        from actions.matters import happened
        from airgap.announce import receive

        receive(happened)
