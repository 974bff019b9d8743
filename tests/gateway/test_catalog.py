"""The catalog: each provider's own entry, its limits and abilities, corrections, and memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gateway.catalog import Catalog, load_table
from gateway.config import ConfigError, ModelInfo
from gateway.figures import INPUT, OUTPUT
from gateway.targets import Model, Provider
from gateway.upstream.echo_answer import MAX_TOKENS

CHAT = {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
TABLE: dict[str, dict[str, Any]] = {
    "sample_spec": {"mode": "one of: chat, embedding", "litellm_provider": "one of"},
    "gpt-x": CHAT
    | {
        "litellm_provider": "openai",
        "max_input_tokens": 272_000,
        "max_output_tokens": 128_000,
        "supports_vision": True,
        "supports_audio_input": False,
        "supports_function_calling": True,
        "regional_processing_uplift_multiplier_eu": 1.1,
        "input_cost_per_token_priority": 3e-6,
    },
    "ft:gpt-x": CHAT | {"litellm_provider": "openai", "input_cost_per_token": 4e-6},
    "gpt-pro": CHAT | {"litellm_provider": "openai", "mode": "responses"},
    "gpt-embed": CHAT | {"litellm_provider": "openai", "mode": "embedding"},
    "azure/gpt-x": CHAT | {"litellm_provider": "azure", "input_cost_per_token": 5e-6},
    "azure/eu/gpt-x": CHAT | {"litellm_provider": "azure", "input_cost_per_token": 6e-6},
    "gemini-y": CHAT
    | {
        "litellm_provider": "vertex_ai-language-models",
        "input_cost_per_token": 7e-6,
        "regional_endpoint_uplift_multiplier": 1.1,
    },
    "gemini/gemini-y": CHAT
    | {
        "litellm_provider": "gemini",
        "mode": "image_generation",
        "supported_endpoints": ["/v1/chat/completions"],
        "supported_modalities": ["text", "image"],
        "max_input_tokens": 1_048_576,
        "max_output_tokens": 65_536,
    },
    "deep": CHAT | {"litellm_provider": "deep", "input_cost_per_token": 8e-6},
    "deep/deep": CHAT | {"litellm_provider": "deep", "max_input_tokens": 1000},
    "shallow/shallow": CHAT | {"litellm_provider": "shallow"},
    "shallow": CHAT | {"litellm_provider": "shallow", "input_cost_per_token": 8e-6},
    "command": CHAT | {"litellm_provider": "cohere_chat"},
    "anthropic.claude": CHAT | {"litellm_provider": "bedrock_converse"},
    "bedrock/eu-west-1/anthropic.claude": CHAT
    | {"litellm_provider": "bedrock", "input_cost_per_token": 9e-6},
    "amazon-nova/nova-lite": CHAT | {"litellm_provider": "amazon_nova"},
    "fireworks_ai/accounts/f/models/m": CHAT | {"litellm_provider": "fireworks_ai"},
    "xai/grok": CHAT | {"litellm_provider": "xai", "input_cost_per_token_above_200k_tokens": 2e-6},
    "legacy": {"mode": "chat", "litellm_provider": "deep", "max_tokens": 4096},
    "openai/container": {"mode": "chat", "litellm_provider": "openai"},
}


def catalog() -> Catalog:
    return Catalog(TABLE, {})


def provider(kind: str, name: str | None = None, **more: Any) -> Provider:
    return Provider(name=name or kind, kind=kind, lane="library", **more)


def input_usd(model: Model) -> str | None:
    return model.price.figure(INPUT) if model.price else None


@pytest.mark.parametrize(
    ("kind", "name", "usd"),
    [
        ("openai", "gpt-x", "0.000001"),
        ("azure", "gpt-x", "0.000005"),
        ("azure", "eu/gpt-x", "0.000006"),
        ("vertex_ai", "gemini-y", "0.000007"),
        ("gemini", "gemini-y", "0.000001"),
        ("deep", "deep", "0.000001"),
        ("shallow", "shallow", "0.000001"),
        ("cohere_chat", "command", "0.000001"),
        ("cohere", "command", "0.000001"),
        ("bedrock", "anthropic.claude", "0.000001"),
        ("amazon_nova", "nova-lite", "0.000001"),
        ("fireworks_ai", "accounts/f/models/m", "0.000001"),
        ("openai", "ft:gpt-x:acme::7p4lURel", "0.000004"),
        ("openai", "gemini-y", None),
        ("openai", "azure/gpt-x", None),
        ("openai", "gpt-embed", None),
        ("custom_openai", "gpt-x", None),
        ("hosted_vllm", "gpt-x", None),
        ("gemini", "gpt-x", None),
    ],
)
def test_a_model_has_its_own_providers_price_and_no_others(
    kind: str, name: str, usd: str | None
) -> None:
    model = catalog().model(provider(kind), name)
    assert model.name == name
    assert input_usd(model) == usd
    assert catalog().knows(kind, name) is (usd is not None and "eu/" not in name)


def test_an_unknown_model_has_nothing_that_forbids_anything() -> None:
    assert catalog().model(provider("openai"), "tomorrow") == Model(name="tomorrow")


@pytest.mark.parametrize(
    ("name", "stated", "hidden"),
    [
        ("gpt-4o-mini", {}, False),
        ("meta-llama/Llama-3.1-8B", {}, False),
        ("claude-3-5-haiku", {}, False),
        ("claude-3-7-sonnet", {"supports_reasoning": True}, True),
        ("gpt-5", {}, None),
        ("tts", {"supports_reasoning": False}, False),
    ],
)
def test_silence_about_reasoning_is_no_denial(
    name: str, stated: dict[str, Any], hidden: bool | None
) -> None:
    known = Catalog({name: CHAT | {"litellm_provider": "openai"} | stated}, {})
    assert known.model(provider("openai"), name).hidden_reasoning is hidden


def test_hidden_reasoning_follows_like_and_is_corrected() -> None:
    table = {"gpt-4o": CHAT | {"litellm_provider": "openai"}}
    infos = {
        "lab/a": ModelInfo(like="openai/gpt-4o"),
        "lab/b": ModelInfo(like="openai/gpt-4o", hidden_reasoning=True, max_image_tokens=1_500),
        "lab/gpt-4": ModelInfo(),  # nothing but a name
    }
    lab = provider("vllm", "lab")
    found = {name: Catalog(table, infos).model(lab, name) for name in ("a", "b", "gpt-4")}
    assert [found[n].hidden_reasoning for n in found] == [False, True, None]
    assert [found[n].max_image_tokens for n in found] == [None, 1_500, None]


def test_responses_models_are_offered_where_the_lane_can_serve_them() -> None:
    assert catalog().names("openai") == ["ft:gpt-x", "gpt-x"]
    assert catalog().names("openai", responses=True) == ["ft:gpt-x", "gpt-pro", "gpt-x"]
    assert not catalog().knows("openai", "gpt-pro")
    assert catalog().knows("openai", "gpt-pro", responses=True)
    assert input_usd(catalog().model(provider("openai"), "gpt-pro")) == "0.000001"


def test_regions_are_prices_and_no_models() -> None:
    assert catalog().names("bedrock") == ["anthropic.claude"]
    assert catalog().names("azure") == ["gpt-x"]
    here = provider("bedrock", options={"aws_region_name": "eu-west-1"})
    assert input_usd(catalog().model(here, "anthropic.claude")) == "0.000009"


def test_windows_follow_each_providers_way_to_count() -> None:
    openai = catalog().model(provider("openai"), "gpt-x")
    assert openai.context_window == 400_000
    assert (openai.max_prompt_tokens, openai.max_completion_tokens) == (272_000, 128_000)
    gemini = catalog().model(provider("gemini"), "gemini-y")
    assert gemini.context_window is None
    assert (gemini.max_prompt_tokens, gemini.max_completion_tokens) == (1_048_576, 65_536)
    assert catalog().model(provider("deep"), "deep").context_window == 1000
    # `max_tokens` alone may be either limit.
    assert catalog().model(provider("deep"), "legacy") == Model(name="legacy")


def test_a_missing_word_is_no_denial() -> None:
    model = catalog().model(provider("openai"), "gpt-x")
    assert (model.vision, model.audio, model.tools, model.json_schema) == (True, False, True, None)
    assert catalog().model(provider("gemini"), "gemini-y").vision is True


@pytest.mark.parametrize(
    ("at", "usd"),
    [
        (provider("openai", base_url="https://api.openai.com/v1"), "0.000001"),
        (provider("openai", base_url="https://eu.api.openai.com/v1"), "0.0000011"),
        (provider("openai", base_url="http://127.0.0.1:9/v1"), "0.000001"),
    ],
)
def test_regional_processing_costs_more_at_openai(at: Provider, usd: str) -> None:
    assert input_usd(catalog().model(at, "gpt-x")) == usd


def test_regional_endpoints_cost_more_at_vertex() -> None:
    here = provider("vertex_ai", options={"vertex_location": "europe-west4"})
    everywhere = provider("vertex_ai", options={"vertex_location": "global"})
    assert input_usd(catalog().model(here, "gemini-y")) == "0.0000077"
    assert input_usd(catalog().model(everywhere, "gemini-y")) == "0.000007"


def test_fireworks_cached_tokens_cost_half_and_xais_threshold_includes_itself() -> None:
    fireworks = catalog().model(provider("fireworks_ai"), "accounts/f/models/m").price
    assert fireworks is not None
    assert fireworks.figure("cache_read_input_token_cost") == "0.0000005"
    xai = catalog().model(provider("xai"), "grok").price
    assert xai is not None
    assert xai.bound_nano_usd(200_000, 0) == 200_000 * 2000
    assert xai.bound_nano_usd(199_999, 0) == 199_999 * 1000


def test_configuration_corrects_single_facts() -> None:
    info = ModelInfo(vision=False, max_completion_tokens=10, price={OUTPUT: 9e-6})
    model = Catalog(TABLE, {"openai/gpt-x": info}).model(provider("openai"), "gpt-x")
    assert (model.vision, model.tools, model.max_completion_tokens) == (False, True, 10)
    assert model.price is not None
    assert model.price.figure(OUTPUT) == "0.000009"
    assert model.price.figure(INPUT) == "0.000001"
    assert model.price.figure("input_cost_per_token_priority") == "0.000003"


def test_a_whole_price_replaces_the_tables() -> None:
    info = ModelInfo(price={INPUT: 1e-7, OUTPUT: 2e-7})
    at = provider("openai", base_url="https://eu.api.openai.com/v1")
    price = Catalog(TABLE, {"openai/gpt-x": info}).model(at, "gpt-x").price
    assert price is not None
    assert (
        price.document()
        == '{"input_cost_per_token":"0.0000001","output_cost_per_token":"0.0000002"}'
    )


@pytest.mark.parametrize("like", ["gpt-x", "openai/gpt-x"])
def test_a_model_can_be_like_another(like: str) -> None:
    catalog = Catalog(TABLE, {"mine/our-name": ModelInfo(like=like, audio=True)})
    model = catalog.model(provider("azure", "mine"), "our-name")
    assert (model.name, model.vision, model.audio) == ("our-name", True, True)
    assert model.context_window == 400_000
    assert input_usd(model) == "0.000001"
    # only there, and only under its provider's name
    assert catalog.model(provider("azure"), "our-name") == Model(name="our-name")


def test_faults_in_the_configuration_are_named() -> None:
    info = ModelInfo(like="nothing", price={"input_cost_per_tokne": 1e-6, INPUT: 1e-6})
    with pytest.raises(ConfigError) as caught:
        Catalog(TABLE, {"mine/a": info})
    assert caught.value.problems == (
        'model_info."mine/a".like = "nothing": no such model in the table',
        'model_info."mine/a".price.input_cost_per_tokne: not a price per token',
    )


def test_the_echo_model_is_known_able_and_free() -> None:
    echo = catalog().model(provider("echo"), "echo")
    assert catalog().names("echo") == ["echo", "echo-slow"]
    assert echo.tools
    assert echo.max_completion_tokens == MAX_TOKENS
    assert input_usd(echo) == "0"


def test_a_model_is_built_once_and_names_do_not_fill_the_memory() -> None:
    known = catalog()
    first = known.model(provider("openai"), "gpt-x")
    assert known.model(provider("openai"), "gpt-x") is first
    for number in range(3000):
        known.model(provider("openai"), f"made-up-{number}")
    assert len(known._models) <= 1024


def test_the_bundled_table_has_the_models_that_people_ask_for() -> None:
    table = Catalog.load({})
    for kind, name in [
        ("openai", "gpt-4o"),
        ("azure", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-flash"),
        ("vertex_ai", "gemini-2.5-pro"),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("mistral", "mistral-large-latest"),
        ("cohere_chat", "command-r-08-2024"),
        ("deepseek", "deepseek-chat"),
    ]:
        model = table.model(provider(kind), name)
        assert table.knows(kind, name)
        assert model.price is not None
        assert model.tools
        assert model.context_window or model.max_prompt_tokens


def test_every_entry_of_the_bundled_table_can_be_read() -> None:
    catalog = Catalog.load({})
    kinds = {entry.get("litellm_provider", "") for entry in load_table().values()}
    count = 0
    for kind in kinds:
        for name in catalog.names(kind, responses=True):
            catalog.model(provider(kind), name)
            count += 1
    assert count > 2000


def test_the_table_is_read_without_importing_litellm() -> None:
    program = (
        "import sys; from gateway.catalog import Catalog; Catalog.load({});"
        "sys.exit('litellm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
