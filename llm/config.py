"""An LLM connection as a value: a whole family of variables or a tenant's whole row, never mixed. Pure.

The provider follows from where the URL points, so that what is shown cannot differ from what is called; a tenant says
besides which dialect a host of its own speaks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from airgap.hosts import Host, Malformed, Url
from airgap.policy import Rule, classify

OPENAI_URL: Final = "https://api.openai.com/v1"
ANTHROPIC_URL: Final = "https://api.anthropic.com/v1"
DEFAULT_OPENAI_MODEL: Final = "gpt-4o-mini"
AZURE_SUFFIXES: Final = (".openai.azure.com", ".openai.azure.us", ".openai.azure.cn")
LOCAL_SERVERS: Final = ("ollama", "vllm", "litellm")


class Provider(StrEnum):
    """Who answers, as CONTRACTS.md 2.2 names them."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    AZURE_OPENAI = "azure-openai"
    LOCAL_OLLAMA = "local-ollama"
    LOCAL_VLLM = "local-vllm"
    LOCAL_LITELLM = "local-litellm"
    LOCAL = "local"
    CUSTOM = "custom"
    NONE = "none"


VENDORS: Final = frozenset({Provider.OPENAI, Provider.ANTHROPIC, Provider.AZURE_OPENAI})
KEYLESS: Final = frozenset({Provider.LOCAL, Provider.LOCAL_OLLAMA, Provider.LOCAL_VLLM, Provider.LOCAL_LITELLM})
DEFAULT_URLS: Final = {Provider.OPENAI: OPENAI_URL, Provider.ANTHROPIC: ANTHROPIC_URL}


class Secret:
    """A key. Its text comes out of reveal() only; repr, str and formatting show whether it is set."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    @property
    def sendable(self) -> bool:
        """Whether it can stand in a header (RFC 9110 section 5.5). An HTTP library's own error would quote one that cannot."""
        return self._text.isascii() and self._text.isprintable() and " " not in self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return f"Secret({'set' if self._text else 'unset'})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A Secret is not pickled: it would end in a task argument or a cache.")


@dataclass(frozen=True, slots=True)
class LLMConfig:
    """One connection. base_url is the one really joined (with its version path, without user info); "" when there is none."""

    provider: Provider = Provider.NONE
    base_url: str = ""
    host: str = ""
    model: str = ""
    key: Secret = Secret()  # noqa: RUF009 - immutable
    is_local: bool = False

    @property
    def needs_key(self) -> bool:
        """A hosted service is not asked without a key; a local server may have none."""
        return not (self.is_local and self.provider not in VENDORS) and self.provider not in KEYLESS

    @classmethod
    def of(cls, base_url: str, key: Secret, model: str, said: Provider | None = None) -> "LLMConfig":
        """The connection to `base_url`. `said`: the provider that its owner named. Raises ValueError for a URL that cannot be read."""
        url = Url.parse(base_url)
        if isinstance(url, Malformed):
            raise ValueError(url.reason)
        provider = provider_of(url)
        if said is not None and (said is Provider.AZURE_OPENAI or provider not in VENDORS):
            provider = said  # a vendor's own host speaks the vendor's dialect, whatever its owner says; Azure runs under any domain
        if not model and provider is Provider.OPENAI:
            model = DEFAULT_OPENAI_MODEL
        return cls(provider, joined_base(url, provider), str(url.host), model, key, _is_local(url.host))


@dataclass(frozen=True, slots=True)
class TenantOverride:
    """A tenant's own connection with its key opened, or why it cannot be used (`problem`, a sentence; never a byte of the key).

    base_url "" means the provider's own address, where it has one.
    """

    tenant: str
    provider: Provider = Provider.CUSTOM
    base_url: str = ""
    key: Secret = Secret()  # noqa: RUF009 - immutable
    model: str = ""
    enabled: bool = True
    problem: str = ""

    @property
    def url(self) -> str:
        return self.base_url or DEFAULT_URLS.get(self.provider, "")


def from_environment(families: Mapping[str, tuple[str, str, str]]) -> LLMConfig:
    """The operator's connection. `families`: (URL, key, model) under "LLM" and "OPENAI".

    The LLM family wins when its URL or key is set, else the OPENAI family when its URL or key is; each as a whole.
    """
    for name in ("LLM", "OPENAI"):
        base_url, key, model = families[name]
        if base_url or key:
            return LLMConfig.of(base_url or OPENAI_URL, Secret(key), model)
    return LLMConfig()


def provider_of(url: Url) -> Provider:
    """The provider that the host stands for; a name like `ollama…` counts on a local host only."""
    host = str(url.host)
    if host == "api.openai.com":
        return Provider.OPENAI
    if host == "api.anthropic.com":
        return Provider.ANTHROPIC
    if host.endswith(AZURE_SUFFIXES):
        return Provider.AZURE_OPENAI
    if not _is_local(url.host):
        return Provider.CUSTOM
    first = host.split(".", 1)[0]
    return next((Provider(f"local-{name}") for name in LOCAL_SERVERS if first.startswith(name)), Provider.LOCAL)


def joined_base(url: Url, provider: Provider) -> str:
    """The base URL that calls are joined to: origin and path, without user info, query or trailing slash, ending in the version path.

    `http://ollama:11434`, `…/` and `…/v1` are the same server; a longer path is a gateway's own and gets `/v1` too when it has none.
    """
    path = url.path.rstrip("/")
    version = "/openai/v1" if provider is Provider.AZURE_OPENAI and not path else "/v1"
    return url.origin + (path if path.endswith("/v1") else path + version)


def _is_local(host: Host) -> bool:
    return classify(str(host)) not in (Rule.PUBLIC, Rule.MALFORMED)
