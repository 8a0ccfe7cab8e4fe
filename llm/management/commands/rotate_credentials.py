"""manage.py rotate_credentials: seals every stored key anew under the newest vault key. Exit status: 0 all are, 1 some are not, each named."""

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Exists, OuterRef

from airgap.progress import progress
from llm.credentials import reseal
from llm.models import TenantCredential
from llm.vault import VaultError, active_vault
from tenants.models import Tenant
from tenants.scope import all_tenants

BY = "rotate_credentials"


class Command(BaseCommand):
    help = (
        "Seal every stored key anew under AISOC_CREDENTIAL_KEY. Put the previous one on AISOC_CREDENTIAL_KEY_ROTATION_FROM first, and take it off "
        "afterwards. Each tenant is a transaction of its own: what was done stays done, and the next call goes on with the rest."
    )

    def handle(self, **_options: object) -> None:
        with all_tenants():
            sealed = TenantCredential.across_tenants.filter(tenant=OuterRef("pk")).exclude(sealed_key="")
            tenants = list(Tenant.objects.filter(Exists(sealed)).order_by("slug"))
        done, failed = 0, 0
        with progress("credentials", len(tenants), unit="keys") as tell:
            for tenant in tenants:
                try:
                    done += reseal(tenant, by=BY)
                except VaultError as error:
                    failed += 1
                    self.stdout.write(f"{tenant.slug}: {error}")
                tell(1)
        self.stdout.write(
            f"{done} sealed anew under vault key {active_vault().fingerprint}, {len(tenants) - done - failed} were already, {failed} failed."
        )
        if failed:
            raise CommandError(f"{failed} of {len(tenants)} keys could not be opened; they stay as they are.")
