"""The form of a tenant's connection: what was typed, what is wrong with it field by field, and what saving it would give. A key goes in and never comes out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from django.http import QueryDict

from airgap.hosts import Malformed, Url
from console.shown import visible
from console.tenant_history import since_version
from console.tenant_rows import TenantRow, rows_of
from llm.config import Provider, Secret
from llm.credentials import CredentialError, Wanted, preview_credential, save_credential
from llm.models import TENANT_PROVIDERS, TenantCredential
from tenants.models import Tenant

TITLES: Final = {
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "azure-openai": "Azure OpenAI, under any domain",
    "local-ollama": "Ollama, local",
    "local-vllm": "vLLM, local",
    "local-litellm": "LiteLLM, local",
    "custom": "Another server that speaks like OpenAI",
}
FIELDS: Final = {"provider": "Provider", "base_url": "Base URL", "model": "Model", "api_key": "API key", "enabled": "Enabled", "version": ""}
CONFLICT: Final = "Nothing was saved: somebody else has changed this connection since you opened the page. Saving again writes yours over it."
RETYPE: Final = "The key that you typed is not sent back: type it again."


@dataclass(frozen=True, slots=True)
class TenantForm:
    """The form as it is shown (again). version: "" where there is no row; key_typed: a key was sent, and has to be typed again."""

    provider: str = Provider.LOCAL_LITELLM.value
    base_url: str = ""
    model: str = ""
    enabled: bool = True
    drop_key: bool = False
    version: str = ""
    key_typed: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()  # what somebody else changed meanwhile, in words
    preview: TenantRow | None = None

    @classmethod
    def of(cls, row: TenantCredential | None) -> "TenantForm":
        """What is stored."""
        if row is None:
            return cls()
        return cls(row.provider, row.base_url, row.model, row.enabled, version=str(row.version))

    @classmethod
    def sent(cls, given: QueryDict) -> "TenantForm":
        """What was typed, all but the key, and but what of a URL may be one."""
        return cls(
            given.get("provider", "")[:40],
            _harmless(given.get("base_url", ""))[:2000],
            given.get("model", "")[:1000],
            enabled="enabled" in given,
            drop_key="drop_key" in given,
            version=given.get("version", "")[:20],
            key_typed=bool(given.get("api_key", "").strip()),
        )

    @property
    def providers(self) -> list[tuple[str, str]]:
        return [(provider.value, TITLES[provider.value]) for provider in TENANT_PROVIDERS]

    @property
    def listed(self) -> list[tuple[str, str]]:
        """The problems with the names of their fields."""
        return [(FIELDS.get(name, ""), problem) for name, problem in self.problems.items()]

    @property
    def retype(self) -> str:
        return RETYPE if self.key_typed else ""


class NotSaved(Exception):
    """`form` says why, `status` is that of the answer."""

    def __init__(self, form: TenantForm, status: int) -> None:
        super().__init__(status)
        self.form = form
        self.status = status


def save(tenant: Tenant, given: QueryDict, *, by: str) -> TenantCredential:
    """Raises NotSaved."""
    form = TenantForm.sent(given)
    try:
        return save_credential(tenant, _wanted(form, given), by=by)
    except CredentialError as error:
        raise NotSaved(_with_problem(form, error, tenant), error.status) from None


def preview(tenant: Tenant, given: QueryDict) -> TenantForm:
    """The form with what saving it would give. Raises NotSaved for what could not be saved."""
    form = TenantForm.sent(given)
    try:
        override = preview_credential(tenant, _wanted(form, given))
    except CredentialError as error:
        raise NotSaved(_with_problem(form, error, tenant), error.status) from None
    (row,) = rows_of([(tenant, None, override)])
    return replace(form, preview=row)


def _wanted(form: TenantForm, given: QueryDict) -> Wanted:
    return Wanted(
        provider=form.provider,
        base_url=given.get("base_url", ""),
        model=form.model,
        api_key=Secret(given.get("api_key", "")),
        enabled=form.enabled,
        version=int(form.version) if form.version.isascii() and form.version.isdigit() else None,
        drop_key=form.drop_key,
    )


def _harmless(text: str) -> str:
    """Without user info, query and fragment: no base URL has them, and people paste keys there."""
    url = Url.parse(text.strip())
    if not isinstance(url, Malformed) and not (url.userinfo or url.query or "#" in text):
        return text
    scheme, slashes, rest = text.partition("//")
    return re.split(r"[?#]", f"{scheme}{slashes}{rest.rpartition('@')[2]}", maxsplit=1)[0]


def _with_problem(form: TenantForm, error: CredentialError, tenant: Tenant) -> TenantForm:
    """A conflict is shown with what the other one changed; who saves again, has seen it, and writes over it."""
    shown = replace(form, problems={error.field or "version": visible(error.detail)})
    if error.field != "version":
        return shown
    stored, changes = since_version(tenant, int(form.version) if form.version.isascii() and form.version.isdigit() else 0)
    return replace(shown, problems={"version": CONFLICT}, others=changes, version=str(stored.version) if stored else "")
