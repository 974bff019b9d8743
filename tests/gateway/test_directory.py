"""The directory: names to targets, credentials by key, permissions, and the list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.catalog import Catalog
from gateway.config import Alias, AliasTarget
from gateway.directory import Directory
from gateway.errors import InvalidConfiguration, ModelNotFound, ProviderNotFound
from gateway.keys import VirtualKey
from gateway.targets import Credential, LaneName, Provider, ProviderEntry

CHAT = {
    "mode": "chat",
    "input_cost_per_token": 2.5e-6,
    "output_cost_per_token": 1e-5,
    "max_input_tokens": 128_000,
    "max_output_tokens": 16_384,
}
TABLE = {
    "gpt-a": CHAT | {"litellm_provider": "openai"},
    "gpt-b": CHAT | {"litellm_provider": "openai"},
    "gpt-pro": CHAT | {"litellm_provider": "openai", "mode": "responses"},
    "azure/gpt-a": CHAT | {"litellm_provider": "azure"},
    "claude-c": CHAT | {"litellm_provider": "anthropic"},
    "ollama/llama": CHAT | {"litellm_provider": "ollama"},
}
ANYONE = VirtualKey(id="k", name="anyone")


def entry(kind: str, lane: LaneName = "library", **more: Any) -> ProviderEntry:
    return ProviderEntry(
        provider=Provider(name=more.pop("name", kind), kind=kind, lane=lane),
        default=Credential("default", f"{kind}-secret"),
        **more,
    )


PROVIDERS = (
    entry("openai", "native", named={"team": Credential("team", "team-secret")}),
    entry("azure"),
    entry("anthropic", models=("claude-private",)),
    entry("ollama", "native", list_models=True),
    entry("custom_openai", "native", name="lab", models=("org/model-l",)),
)
ALIASES = {
    "fast": Alias(targets=("anthropic/claude-c", "gone/x", "openai/gpt-a"), params={"top_p": 0.5}),
    "house/style": Alias(targets=("openai/gpt-b",), system="Be brief."),
    "lost": Alias(targets=("gone/x",)),
}


class World:
    """A directory with a local server's list and a clock."""

    def __init__(
        self,
        providers: tuple[ProviderEntry, ...] = PROVIDERS,
        aliases: Mapping[str, Alias] = ALIASES,
    ) -> None:
        self.served = ["llama:8b", "gpt-b"]
        self.asked = 0
        self.time = 0.0
        self.directory = Directory(
            providers,
            aliases,
            Catalog(TABLE, {}),
            self._list_models,
            off=("mistral",),
            now=lambda: self.time,
        )

    async def _list_models(self, provider: Provider, credential: Credential) -> list[str]:
        self.asked += 1
        return self.served

    async def targets(self, name: str, key: VirtualKey = ANYONE) -> list[str]:
        resolution = await self.directory.resolve(name, key)
        return [target.name for target in resolution.targets]


def key(*models: str, **credentials: str) -> VirtualKey:
    return VirtualKey(id="k", name="k", models=models or ("*",), credentials=credentials)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        pytest.param("fast", ["anthropic/claude-c", "openai/gpt-a"], id="alias, without the off"),
        pytest.param("house/style", ["openai/gpt-b"], id="alias with a slash"),
        pytest.param("openai/gpt-a", ["openai/gpt-a"], id="canonical"),
        pytest.param("azure/gpt-a", ["azure/gpt-a"], id="canonical, not the first"),
        pytest.param("openai/unlisted/x", ["openai/unlisted/x"], id="unlisted"),
        pytest.param("gpt-a", ["openai/gpt-a"], id="bare, first of two"),
        pytest.param("claude-c", ["anthropic/claude-c"], id="bare, by the table"),
        pytest.param("claude-private", ["anthropic/claude-private"], id="bare, by configuration"),
        pytest.param("llama:8b", ["ollama/llama:8b"], id="bare, by the server"),
        pytest.param("org/model-l", ["lab/org/model-l"], id="bare, with a slash"),
    ],
)
async def test_a_name_means_its_targets_in_order(name: str, targets: list[str]) -> None:
    assert await World().targets(name) == targets


async def test_configuration_order_decides_a_bare_name() -> None:
    assert await World(PROVIDERS[::-1]).targets("gpt-a") == ["azure/gpt-a"]
    assert await World(PROVIDERS[::-1]).targets("gpt-b") == ["ollama/gpt-b"]


async def test_a_server_that_lists_its_models_has_no_others() -> None:
    with pytest.raises(ModelNotFound):
        await World().targets("llama")


async def test_a_model_of_the_other_api_needs_a_lane_that_translates() -> None:
    with pytest.raises(ModelNotFound):
        await World().targets("gpt-pro")
    assert await World((entry("openai"),)).targets("gpt-pro") == ["openai/gpt-pro"]


async def test_an_alias_gives_its_targets_parameters_and_system() -> None:
    fast = await World().directory.resolve("fast", ANYONE)
    assert fast.alias == "fast"
    assert [target.params for target in fast.targets] == [{"top_p": 0.5}] * 2
    style = await World().directory.resolve("house/style", ANYONE)
    assert style.targets[0].system == "Be brief."
    plain = await World().directory.resolve("gpt-b", ANYONE)
    assert (plain.alias, plain.targets[0].system, plain.targets[0].params) == (None, None, {})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("gpt-aa", ModelNotFound, "Did you mean 'gpt-a'"),
        ("openia/gpt-a", ProviderNotFound, "No provider is called 'openia'. Did you mean 'openai"),
        ("mistral/large", ProviderNotFound, "'mistral' is not switched on"),
        ("lost", ProviderNotFound, "No provider of the model 'lost' is switched on"),
        ("openai/", ModelNotFound, "No provider knows the model 'openai/'"),
        ("", ModelNotFound, "No provider knows the model ''"),
        ("x" * 300, ModelNotFound, "longer than 256"),
        ("bad\n\x00name", ModelNotFound, r"'bad\?\?name'"),
    ],
)
async def test_an_unknown_name_is_explained(
    name: str, error: type[ModelNotFound], message: str
) -> None:
    with pytest.raises(ModelNotFound, match=message) as caught:
        await World().targets(name)
    assert type(caught.value) is error


async def test_a_hint_names_nothing_that_the_key_may_not_use() -> None:
    with pytest.raises(ModelNotFound) as caught:
        await World().targets("gpt-aa", key("claude-*"))
    assert "gpt-a'" not in caught.value.message.replace("'gpt-aa'", "")


async def test_a_key_is_served_with_the_credential_it_is_bound_to() -> None:
    world = World()

    async def credentials(of: VirtualKey) -> list[str]:
        resolution = await world.directory.resolve("fast", of)
        return [target.credential.name for target in resolution.targets]

    assert await credentials(ANYONE) == ["default", "default"]
    assert await credentials(key(openai="team")) == ["default", "team"]
    assert await credentials(key(openai="default")) == ["default", "default"]
    assert await credentials(ANYONE) == ["default", "default"]


async def test_a_missing_credential_is_an_error_and_never_the_default() -> None:
    with pytest.raises(InvalidConfiguration, match="'lost' of the provider 'openai'") as caught:
        await World().targets("gpt-a", key(openai="lost"))
    assert "secret" not in caught.value.message
    assert await World().targets("claude-c", key(openai="lost")) == ["anthropic/claude-c"]


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        (["*"], "fast", True),
        (["fast"], "fast", True),
        (["openai/*"], "fast", False),
        (["anthropic/*", "openai/*"], "fast", False),
        (["openai/*"], "openai/gpt-a", True),
        (["openai/*"], "gpt-a", True),
        (["gpt-a"], "gpt-a", True),
        (["gpt-*"], "openai/gpt-a", True),
        (["gpt-a"], "azure/gpt-a", False),
        (["gpt-b"], "ollama/gpt-b", False),
        (["llama*"], "ollama/llama:8b", True),
        (["azure/*"], "gpt-a", False),
        (["fast"], "anthropic/claude-c", False),
        (["gpt-b"], "gpt-a", False),
        (["secret"], "openai/secret", False),
    ],
)
async def test_a_key_is_allowed_by_alias_canonical_or_bare_name(
    patterns: list[str], name: str, allowed: bool
) -> None:
    world, asking = World(), key(*patterns)
    await world.directory.resolve(name, ANYONE)  # what another key was told changes nothing
    resolution = await world.directory.resolve(name, asking)
    assert resolution.allowed_by(asking) is allowed


async def test_a_repeated_name_is_one_look_up() -> None:
    world = World()
    first = await world.directory.resolve("fast", ANYONE)
    assert await world.directory.resolve("fast", ANYONE) is first
    bare = await world.directory.resolve("gpt-a", ANYONE)
    world.time += 1e6
    assert await world.directory.resolve("gpt-a", ANYONE) is bare
    assert world.asked == 0


async def test_what_depends_on_a_servers_list_is_asked_again_after_a_minute() -> None:
    world = World()
    assert await world.targets("org/model-l") == ["lab/org/model-l"]
    await world.targets("org/model-l")
    assert world.asked == 1
    world.served = ["org/model-l"]
    world.time += 60
    assert await world.targets("org/model-l") == ["ollama/org/model-l"]


async def test_canonical_names_ask_no_server() -> None:
    world = World()
    await world.targets("ollama/llama:8b")
    await world.targets("lab/anything")
    assert world.asked == 0


async def test_made_up_names_do_not_fill_the_memory() -> None:
    world = World()
    for number in range(5000):
        await world.directory.resolve(f"openai/made-up-{number}", ANYONE)
    assert len(world.directory._resolved) <= 4096


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (
            ["*"],
            [
                *("fast", "house/style", "openai/gpt-a", "openai/gpt-b", "azure/gpt-a"),
                *("anthropic/claude-private", "anthropic/claude-c"),
                *("ollama/llama:8b", "ollama/gpt-b", "lab/org/model-l"),
            ],
        ),
        (["fast"], ["fast"]),
        (["gpt-*"], ["openai/gpt-a", "openai/gpt-b"]),
        (["azure/*", "house/*"], ["house/style", "azure/gpt-a"]),
        (["nothing"], []),
    ],
)
async def test_the_list_is_exactly_what_the_key_may_use(
    patterns: list[str], ids: list[str]
) -> None:
    world, asking = World(), key(*patterns)
    assert [line.id for line in await world.directory.list(asking)] == ids
    for name in ids:
        resolution = await world.directory.resolve(name, asking)
        assert resolution.allowed_by(asking)
        assert (await world.directory.get(name, asking)).id == name


async def test_a_line_has_owner_window_and_prices() -> None:
    line = await World().directory.get("gpt-a", ANYONE)
    assert line.json() == {
        "id": "gpt-a",
        "object": "model",
        "created": 0,
        "owned_by": "openai",
        "context_window": 128_000,
        "max_completion_tokens": 16_384,
        "pricing": {"prompt": "0.0000025", "completion": "0.00001"},
    }
    unknown = await World().directory.get("lab/whatever", ANYONE)
    assert unknown.json()["pricing"] is None
    assert unknown.json()["context_window"] is None


async def test_a_model_that_the_key_may_not_use_does_not_exist_for_it() -> None:
    with pytest.raises(ModelNotFound, match="'gpt-a' does not exist or is not for this key"):
        await World().directory.get("gpt-a", key("fast"))


# --------------------------------------------------------------------------------- routing


async def test_an_alias_says_how_its_targets_are_picked() -> None:
    alias = Alias(
        targets=("azure/gpt-a", AliasTarget(target="openai/gpt-a", weight=3.0, priority=1)),
        strategy="weighted",
        sticky="key",
        fallbacks=("lost",),
        fallback_on=("timeout",),
    )
    found = await World(aliases={"m": alias, **ALIASES}).directory.resolve("m", ANYONE)
    assert [(t.name, t.weight, t.priority) for t in found.targets] == [
        ("azure/gpt-a", 1.0, 0),
        ("openai/gpt-a", 3.0, 1),
    ]
    assert (found.strategy, found.sticky) == ("weighted", "key")
    assert (found.fallbacks, found.fallback_on) == (("lost",), frozenset({"timeout"}))


async def test_rotated_credentials_are_for_keys_that_are_bound_to_none() -> None:
    named = {"second": Credential("second", "s2"), "team": Credential("team", "s3")}
    provider = entry("openai", "native", named=named, rotated=("second",))
    directory = World(providers=(provider,)).directory
    (free,) = (await directory.resolve("openai/gpt-a", ANYONE)).targets
    assert [free.credential.name, *(spare.name for spare in free.spares)] == ["default", "second"]
    bound = VirtualKey(id="b", name="bound", credentials={"openai": "team"})
    (target,) = (await directory.resolve("openai/gpt-a", bound)).targets
    assert (target.credential.name, target.spares) == ("team", ())
