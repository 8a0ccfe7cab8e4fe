"""manage.py rotate_credentials: every key under the newest vault key, each failure by the tenant's name, and a second call goes on where one broke off."""

import io
from collections.abc import Callable

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from aisoc_admin import env
from llm.config import Secret
from llm.credentials import Wanted, save_credential
from llm.management.commands import rotate_credentials
from llm.models import CredentialChange, TenantCredential
from llm.resolver import resolved_for
from llm.vault import Vault
from tenants.models import Tenant
from tenants.scope import all_tenants

pytestmark = pytest.mark.django_db
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def tenants(settings: object, environment: Callable[..., env.Environment]) -> list[Tenant]:
    environment()
    settings.CREDENTIAL_KEYS = (OLD,)
    found = [Tenant.objects.create(slug=slug, name=slug) for slug in ("acme", "globex", "initech", "keyless", "rowless")]
    for tenant in found[:3]:
        save_credential(tenant, Wanted(provider="openai", api_key=Secret(f"sk-planted-{tenant.slug}")), by="alice")
    save_credential(found[3], Wanted(provider="custom", base_url="http://gw.corp"), by="alice")
    settings.CREDENTIAL_KEYS = (NEW, OLD)
    return found


def rotate(status: int = 0) -> str:
    out = io.StringIO()
    if status:
        with pytest.raises(CommandError) as caught:
            call_command("rotate_credentials", stdout=out)
        assert caught.value.returncode == status
    else:
        call_command("rotate_credentials", stdout=out)
    assert "planted" not in out.getvalue()
    return out.getvalue()


def test_every_key_is_sealed_anew_and_opens_without_the_old_vault_key(tenants: list[Tenant], settings: object) -> None:
    assert rotate().startswith("3 sealed anew")
    assert rotate().startswith("0 sealed anew")
    settings.CREDENTIAL_KEYS = (NEW,)
    assert [resolved_for(tenant).key.reveal() for tenant in tenants[:3]] == ["sk-planted-acme", "sk-planted-globex", "sk-planted-initech"]
    with all_tenants():
        assert set(TenantCredential.across_tenants.exclude(sealed_key="").values_list("key_fingerprint", flat=True)) == {Vault([NEW]).fingerprint}
        assert CredentialChange.across_tenants.filter(action="resealed", by="rotate_credentials").count() == 3


@pytest.mark.usefixtures("tenants")
def test_what_does_not_open_is_named_and_holds_nothing_up(settings: object) -> None:
    with all_tenants():
        TenantCredential.across_tenants.filter(tenant__slug="acme").update(sealed_key="sk-planted-in-clear")
        TenantCredential.across_tenants.filter(tenant__slug="globex").update(
            sealed_key=Vault([Fernet.generate_key().decode()]).seal(Secret("x"), "globex", "https://api.openai.com")
        )
    told = rotate(status=1)
    assert "acme: The stored key is not sealed" in told
    assert "globex: The stored key is sealed with a vault key that is not here" in told
    settings.CREDENTIAL_KEYS = (NEW,)
    assert resolved_for("initech").key.reveal() == "sk-planted-initech"


def test_a_call_that_breaks_off_is_gone_on_with(tenants: list[Tenant], monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    real = rotate_credentials.reseal

    def dies(tenant: Tenant, *, by: str) -> bool:
        if tenant.slug == "globex":
            raise KeyboardInterrupt
        return real(tenant, by=by)

    monkeypatch.setattr(rotate_credentials, "reseal", dies)
    with pytest.raises(KeyboardInterrupt):
        call_command("rotate_credentials", stdout=io.StringIO())
    monkeypatch.undo()
    settings.CREDENTIAL_KEYS = (NEW, OLD)
    assert rotate().startswith("2 sealed anew")
    settings.CREDENTIAL_KEYS = (NEW,)
    assert all(resolved_for(tenant).allowed for tenant in tenants[:3])
