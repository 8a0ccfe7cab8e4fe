"""What the page of one tenant shows: its effective connection with the reason, the form, and who changed what."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from console.process import Witness, witness
from console.tenant_form import TenantForm
from console.tenant_history import History, history
from console.tenant_rows import TenantRow, newest_seal, read_rows
from console.verdict import Banner
from tenants.acting import Acting
from tenants.roles import CHANGE_READERS, CREDENTIAL_WRITERS, WRITERS


@dataclass(frozen=True, slots=True)
class TenantPage:
    """history: None for those who may not see who changed what."""

    banner: Banner
    computed_at: datetime
    witness: Witness
    row: TenantRow
    form: TenantForm
    history: History | None
    can_write: bool
    can_reseal: bool

    @property
    def reads_changes(self) -> bool:
        return self.history is not None

    @property
    def sealed_words(self) -> str:
        """How the stored key is sealed; "" where there is none."""
        credential = self.row.credential
        if credential is None or not credential.sealed_key:
            return ""
        return "sealed with the newest vault key" if newest_seal(credential) else "not sealed with the newest vault key"


def tenant_page(now: Acting, before: str = "", form: TenantForm | None = None) -> TenantPage:
    """`now` names the tenant. form: one that was sent, else what is stored is shown. Raises django.db.Error when the database is away."""
    (row,) = read_rows(now)
    credential = row.credential
    return TenantPage(
        banner=Banner(row.verdict, row.sentence),
        computed_at=timezone.now(),
        witness=witness(),
        row=row,
        form=form or TenantForm.of(credential),
        history=history(row.tenant, before) if now.role in CHANGE_READERS else None,
        can_write=now.role in CREDENTIAL_WRITERS,
        can_reseal=now.role in WRITERS and credential is not None and bool(credential.sealed_key) and not newest_seal(credential),
    )
