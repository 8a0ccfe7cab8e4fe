from django.apps import AppConfig


class LlmConfig(AppConfig):
    name = "llm"
    verbose_name = "Language model"

    def ready(self) -> None:
        from airgap import checklist, facts, readiness
        from llm.checklist import ITEMS, keys_fact, llm_fact, targets

        facts.register("llm", llm_fact)
        facts.register("llm_keys", keys_fact)
        for item in ITEMS:
            checklist.register(item)
        readiness.register(targets)
