"""The operator's LLM connection: a whole family, one call URL, and a provider that follows from where it points."""

import copy
import pickle

import pytest

from airgap.policy import EgressPolicy, Rule
from llm.config import LLMConfig, Provider, Secret, from_environment
from llm.resolver import Path, Source, resolve

ON = EgressPolicy.from_text("1", "llm.example.com")
OFF = EgressPolicy()


@pytest.mark.parametrize(
    ("url", "provider", "local"),
    [
        ("https://api.openai.com", Provider.OPENAI, False),
        ("https://API.OpenAI.com.", Provider.OPENAI, False),
        ("https://api.anthropic.com", Provider.ANTHROPIC, False),
        ("https://x.openai.azure.com", Provider.AZURE_OPENAI, False),
        ("https://x.openai.azure.us", Provider.AZURE_OPENAI, False),
        ("http://ollama:11434/v1", Provider.LOCAL_OLLAMA, True),
        ("http://ollama-gpu.corp", Provider.LOCAL_OLLAMA, True),
        ("http://vllm.corp", Provider.LOCAL_VLLM, True),
        ("http://litellm.internal:4000", Provider.LOCAL_LITELLM, True),
        ("http://10.0.42.5:8080", Provider.LOCAL, True),
        ("http://my-ollama.corp", Provider.LOCAL, True),
        ("http://[fd12::1]:8000", Provider.LOCAL, True),
        ("https://ollama.evil.example.com", Provider.CUSTOM, False),
        ("https://evil-ollama.example.com", Provider.CUSTOM, False),
        ("https://llm.example.com", Provider.CUSTOM, False),
        ("http://ollama.", Provider.CUSTOM, False),
        ("https://api.openai.com.evil.net", Provider.CUSTOM, False),
        ("https://openai.azure.com.evil.net", Provider.CUSTOM, False),
    ],
)
def test_the_provider_follows_from_the_host(url: str, provider: Provider, local: bool) -> None:
    config = LLMConfig.of(url, Secret("k"), "m")
    assert (config.provider, config.is_local) == (provider, local)


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        ("http://ollama:11434", "http://ollama:11434/v1"),
        ("http://ollama:11434/", "http://ollama:11434/v1"),
        ("http://ollama:11434/v1", "http://ollama:11434/v1"),
        ("http://ollama:11434/v1/", "http://ollama:11434/v1"),
        ("http://u:p@ollama:11434/v1?x=y", "http://ollama:11434/v1"),
        ("http://gateway.corp/team/llm", "http://gateway.corp/team/llm/v1"),
        ("http://gateway.corp/team/llm/v1/", "http://gateway.corp/team/llm/v1"),
        ("https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("https://x.openai.azure.com", "https://x.openai.azure.com/openai/v1"),
        ("https://x.openai.azure.com/openai/v1/", "https://x.openai.azure.com/openai/v1"),
        ("http://[fd12::1]:8000", "http://[fd12::1]:8000/v1"),
    ],
)
def test_with_and_without_version_and_slash_is_one_url(given: str, joined: str) -> None:
    assert LLMConfig.of(given, Secret(), "").base_url == joined


def family(llm: tuple[str, str, str] = ("", "", ""), openai: tuple[str, str, str] = ("", "", "")) -> LLMConfig:
    return from_environment({"LLM": llm, "OPENAI": openai})


def test_the_llm_family_wins_as_a_whole() -> None:
    config = family(("http://ollama:11434", "", ""), ("https://api.openai.com", "sk", "gpt-4o"))
    assert (config.base_url, bool(config.key), config.model) == ("http://ollama:11434/v1", False, "")


def test_a_key_alone_selects_its_family() -> None:
    config = family(("", "sk-llm", ""), ("https://gateway.corp", "sk-openai", "m"))
    assert (config.provider, config.key.reveal(), config.model) == (Provider.OPENAI, "sk-llm", "gpt-4o-mini")


def test_a_model_alone_selects_nothing() -> None:
    assert family(("", "", "llama"), ("", "", "gpt")).provider is Provider.NONE


def test_the_default_model_is_for_openai_only() -> None:
    assert family(openai=("", "sk", "")).model == "gpt-4o-mini"
    assert family(openai=("http://ollama", "sk", "")).model == ""


@pytest.mark.parametrize(
    ("url", "key", "policy", "compliant", "path", "word"),
    [
        ("", "", ON, True, Path.FALLBACK, "LLM_BASE_URL"),
        ("https://api.openai.com", "k", OFF, True, Path.LIVE, "off"),
        ("https://api.openai.com", "k", ON, False, Path.FALLBACK, "api.openai.com"),
        ("https://api.openai.com", "", OFF, True, Path.FALLBACK, "key is missing"),
        ("http://ollama:11434/v1", "k", ON, True, Path.LIVE, "Local LLM in use"),
        ("http://ollama:11434/v1", "", ON, True, Path.LIVE, "Local LLM in use"),
        ("https://llm.example.com", "k", ON, True, Path.LIVE, "allowlist"),
        ("https://llm.example.com", "", ON, True, Path.FALLBACK, "key is missing"),
        ("https://other.example.com", "k", ON, False, Path.FALLBACK, "other.example.com"),
    ],
)
def test_the_resolver_says_which_path_and_why(url: str, key: str, policy: EgressPolicy, compliant: bool, path: Path, word: str) -> None:
    resolved = resolve(family((url, key, "")), None, policy)
    assert (resolved.compliant, resolved.path) == (compliant, path)
    assert word in resolved.reason
    assert resolved.source is (Source.ENVIRONMENT if url else Source.NONE)
    assert resolved.rule is None or isinstance(resolved.rule, Rule)


def test_a_secret_shows_only_whether_it_is_set() -> None:
    secret = Secret("hunter2")
    for text in (repr(secret), str(secret), f"{secret}", repr(LLMConfig(key=secret)), f"{[secret]}"):
        assert "hunter2" not in text
        assert "set" in text
    assert not Secret()
    assert secret == Secret("hunter2") != Secret("other")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
