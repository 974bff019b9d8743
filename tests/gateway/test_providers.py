"""Which providers are on, and what do they carry?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, ConfigError, Provider
from gateway.managed import Managed, ManagedCredential
from gateway.providers import ProviderState, provider_states, sound_providers
from gateway.targets import Credential, ProviderEntry

HERE = Path("/nowhere")


def resolve(environ: Mapping[str, str], base_dir: Path = HERE, **settings: Any) -> ProviderState:
    config = Config(providers={"p": Provider(**settings)})
    return provider_states(config, environ, base_dir)[0]


@pytest.mark.parametrize(
    ("kind", "litellm_name", "lane"),
    [
        ("openai", "openai", "native"),
        ("openai_compatible", "custom_openai", "native"),
        ("vllm", "hosted_vllm", "native"),
        ("hosted_vllm", "hosted_vllm", "native"),
        ("ollama", "ollama", "native"),
        ("llamacpp", "llamafile", "native"),
        ("lmstudio", "lm_studio", "native"),
        ("anthropic", "anthropic", "library"),
        ("gemini", "gemini", "library"),
        ("azure", "azure", "library"),
        ("bedrock", "bedrock", "library"),
        ("cohere", "cohere_chat", "library"),
        ("mistral", "mistral", "library"),
        ("groq", "groq", "library"),
        ("deepseek", "deepseek", "library"),
        ("xai", "xai", "library"),
        ("openrouter", "openrouter", "library"),
        ("together", "together_ai", "library"),
        ("fireworks", "fireworks_ai", "library"),
        ("perplexity", "perplexity", "library"),
        ("cerebras", "cerebras", "library"),
        ("moonshot", "moonshot", "library"),
        ("sambanova", "sambanova", "library"),
    ],
)
def test_a_kind_has_litellms_name_and_its_lane(kind: str, litellm_name: str, lane: str) -> None:
    entry = resolve({}, kind=kind, base_url="http://host/v1").entry
    assert entry is not None
    assert (entry.provider.kind, entry.provider.lane) == (litellm_name, lane)


def test_the_echo_kind_has_its_own_lane() -> None:
    entry = resolve({}, kind="echo", models=("echo",)).entry
    assert entry is not None
    assert (entry.provider.lane, entry.models) == ("echo", ("echo",))


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "env:KEY"},
        {"base_url": "env:KEY"},
        {"secrets": {"a": "env:KEY"}},
        {"headers": {"a": "env:KEY"}},
        {"options": {"a": "env:KEY"}},
        {"credentials": {"a": "env:KEY"}},
    ],
)
@pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY": " \n"}])
def test_a_provider_is_off_while_something_it_names_is_missing(
    settings: Mapping[str, Any], environ: Mapping[str, str]
) -> None:
    state = resolve(environ, kind="openai", **settings)
    assert state == ProviderState("p", None, ("environment variable KEY",))


def test_what_is_optional_and_missing_is_left_out() -> None:
    state = resolve(
        {},
        kind="openai",
        api_key="env:KEY?",
        base_url="env:URL?",
        secrets={"a": "env:A?", "b": "b"},
        credentials={"team": "env:TEAM?"},
    )
    assert state.entry is not None
    assert state.entry.default.secret == ""
    assert state.entry.default.settings == {"b": "b"}
    assert state.entry.named == {}
    assert state.entry.provider.base_url == "https://api.openai.com/v1"


def test_all_values_come_from_where_they_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    state = resolve(
        {"REGION": "eu", "TEAM": "sk-team"},
        tmp_path,
        kind="azure",
        base_url="https://host/",
        api_key="file:key",
        credentials={"team": "env:TEAM"},
        options={"region": "env:REGION", "depth": 3},
        headers={"x-plain": "plain"},
        forward_headers=("X-Trace",),
    )
    entry = state.entry
    assert entry is not None
    assert (entry.default.name, entry.default.secret) == ("default", "sk-file")
    assert entry.named["team"].secret == "sk-team"
    assert entry.provider.options == {"region": "eu", "depth": 3}
    assert entry.provider.headers == {"x-plain": "plain"}
    assert entry.provider.forward_headers == ("x-trace",)
    assert "sk-" not in repr(state)


def test_a_missing_or_empty_file_switches_the_provider_off(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert resolve({}, tmp_path, kind="openai", api_key="file:none").missing == (
        "readable file none",
    )
    assert resolve({}, tmp_path, kind="openai", api_key="file:empty").missing == (
        "content in file empty",
    )


@pytest.mark.parametrize(
    ("kind", "given", "used"),
    [
        ("openai", "https://host/v1///", "https://host/v1"),
        ("vllm", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("vllm", "http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("vllm", "http://127.0.0.1:8000/api", "http://127.0.0.1:8000/api"),
        ("openai_compatible", "http://host", "http://host"),
        ("azure", "https://host/", "https://host"),
    ],
)
def test_addresses_are_normalised(kind: str, given: str, used: str) -> None:
    entry = resolve({"URL": given}, kind=kind, base_url="env:URL").entry
    assert entry is not None
    assert entry.provider.base_url == used


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"base_url": "ftp://host"}, 'base_url = "ftp://host": must begin with http'),
        ({"base_url": "host:80"}, 'base_url = "host:80": must begin with http'),
        ({"base_url": "http://host:port"}, 'base_url = "http://host:port": is not a URL'),
        ({"base_url": "http://"}, 'base_url = "http://": must be scheme, host and path only'),
        ({"base_url": "http://h/?a=1"}, "base_url: must be scheme, host"),
        ({"base_url": "http://me:pw@h"}, "base_url: must not contain credentials"),
        ({"base_url": "env:URL"}, 'base_url = "env:URL": must not contain credentials'),
        ({"kind": "vllm"}, 'base_url: kind "vllm" needs one'),
        ({"kind": "azure"}, 'base_url: kind "azure" needs one'),
        ({"kind": "groq", "lane": "native"}, 'base_url: kind "groq" needs one'),
        ({"lane": "echo"}, 'lane = "echo": kind "openai" is not served by this lane'),
        ({"kind": "echo", "lane": "native"}, 'lane = "native": kind "echo" is not served'),
        ({"forward_headers": ("Cookie",)}, 'forward_headers = "cookie": this header is never'),
        ({"api_key": "sk\r\nx-evil: 1"}, "api_key: holds a character that no HTTP header"),
        ({"headers": {"a": "\u00e9"}}, "headers.a: holds a character that no HTTP header"),
    ],
)
def test_an_impossible_provider_is_refused(settings: Mapping[str, Any], problem: str) -> None:
    state = resolve({"URL": "http://me:pw@host"}, **({"kind": "openai"} | dict(settings)))
    assert state.entry is None
    assert str(state.problems[0]).startswith(f"providers.p.{problem}")


def test_required_and_missing_is_an_error_that_names_the_variable() -> None:
    config = Config(providers={"p": Provider(kind="openai", api_key="env:KEY", required=True)})
    with pytest.raises(ConfigError, match="the provider is required and environment variable KEY"):
        sound_providers(config, {}, HERE)
    assert [state.entry is not None for state in sound_providers(config, {"KEY": "k"}, HERE)] == [
        True
    ]


def test_providers_that_are_off_have_no_entry_and_order_is_kept() -> None:
    config = Config(
        providers={
            "b": Provider(kind="echo"),
            "off": Provider(kind="openai", api_key="env:KEY"),
            "a": Provider(kind="ollama", base_url="http://localhost:11434"),
        }
    )
    states = sound_providers(config, {}, HERE)
    assert [(state.name, state.entry is not None) for state in states] == [
        ("b", True),
        ("off", False),
        ("a", True),
    ]


def kept(name: str, secret: str, *, rotate: bool = False, provider: str = "p") -> ManagedCredential:
    return ManagedCredential(provider=provider, credential=Credential(name, secret), rotate=rotate)


def managed_entry(settings: Provider, *credentials: ManagedCredential) -> ProviderEntry | None:
    config = Config(providers={"p": settings})
    (state,) = provider_states(config, {}, HERE, Managed(credentials=credentials))
    return state.entry


def test_a_managed_default_credential_switches_a_provider_on() -> None:
    entry = managed_entry(Provider(kind="openai", api_key="env:KEY"), kept("default", "managed"))
    assert entry is not None
    assert entry.default.secret == "managed"
    assert not entry.named
    assert not entry.rotated


def test_managed_credentials_go_before_those_of_the_file() -> None:
    settings = Provider(
        kind="openai", api_key="own", credentials={"a": "file-a", "b": "env:GONE"}, rotate=("a",)
    )
    entry = managed_entry(settings, kept("b", "kept-b"), kept("c", "kept-c", rotate=True))
    assert entry is not None
    assert entry.default.secret == "own"
    assert {name: c.secret for name, c in entry.named.items()} == {
        "a": "file-a",
        "b": "kept-b",
        "c": "kept-c",
    }
    assert entry.rotated == ("a", "c")


def test_managed_credentials_of_another_provider_change_nothing() -> None:
    settings = Provider(kind="openai", api_key="env:KEY")
    assert managed_entry(settings, kept("default", "x", provider="q")) is None
