from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = "Tenants, roles and tokens"

    def ready(self) -> None:
        from airgap import readership
        from tenants import checks  # noqa: F401 - registers itself
        from tenants.acting import tenant_of_reader

        readership.register(tenant_of_reader)
